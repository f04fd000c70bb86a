//! What is shown on a terminal alone: the progress of long work.

use std::fmt::Write as _;
use std::process::Command;

use super::support::missing;
use super::{ofctl, run, text};

/// A file with so many flows, and its path.
fn flows(folder: &tempfile::TempDir, count: usize) -> String {
    let path = folder.path().join("flows");
    let mut flows = String::new();
    for i in 0..count {
        let (a, b, c) = (i >> 16 & 255, i >> 8 & 255, i & 255);
        let _ = writeln!(
            flows,
            "table=5,priority=100,tcp,metadata=0x7/0xffffff,nw_dst=10.{a}.{b}.{c},tp_dst=80,\
             actions=load:{i}->NXM_NX_REG5[],ct(zone=7,table=6),output:2"
        );
    }
    std::fs::write(&path, flows).unwrap();
    path.display().to_string()
}

#[test]
fn long_work_shows_how_far_it_is_on_a_terminal_and_nowhere_else() {
    let folder = tempfile::tempdir().unwrap();
    let quiet = run(ofctl(&["add-flows", "--dry-run", "nobody", &flows(&folder, 100_000)]), "");
    assert_eq!((quiet.status.code(), text(&quiet.stderr)), (Some(0), String::new()));
    assert_eq!(text(&quiet.stdout).lines().count(), 100_000);
    if missing(&["script"], false).is_some() {
        return;
    }
    // How much work is long depends on the machine.
    for count in [100_000, 200_000, 400_000, 800_000, 1_600_000] {
        // On a terminal of its own.
        let mut command = Command::new("script");
        let path = flows(&folder, count);
        let words = format!("{} add-flows --dry-run nobody {path}", env!("CARGO_BIN_EXE_ofctl"));
        command.args(["--quiet", "--return", "--command", &words, "/dev/null"]);
        let shown = run(command, "");
        assert_eq!(shown.status.code(), Some(0));
        let shown = text(&shown.stdout);
        if let Some(at) = shown.rfind(&format!(" of {count} (")) {
            assert!(shown[..at].contains("\r\u{1b}[Kread: "));
            // The line is taken away before anything else is printed.
            assert!(shown[at..].split("OFPT_FLOW_MOD").next().unwrap().contains("\r\u{1b}[K"));
            return;
        }
    }
    panic!("1,600,000 flows were read, and how far it was was not shown");
}
