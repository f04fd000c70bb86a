//! The docker command, as far as this bench gives it.

use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::Client;

/// The docker command against one dockerd, with an empty configuration.
#[derive(Debug)]
pub struct DockerCommand {
    socket: PathBuf,
    config: TempDir,
}

impl DockerCommand {
    /// For the dockerd at this socket.
    pub fn new(socket: PathBuf) -> Self {
        Self { socket, config: tempfile::tempdir().expect("a directory for the command's configuration") }
    }

    fn run(&self, words: &[&str]) -> Duration {
        let mut command = Command::new("docker");
        command
            .env_remove("DOCKER_CONTEXT")
            .env_remove("DOCKER_HOST")
            .env("DOCKER_CONFIG", self.config.path());
        command.arg("--host").arg(format!("unix://{}", self.socket.display())).args(words);
        let begin = Instant::now();
        let output = command.output().unwrap_or_else(|error| panic!("docker: {error}"));
        let took = begin.elapsed();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "docker {}: {}: {said}", words.join(" "), output.status);
        took
    }
}

impl Client for DockerCommand {
    fn connect(&self, network: &str, container: &str) -> Duration {
        self.run(&["network", "connect", network, container])
    }

    fn disconnect(&self, network: &str, container: &str) -> Duration {
        self.run(&["network", "disconnect", network, container])
    }
}
