//! Connections that break in the middle of a transfer.

use std::fs;

use crate::boxes::{Fleet, SERVE, noise, possible, text};

/// What stands between ssh and the box: it passes so many bytes on and then hangs up.
fn proxy(f: &Fleet, bytes: u64) -> String {
    let path = f.bench.path("proxy.sh");
    // Not head(1), which keeps what is less than a block to itself.
    let pass = "while ($n > 0 && ($r = sysread(STDIN, $b, $n < 65536 ? $n : 65536))) { syswrite(STDOUT, $b); $n -= $r }";
    let script = format!("#!/bin/sh\nperl -e '$n = shift; {pass}' \"$3\" | busybox nc \"$1\" \"$2\"\n");
    fs::write(&path, script).unwrap();
    fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    format!("--ssh-option=-oProxyCommand={} %h %p {bytes}", path.display())
}

#[test]
fn a_transfer_yanked_at_ten_places_leaves_the_old_and_a_rerun_sends_only_the_rest() {
    if !possible("a_transfer_yanked_at_ten_places_leaves_the_old_and_a_rerun_sends_only_the_rest") {
        return;
    }
    let f = Fleet::new(1, &[]);
    f.pack("1", SERVE, &[]);
    f.enroll();
    f.deployed(&["1.slb"]);
    let files: Vec<(String, Vec<u8>)> =
        (0..20).map(|i| (format!("data/{i:02}"), noise(i + 1, 100_000))).collect();
    let more: Vec<(&str, &[u8])> =
        files.iter().map(|(path, content)| (path.as_str(), &content[..])).collect();
    f.pack("2", SERVE, &more);
    let whole = 20 * 100_000;

    // Places all over the transfer, in an order that is not theirs. The arrived files make later tries shorter, so
    // what arrived is taken away before each, but for the last.
    let incoming = f.boxes[0].state().join("apps").join(&f.app).join("incoming");
    let mut place = 0x5eed_u64;
    let mut arrived = 0;
    for cut in 0..10 {
        let _ = fs::remove_dir_all(&incoming);
        place = place.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        // Up to where the last file would be: ssh's own first words are some 4 kB.
        let at = 10_000 + (place >> 33) % (whole - 100_000);
        let (code, summary, _) = f.deploy(&["2.slb", &proxy(&f, at)]);
        let reason = summary["hosts"][0]["reason"].as_str().unwrap();
        assert_eq!(code, 1, "cut {cut} after {at} bytes: {summary}");
        assert!(
            reason.contains("the next try sends the rest") || reason.contains("did not reach"),
            "{reason}"
        );
        assert_eq!(f.version(0), "1", "cut {cut} after {at} bytes");
        let names = fs::read_dir(&incoming).map(|d| d.flatten().map(|e| e.file_name()).collect());
        let names: Vec<std::ffi::OsString> = names.unwrap_or_default();
        arrived = names.iter().filter(|n| n.len() == 64).count() as u64;
        // What has passed has arrived, but for what was on its way.
        assert!(arrived <= at / 100_000, "{arrived} files of {at} bytes");
        println!("cut {cut} after {at} bytes: {arrived} files had arrived");
    }
    let rows = f.deployed(&["2.slb"]);
    let app = &rows[0]["done"]["apps"][0];
    // The version's own file is one more.
    assert_eq!(app["sent"]["files"].as_u64().unwrap(), 21 - arrived, "{app}");
    let payload = app["payload_bytes"].as_u64().unwrap();
    assert!(payload < (21 - arrived) * 101_000, "{payload} bytes for {} files", 21 - arrived);
    assert_eq!(f.version(0), "2");
    assert!(!incoming.exists());
    let status = f.run(&["status", "--inventory", "inv.toml"]);
    assert!(status.status.success(), "{}", text(&status.stdout));
}
