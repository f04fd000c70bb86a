//! How to reach a box: the operator's own ssh(1), or a shell on this machine.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// The longest path of a Unix socket, less what ssh appends to it while it makes it.
const MAX_SOCKET: usize = 85;
/// How much of what a command wrote to stderr is kept.
const MAX_STDERR: usize = 8 << 10;

/// A way to run a shell script on a box.
pub trait Transport: Send + Sync {
    /// The command that does, with the script's standard streams as its own.
    fn command(&self, script: &str) -> Command;

    /// The status that the command has when the box was not reached.
    fn unreached(&self) -> Option<i32> {
        None
    }
}

/// The operator's ssh(1). Host keys, users, keys, jump hosts and all else is as the operator's configuration has it;
/// we only keep it from asking questions, and let the sessions with one box share a connection.
#[derive(Debug, Clone)]
pub struct Ssh {
    program: PathBuf,
    options: Vec<String>,
    destination: String,
    sudo: bool,
    control: Option<PathBuf>,
}

impl Ssh {
    /// To `destination`, as ssh(1) has it, with options of the operator, which win over ours. `control` is a
    /// directory of ours for the sockets of shared connections.
    pub fn new(destination: &str, options: Vec<String>, sudo: bool, control: Option<&Path>) -> Self {
        // %C is 40 hexadecimal digits.
        let fits = |directory: &&Path| directory.as_os_str().len() + 42 <= MAX_SOCKET;
        let control = control.filter(fits).map(|directory| directory.join("%C"));
        Self { program: "ssh".into(), options, destination: destination.to_owned(), sudo, control }
    }

    /// With another program that takes ssh's arguments.
    pub fn program(mut self, program: impl Into<PathBuf>) -> Self {
        self.program = program.into();
        self
    }

    fn base(&self) -> Command {
        let mut command = Command::new(&self.program);
        // ssh takes the first value of each option.
        command.args(&self.options).args(["-T", "-o", "BatchMode=yes", "-o", "ConnectTimeout=15"]);
        command.args(["-o", "ServerAliveInterval=15", "-o", "ServerAliveCountMax=4"]);
        if let Some(control) = &self.control {
            command.args(["-o", "ControlMaster=auto", "-o", "ControlPersist=30", "-o"]);
            command.arg(format!("ControlPath={}", control.display()));
        }
        command
    }
}

impl Transport for Ssh {
    fn command(&self, script: &str) -> Command {
        let mut command = self.base();
        let sudo = if self.sudo { "sudo -n " } else { "" };
        command.arg("--").arg(&self.destination).arg(format!("{sudo}sh -c {}", quote(script)));
        command
    }

    fn unreached(&self) -> Option<i32> {
        Some(255)
    }
}

impl Drop for Ssh {
    fn drop(&mut self) {
        if self.control.is_some() {
            let mut command = self.base();
            command.args(["-O", "exit", "--"]).arg(&self.destination);
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
            // There is none when the box was never reached; and it ends by itself.
            let _ = command.status();
        }
    }
}

/// A shell on this machine.
#[derive(Debug, Clone, Default)]
pub struct Local;

impl Transport for Local {
    fn command(&self, script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }
}

/// A word for sh(1).
pub fn quote(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-+=./,:@%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

/// Words for sh(1).
pub fn quote_all<S: AsRef<str>>(words: impl IntoIterator<Item = S>) -> String {
    words.into_iter().map(|word| quote(word.as_ref())).collect::<Vec<_>>().join(" ")
}

/// A command that runs on a box.
#[derive(Debug)]
pub struct Running {
    child: Arc<Mutex<Child>>,
    stderr: Arc<Mutex<VecDeque<u8>>>,
    reading: JoinHandle<()>,
    watch: Arc<Watch>,
}

/// Ends a command on a box that has been silent for too long: a read from it or a write to it then fails.
#[derive(Debug)]
struct Watch {
    /// When something last moved. No atomic number: PowerPC has none of 64 bits.
    moved: Mutex<Instant>,
    silent: AtomicBool,
    over: AtomicBool,
}

impl Watch {
    fn touch(&self) {
        *self.moved.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    /// For how long nothing has moved.
    fn quiet(&self) -> Duration {
        self.moved.lock().unwrap_or_else(PoisonError::into_inner).elapsed()
    }
}

/// A stream of a command on a box, which is watched for silence.
#[derive(Debug)]
pub struct Watched<T> {
    inner: T,
    watch: Arc<Watch>,
}

impl<R: Read> Read for Watched<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(buffer)?;
        self.watch.touch();
        Ok(n)
    }
}

