//! Small disks, and how few bytes an update is.

use std::fs;

use rustix::fs::statvfs;

use crate::boxes::{Fleet, SERVE, noise, possible};

/// A program that was built again: all of it is there, with a few bytes changed all over.
fn rebuilt(old: &[u8], seed: u8) -> Vec<u8> {
    let mut new = old.to_vec();
    for byte in new.iter_mut().step_by(997) {
        *byte ^= seed;
    }
    new
}

#[test]
fn three_updates_of_30_mb_fit_on_93_mb_and_what_cannot_is_refused_before_it_is_sent() {
    if !possible("three_updates_of_30_mb_fit_on_93_mb_and_what_cannot_is_refused_before_it_is_sent") {
        return;
    }
    let f = Fleet::new(1, &[0]);
    let parts: Vec<Vec<u8>> = (0..6).map(|i| noise(100 + i, 4 << 20)).collect();
    let mut program = noise(7, 4 << 20);
    let version = |n: &str, program: &[u8]| {
        let mut more: Vec<(&str, &[u8])> = vec![("bin/program", program)];
        let names = ["data/0", "data/1", "data/2", "data/3", "data/4", "data/5"];
        more.extend(names.into_iter().zip(parts.iter().map(|p| &p[..])));
        f.pack(n, SERVE, &more);
    };
    version("1", &program);
    f.enroll();
    let state = f.boxes[0].dir.join("var");
    let free = || {
        let stat = statvfs(&state).unwrap();
        stat.f_bavail * stat.f_frsize
    };
    let before = free();
    f.deployed(&["1.slb"]);
    let first = before - free();
    println!("disk: {} free of 93 MiB; the first release took {first}", before);

    // One file of 4 MB changed.
    for n in 2..=4_u8 {
        program = rebuilt(&program, n);
        version(&n.to_string(), &program);
        let before = free();
        // The first update finds no patch worth it on a workstation that has forgotten the one before.
        if n == 2 {
            fs::remove_dir_all(f.bench.path("cache")).unwrap();
        }
        let rows = f.deployed(&[&format!("{n}.slb")]);
        let (wire, app) = (rows[0]["done"]["wire_bytes"].as_u64().unwrap(), &rows[0]["done"]["apps"][0]);
        let full = f.size(&n.to_string());
        let patches = app["patches"].as_u64().unwrap();
        println!(
            "update {n}: {wire} bytes sent of {full} in the bundle ({:.3}), {patches} patches, {} files shared, disk {}",
            wire as f64 / full as f64,
            app["had"]["files"],
            before as i64 - free() as i64
        );
        assert_eq!(app["sent"]["files"], 2, "{app}");
        assert_eq!(patches, u64::from(n > 2), "{app}");
        assert!(wire as f64 <= 0.4 * full as f64);
        assert!(before.saturating_sub(free()) < 6 << 20, "what is shared takes no space again");
        assert_eq!(f.version(0), n.to_string());
    }

    // 54 MB of something else: not beside the 42 MB that are there.
    // It compresses well: what counts is what it takes there.
    let large: Vec<Vec<u8>> = (0..3).map(|i| noise(900 + i, 4096).repeat(18 << 8)).collect();
    let more = [("data/x", &large[0][..]), ("data/y", &large[1]), ("data/z", &large[2])];
    f.pack("5", SERVE, &more);
    let before = free();
    let (code, summary, _) = f.deploy(&["5.slb"]);
    let row = &summary["hosts"][0];
    let reason = row["reason"].as_str().unwrap();
    assert!(code == 1 && reason.contains("nothing was sent or removed"), "{reason}");
    assert!(reason.contains("--strategy delete-first") && reason.contains("bytes free"), "{reason}");
    assert!(row["done"]["wire_bytes"].as_u64().unwrap() < 20_000, "{row}");
    println!("refused after {} bytes: {reason}", row["done"]["wire_bytes"]);
    assert_eq!((free(), f.version(0)), (before, "4".to_owned()));

    // With consent what runs is removed first.
    let rows = f.deployed(&["5.slb", "--strategy", "delete-first"]);
    assert_eq!(f.version(0), "5", "{rows:?}");
    let (code, summary, _) = f.deploy(&["4.slb", "--allow-downgrade"]);
    let reason = summary["hosts"][0]["reason"].as_str().unwrap();
    assert!(code == 1 && reason.contains("bytes free"), "{reason}");
    assert_eq!(f.version(0), "5");
}
