//! Images for tests, made with the tar crate and nothing of ours but the digest; and where tests are run.

#![allow(dead_code, unused_imports, reason = "each test program uses a part of it")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod alone;
mod switch;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::{Value, json};
use sluice_switch::digest::Digest;

pub(crate) use alone::{alone, unique};
pub(crate) use switch::{SERVE, Switch, ended};

/// An archive to be.
pub(crate) struct Archive(tar::Builder<Vec<u8>>);

impl Archive {
    pub(crate) fn new() -> Self {
        Self(tar::Builder::new(Vec::new()))
    }

    pub(crate) fn add(
        mut self,
        kind: tar::EntryType,
        path: &str,
        mode: u32,
        link: &str,
        content: &[u8],
    ) -> Self {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(mode);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(1_600_000_000);
        header.set_size(content.len() as u64);
        if !link.is_empty() {
            header.set_link_name(link).unwrap();
        }
        self.0.append_data(&mut header, path, content).unwrap();
        self
    }

    pub(crate) fn dir(self, path: &str) -> Self {
        self.add(tar::EntryType::Directory, path, 0o755, "", b"")
    }

    pub(crate) fn file(self, path: &str, mode: u32, content: &[u8]) -> Self {
        self.add(tar::EntryType::Regular, path, mode, "", content)
    }

    pub(crate) fn symlink(self, path: &str, target: &str) -> Self {
        self.add(tar::EntryType::Symlink, path, 0o777, target, b"")
    }

    pub(crate) fn hardlink(self, path: &str, target: &str) -> Self {
        self.add(tar::EntryType::Link, path, 0o644, target, b"")
    }

    pub(crate) fn bytes(self) -> Vec<u8> {
        self.0.into_inner().unwrap()
    }
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Compress {
    Plain,
    Gzip,
    Zstd,
}

pub(crate) fn compress(bytes: &[u8], how: Compress) -> Vec<u8> {
    match how {
        Compress::Plain => bytes.to_vec(),
        Compress::Gzip => {
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            encoder.write_all(bytes).unwrap();
            encoder.finish().unwrap()
        }
        Compress::Zstd => zstd::encode_all(bytes, 1).unwrap(),
    }
}

/// An image: its layers, uncompressed, and its configuration's `config`.
pub(crate) struct Image {
    pub(crate) layers: Vec<Vec<u8>>,
    pub(crate) config: Value,
}

impl Image {
    fn config_bytes(&self) -> Vec<u8> {
        let diff_ids: Vec<String> = self.layers.iter().map(|l| Digest::of(l).to_string()).collect();
        let rootfs = json!({ "type": "layers", "diff_ids": diff_ids });
        let config =
            json!({ "architecture": "amd64", "os": "linux", "config": self.config, "rootfs": rootfs });
        config.to_string().into_bytes()
    }