impl<W: Write> Write for Watched<W> {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        let n = self.inner.write(buffer)?;
        self.watch.touch();
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

/// What a command on a box came to.
#[derive(Debug, Clone)]
pub struct Ended {
    /// Its status.
    pub status: ExitStatus,
    /// The end of what it wrote to stderr, in one line.
    pub stderr: String,
    /// Whether we ended it because nothing came for too long.
    pub silent: bool,
}

impl Running {
    /// Starts a script on a box. It is ended when nothing passes for as long as `patience`.
    ///
    /// # Errors
    /// When the command cannot be started here.
    pub fn start(
        transport: &dyn Transport,
        script: &str,
        patience: Duration,
    ) -> io::Result<(Self, Watched<ChildStdin>, Watched<ChildStdout>)> {
        let mut command = transport.command(script);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        // An interrupt at the terminal is for us: we let boxes finish what they are at.
        command.process_group(0);
        let mut child = command.spawn()?;
        let stdin = child.stdin.take().expect("it is piped");
        let stdout = child.stdout.take().expect("it is piped");
        let pipe = child.stderr.take().expect("it is piped");
        let stderr = Arc::new(Mutex::new(VecDeque::new()));
        let kept = stderr.clone();
        let reading = thread::spawn(move || keep_end(pipe, &kept));
        let watch = Arc::new(Watch {
            moved: Mutex::new(Instant::now()),
            silent: AtomicBool::new(false),
            over: AtomicBool::new(false),
        });
        let child = Arc::new(Mutex::new(child));
        let (watching, watched) = (watch.clone(), child.clone());
        thread::spawn(move || {
            while !watching.over.load(Ordering::Relaxed) {
                let left = patience.saturating_sub(watching.quiet());
                if left.is_zero() {
                    watching.silent.store(true, Ordering::Relaxed);
                    let _ = watched.lock().unwrap_or_else(PoisonError::into_inner).kill();
                    return;
                }
                thread::park_timeout(left.min(Duration::from_millis(500)));
            }
        });
        let stdin = Watched { inner: stdin, watch: watch.clone() };
        let stdout = Watched { inner: stdout, watch: watch.clone() };
        Ok((Self { child, stderr, reading, watch }, stdin, stdout))
    }

