//! Manifests that someone whom we trust has signed, and that are hostile all the same.

use super::*;

fn path(text: &str) -> RootPath {
    text.parse().unwrap()
}

fn directory(text: &str) -> Entry {
    Entry::Directory { path: path(text), mode: Mode(0o755), uid: 0, gid: 0, xattrs: Xattrs::default() }
}

fn file(text: &str) -> Entry {
    let digest = Digest::of(b"");
    Entry::File {
        path: path(text),
        mode: Mode(0o644),
        uid: 0,
        gid: 0,
        xattrs: Xattrs::default(),
        size: 0,
        digest,
    }
}

fn symlink(text: &str, target: &str) -> Entry {
    Entry::Symlink { path: path(text), uid: 0, gid: 0, target: target.to_owned() }
}

fn hardlink(text: &str, target: &str) -> Entry {
    Entry::Hardlink { path: path(text), target: path(target) }
}

fn with(entries: Vec<Entry>) -> Manifest {
    let mut manifest = Manifest {
        format: FORMAT.to_owned(),
        app: "a".parse().unwrap(),
        version: "1".parse().unwrap(),
        platform: "linux/amd64".parse().unwrap(),
        process: Process {
            args: vec!["/a".to_owned()],
            env: vec!["PATH=/bin".to_owned()],
            cwd: "/".to_owned(),
            uid: 0,
            gid: 0,
            additional_gids: Vec::new(),
            stop_signal: 15,
            stop_timeout_ms: 10_000,
        },
        run: Run::default(),
        health: None,
        labels: BTreeMap::new(),
        source: Source { kind: "oci".to_owned(), image: None, layers: Vec::new() },
        mtime: 0,
        payload: Payload { digest: Digest::of(b""), size: 0, unpacked_size: 0 },
        entries,
    };
    manifest.payload.unpacked_size = manifest.archive_size().unwrap();
    manifest
}

#[test]
fn what_unpacking_could_not_do_safely_is_refused() {
    let good = vec![directory("d"), file("d/f"), hardlink("d/h", "d/f"), symlink("d/s", "/"), file("d.x")];
    assert_eq!(with(good).check(), Ok(()));
    let order = |p: &str| Err(ManifestError::Order(path(p)));
    let parent = |p: &str| Err(ManifestError::Parent(path(p)));
    let link = |p: &str, t: &str| Err(ManifestError::Hardlink { path: path(p), target: path(t) });
    for (entries, wanted) in [
        (vec![file("f"), file("f")], order("f")),
        (vec![file("b"), file("a")], order("a")),
        (vec![directory("d"), file("d.x"), file("d/f")], order("d/f")),
        (vec![file("d/f")], parent("d/f")),
        // Through a link, out of the root.
        (vec![symlink("d", "/tmp"), file("d/f")], parent("d/f")),
        (vec![file("d"), file("d/f")], parent("d/f")),
        (vec![directory("a"), directory("b"), file("b/a/f")], parent("b/a/f")),
        (vec![hardlink("a", "b"), file("b")], link("a", "b")),
        (vec![directory("a"), hardlink("b", "a")], link("b", "a")),
        (vec![symlink("a", "/etc/passwd"), hardlink("b", "a")], link("b", "a")),
        (vec![symlink("a", "")], Err(ManifestError::Symlink(path("a")))),
    ] {
        assert_eq!(with(entries.clone()).check(), wanted, "{entries:?}");
    }
    let mut labelled = file("f");
    if let Entry::File { xattrs, .. } = &mut labelled {
        xattrs.0.insert("trusted.overlay.redirect".to_owned(), vec![1]);
    }
    assert!(matches!(with(vec![labelled]).check(), Err(ManifestError::Xattr { .. })));
    let mut short = with(vec![file("f")]);
    short.payload.unpacked_size -= 1;
    assert!(matches!(short.check(), Err(ManifestError::Size { .. })));
}

#[test]
fn paths_that_leave_the_root_do_not_even_parse() {
    let text = crate::canonical::to_string(&with(vec![file("good")])).unwrap();
    assert!(crate::canonical::from_slice::<Manifest>(text.as_bytes()).is_ok());
    for bad in ["../good", "/good", "a//good", "a/../good", "./good", "good/", ""] {
        let hostile = text.replace("\"path\":\"good\"", &format!("\"path\":\"{bad}\""));
        assert!(crate::canonical::from_slice::<Manifest>(hostile.as_bytes()).is_err(), "{bad}");
    }
    let more = text.replace("\"mtime\":0", "\"mtime\":0,\"note\":1");
    assert!(crate::canonical::from_slice::<Manifest>(more.as_bytes()).is_err(), "an unknown member");
}

type Change = fn(&mut Manifest);

#[test]
fn fields_of_the_process_are_checked() {
    let changes: [(&str, Change); 11] = [
        ("health", |m| {
            let probe = Probe::Tcp("127.0.0.1:80".to_owned());
            m.health = Some(Health { probe, timeout_ms: 1, interval_ms: 1, soak_ms: 1 });
        }),
        ("process.args", |m| m.process.args.clear()),
        ("process", |m| m.process.args.push("a\0b".to_owned())),
        ("process.env", |m| m.process.env.push("novalue".to_owned())),
        ("process.env", |m| m.process.env.clear()),
        ("process.cwd", |m| m.process.cwd = "relative".to_owned()),
        ("process.stop_signal", |m| m.process.stop_signal = 0),
        ("run.limits.memory", |m| m.run.limits.memory = Some(0)),
        ("run.limits.cpu_millis", |m| m.run.limits.cpu_millis = Some(u64::MAX)),
        ("run.mounts.source", |m| {
            let (target, source) = (path("x"), "/a/../b".to_owned());
            m.run.mounts.push(Mount { target, source, writable: false, file: false });
        }),
        ("run.mounts.target", |m| {
            let mount = Mount { target: path("x"), source: "/".to_owned(), writable: false, file: false };
            m.run.mounts = vec![mount.clone(), mount];
        }),
    ];
    for (field, change) in changes {
        let mut manifest = with(vec![file("f")]);
        change(&mut manifest);
        match manifest.check() {
            Err(ManifestError::Field { field: named, .. }) => assert_eq!(named, field),
            other => panic!("{field}: {other:?}"),
        }
    }
    let mut newer = with(Vec::new());
    newer.format = "sluice-switch.bundle/2".to_owned();
    assert!(newer.check().unwrap_err().to_string().contains("sluice-switch.bundle/2"));
}