    /// The files of an OCI layout.
    pub(crate) fn oci(&self, how: Compress) -> Vec<(String, Vec<u8>)> {
        let mut files = vec![("oci-layout".to_owned(), br#"{"imageLayoutVersion":"1.0.0"}"#.to_vec())];
        let mut blob = |bytes: Vec<u8>, media: &str| {
            let digest = Digest::of(&bytes);
            let descriptor = json!({ "mediaType": media, "digest": digest.to_string(), "size": bytes.len() });
            files.push((format!("blobs/sha256/{}", digest.hex()), bytes));
            descriptor
        };
        let layers: Vec<Value> = self
            .layers
            .iter()
            .map(|l| blob(compress(l, how), "application/vnd.oci.image.layer.v1.tar"))
            .collect();
        let config = blob(self.config_bytes(), "application/vnd.oci.image.config.v1+json");
        let manifest = json!({ "schemaVersion": 2, "config": config, "layers": layers });
        let manifest = blob(manifest.to_string().into_bytes(), "application/vnd.oci.image.manifest.v1+json");
        files.push((
            "index.json".to_owned(),
            json!({ "schemaVersion": 2, "manifests": [manifest] }).to_string().into(),
        ));
        files
    }

    /// What docker before version 25 saves, with the link that it makes for a layer that is there twice.
    pub(crate) fn docker_save(&self) -> Vec<u8> {
        let mut archive = Archive::new();
        let mut names = Vec::new();
        for (i, layer) in self.layers.iter().enumerate() {
            let name = format!("layer{i}/layer.tar");
            archive = match self.layers[..i].iter().position(|l| l == layer) {
                Some(same) => archive.symlink(&name, &format!("../layer{same}/layer.tar")),
                None => archive.file(&name, 0o644, layer),
            };
            names.push(name);
        }
        let config = self.config_bytes();
        let name = format!("{}.json", Digest::of(&config).hex());
        let manifest = json!([{ "Config": name, "RepoTags": ["app:1"], "Layers": names }]);
        archive
            .file(&name, 0o644, &config)
            .file("manifest.json", 0o644, manifest.to_string().as_bytes())
            .bytes()
    }
}

pub(crate) fn as_archive(files: &[(String, Vec<u8>)]) -> Vec<u8> {
    files.iter().fold(Archive::new(), |archive, (name, bytes)| archive.file(name, 0o644, bytes)).bytes()
}

pub(crate) fn as_directory(files: &[(String, Vec<u8>)], directory: &Path) {
    for (name, bytes) in files {
        let path = directory.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    }
}

/// Two layers with all that a layer can do.
pub(crate) fn sample() -> Image {
    let base = Archive::new()
        .dir("etc")
        .file("etc/passwd", 0o644, b"root:x:0:0::/root:/bin/sh\napp:x:1000:1001::/:/bin/sh\n")
        .file("etc/gone", 0o600, b"gone")
        .dir("usr/bin")
        .file("usr/bin/app", 0o755, &b"version one ".repeat(500))
        .hardlink("usr/bin/app2", "usr/bin/app")
        .file("usr/bin/su", 0o4755, b"su")
        .symlink("bin", "usr/bin")
        .dir("data")
        .file("data/old", 0o644, b"old")
        .bytes();
    let top = Archive::new()
        .file("etc/.wh.gone", 0o644, b"")
        .file("bin/tool", 0o700, b"tool")
        .file("data/.wh..wh..opq", 0o644, b"")
        .file("data/new", 0o640, b"new")
        .symlink("etc/mtab", "/proc/mounts")
        .bytes();
    let config = json!({
        "Entrypoint": ["/usr/bin/app"], "Cmd": ["--serve"], "Env": ["A=1"], "WorkingDir": "/data",
        "User": "app", "Volumes": { "/var/cache": {} }, "Labels": { "maintainer": "me" },
    });
    Image { layers: vec![base, top], config }
}

pub(crate) const SPEC: &str = "app = \"app\"\nversion = \"1.0\"\n";

/// A directory with a key, a description, and room for the test's files.
pub(crate) struct Bench {
    pub(crate) dir: tempfile::TempDir,
}

impl Bench {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let bench = Self { dir };
        std::fs::write(bench.path("spec.toml"), SPEC).unwrap();
        bench.ok(&["keygen", "key"]);
        bench
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_sluice-switch"));
        command.args(args).current_dir(self.dir.path()).env_remove("SOURCE_DATE_EPOCH");
        command
    }

    pub(crate) fn run(&self, args: &[&str]) -> Output {
        self.command(args).output().unwrap()
    }

    /// Runs a command that must succeed, and gives what it printed.
    pub(crate) fn ok(&self, args: &[&str]) -> String {
        let output = self.run(args);
        assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// Runs a command that must fail with status 1, and gives its error.
    pub(crate) fn refused(&self, args: &[&str]) -> String {
        let output = self.run(args);
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{args:?}: {error}");
        error
    }

    /// Packs `image`, given as the bytes of an archive, to `name`.
    pub(crate) fn pack(&self, image: &[u8], name: &str) -> PathBuf {
        std::fs::write(self.path("image.tar"), image).unwrap();
        self.ok(&["pack", "image.tar", "--spec", "spec.toml", "--key", "key", "-o", name]);
        self.path(name)
    }
}

/// Whether a test may go on, which `needs` something; otherwise says so, or fails where all has to be there.
pub(crate) fn needed(test: &str, there: bool, needs: &str) -> bool {
    if !there {
        assert!(std::env::var_os("SLUICE_REQUIRE_LIVE").is_none(), "{test} needs {needs}");
        eprintln!("skipped: {test} needs {needs}");
    }
    there
}

pub(crate) fn root(test: &str) -> bool {
    needed(test, rustix::process::geteuid().is_root(), "root")
}

/// An image of busybox, whose command is a shell script.
pub(crate) fn busybox(script: &str) -> Image {
    let busybox = std::fs::read("/bin/busybox").or_else(|_| std::fs::read("/usr/bin/busybox")).unwrap();
    let mut layer = Archive::new().dir("bin").file("bin/busybox", 0o755, &busybox);
    for name in
        ["sh", "cat", "sleep", "touch", "id", "true", "false", "tail", "ip", "kill", "mount", "echo", "test"]
    {
        layer = layer.hardlink(&format!("bin/{name}"), "bin/busybox");
    }
    let layer =
        layer.dir("etc").file("etc/passwd", 0o644, b"root:x:0:0::/:/bin/sh\napp:x:1000:1000::/:/bin/sh\n");
    Image { layers: vec![layer.bytes()], config: json!({ "Cmd": ["/bin/sh", "-c", script] }) }
}

/// Whether a test may go on that runs containers, in a process of its own.
pub(crate) fn containers(test: &str) -> bool {
    let found = |program: &&str| Command::new(program).arg("--help").output().is_ok();
    root(test) && ["runc", "busybox"].iter().all(|p| needed(test, found(p), p)) && alone()
}