    /// Waits for its end. Its streams must be closed or read to their ends before.
    ///
    /// # Errors
    /// When it cannot be waited for.
    pub fn wait(self) -> io::Result<Ended> {
        let status = loop {
            // Not while the lock is held: the watch may have to end it.
            if let Some(status) = self.child.lock().unwrap_or_else(PoisonError::into_inner).try_wait()? {
                break status;
            }
            thread::sleep(Duration::from_millis(2));
        };
        self.watch.over.store(true, Ordering::Relaxed);
        // Not for ever: an ssh that stays to share its connection may keep the stream open.
        let end = Instant::now() + Duration::from_millis(300);
        while !self.reading.is_finished() && Instant::now() < end {
            thread::sleep(Duration::from_millis(2));
        }
        let stderr = one_line(&self.stderr.lock().unwrap_or_else(PoisonError::into_inner));
        Ok(Ended { status, stderr, silent: self.watch.silent.load(Ordering::Relaxed) })
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if !self.watch.over.swap(true, Ordering::Relaxed) {
            let mut child = self.child.lock().unwrap_or_else(PoisonError::into_inner);
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Keeps the end of what comes.
fn keep_end(mut pipe: impl Read, kept: &Mutex<VecDeque<u8>>) {
    let mut buffer = [0; 1024];
    while let Ok(n @ 1..) = pipe.read(&mut buffer) {
        let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.extend(&buffer[..n]);
        let more = kept.len().saturating_sub(MAX_STDERR);
        kept.drain(..more);
    }
}

fn one_line(kept: &VecDeque<u8>) -> String {
    let bytes: Vec<u8> = kept.iter().copied().collect();
    let text = String::from_utf8_lossy(&bytes);
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    lines.join("; ").chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// What a script on a box wrote and came to.
#[derive(Debug, Clone)]
pub struct Ran {
    /// What it wrote, up to a limit.
    pub stdout: Vec<u8>,
    /// Its status, and what it wrote to stderr.
    pub ended: Ended,
}

/// Runs a script on a box with `input`, and keeps at most `limit` bytes of what it writes.
///
/// # Errors
/// When the command cannot be run here.
pub fn run(
    transport: &dyn Transport,
    script: &str,
    input: &mut dyn Read,
    limit: u64,
    patience: Duration,
) -> io::Result<Ran> {
    let (running, mut stdin, mut stdout) = Running::start(transport, script, patience)?;
    let reading = thread::spawn(move || {
        let mut kept = Vec::new();
        let _ = Read::by_ref(&mut stdout).take(limit).read_to_end(&mut kept);
        // Read on, so that it is not stopped by a full pipe.
        let _ = io::copy(&mut stdout, &mut io::sink());
        kept
    });
    // It may end before it has read all; its status tells.
    let _ = io::copy(input, &mut stdin);
    drop(stdin);
    let ended = running.wait()?;
    Ok(Ran { stdout: reading.join().unwrap_or_default(), ended })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sh(script: &str, input: &str, patience: Duration) -> Ran {
        run(&Local, script, &mut input.as_bytes(), 1 << 20, patience).unwrap()
    }

    #[test]
    fn a_script_has_our_streams_and_its_end_is_told() {
        let ran = sh("cat; echo; echo oops >&2; echo again >&2; exit 3", "hello", Duration::from_secs(60));
        assert_eq!(ran.stdout, b"hello\n");
        assert_eq!(ran.ended.status.code(), Some(3));
        assert_eq!(ran.ended.stderr, "oops; again");
        assert!(!ran.ended.silent);
    }

    #[test]
    fn what_says_nothing_for_too_long_is_ended() {
        let ran = sh("exec sleep 600", "", Duration::from_millis(50));
        assert!(ran.ended.silent && ran.ended.status.code().is_none(), "{ran:?}");
    }

    #[test]
    fn words_reach_a_shell_as_they_are() {
        let words = ["plain", "", "two words", "it's", "$HOME `id` \\ \"q\"", "*", "line\nline", "~", "#"];
        let ran =
            sh(&format!("for w in {}; do printf '%s|' \"$w\"; done", quote_all(words)), "", Duration::MAX);
        assert_eq!(String::from_utf8(ran.stdout).unwrap(), words.map(|w| format!("{w}|")).concat());
    }

    #[test]
    fn the_operators_options_come_before_ours_and_a_long_directory_is_not_used() {
        let options = vec!["-p".to_owned(), "2222".to_owned()];
        let args = |control: &str| {
            let ssh =
                Ssh::new("admin@leaf1", options.clone(), true, Some(Path::new(control))).program("true");
            let args: Vec<String> =
                ssh.command("id 'x'").get_args().map(|a| a.to_string_lossy().into_owned()).collect();
            args
        };
        let short = args("/tmp/x");
        assert_eq!(short[..2], ["-p", "2222"]);
        assert!(short.contains(&"ControlPath=/tmp/x/%C".to_owned()));
        assert_eq!(short[short.len() - 3..], ["--", "admin@leaf1", r"sudo -n sh -c 'id '\''x'\'''"]);
        assert!(!args(&format!("/{}", "d".repeat(60))).iter().any(|a| a.starts_with("Control")));
    }
}
