use super::*;

fn autostart() -> Autostart {
    let arguments = ["--state-dir", "/mnt/a b/100%"].map(str::to_owned);
    Autostart::new(Path::new("/opt/sluice/bin/sluice-switch"), &arguments).unwrap()
}

fn files(root: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut walk = vec![root.to_owned()];
    while let Some(directory) = walk.pop() {
        for entry in fs::read_dir(directory).unwrap().flatten() {
            if entry.file_type().unwrap().is_dir() {
                walk.push(entry.path());
            } else {
                found.push(entry.path().strip_prefix(root).unwrap().to_str().unwrap().to_owned());
            }
        }
    }
    found.sort();
    found
}

#[test]
fn what_is_enabled_is_told_and_disabling_leaves_nothing() {
    for (init, cron, first) in [
        (Init::Systemd, false, "etc/systemd/system/sluice-apps.service"),
        (Init::Sysv, true, "etc/init.d/sluice-apps"),
        (Init::None, true, "etc/cron.d/sluice-apps"),
    ] {
        let root = tempfile::tempdir().unwrap();
        assert!(enabled(root.path()).is_none());
        let changed = autostart().enable(root.path(), init, cron).unwrap();
        assert!(changed.contains(&root.path().join(first)), "{init}: {changed:?}");
        let (is, paths) = enabled(root.path()).unwrap();
        assert_eq!((is, paths.len()), (init, changed.len()));
        let names = files(root.path());
        assert_eq!(names.len(), changed.len(), "no temporary files are left: {names:?}");
        assert!(names.iter().all(|name| !name.contains("switchd")));
        assert!(autostart().enable(root.path(), init, cron).unwrap().is_empty(), "twice is once");
        assert_eq!(disable(root.path()).unwrap().len(), changed.len());
        assert!(files(root.path()).is_empty());
        assert!(disable(root.path()).unwrap().is_empty());
    }
}

#[test]
fn another_init_system_replaces_what_was_written_for_the_first() {
    let root = tempfile::tempdir().unwrap();
    autostart().enable(root.path(), Init::Sysv, true).unwrap();
    autostart().enable(root.path(), Init::Systemd, false).unwrap();
    assert!(
        files(root.path()).iter().all(|name| name.starts_with("etc/systemd/")),
        "{:?}",
        files(root.path())
    );
    // And less of the same.
    let without = Autostart { every: 0, ..autostart() };
    without.enable(root.path(), Init::Systemd, false).unwrap();
    assert_eq!(files(root.path()).len(), 2);
}

#[test]
fn what_is_not_ours_stays() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("etc/init.d/sluice-apps");
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, "#!/bin/sh\n").unwrap();
    for init in [Init::Systemd, Init::Sysv] {
        let error = autostart().enable(root.path(), init, false).unwrap_err().to_string();
        assert!(error.contains("etc/init.d/sluice-apps") && error.contains("move it away"), "{error}");
    }
    assert!(disable(root.path()).unwrap().is_empty());
    assert_eq!(files(root.path()), ["etc/init.d/sluice-apps"]);
    assert_eq!(fs::read_to_string(path).unwrap(), "#!/bin/sh\n");
}

#[test]
fn words_that_cannot_be_written_are_refused() {
    let error = Autostart::new(Path::new("sluice-switch"), &[]).unwrap_err().to_string();
    assert!(error.contains("--program"), "{error}");
    let error = Autostart::new(Path::new("/a"), &["x\ny".to_owned()]).unwrap_err().to_string();
    assert!(error.contains("x\\ny"), "{error}");
    let error = Autostart { every: 60, ..autostart() }.enable(Path::new("/none"), Init::None, true);
    assert!(matches!(error, Err(AutostartError::Every(60))));
}

#[test]
fn cron_is_told_once_and_knows_where_runc_is() {
    let supervised = Autostart { supervise: true, every: 1, ..autostart() };
    let text = supervised.crontab();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 3);
    assert!(lines[0].starts_with("PATH=") && lines[0].contains("/usr/sbin"));
    assert_eq!(lines[1], "@reboot /opt/sluice/bin/sluice-switch up --fix --state-dir '/mnt/a b/100\\%'");
    assert!(
        lines[2].starts_with("*/1 * * * * /opt/sluice/bin/sluice-switch tend --restart "),
        "{}",
        lines[2]
    );
    let pieces = autostart().pieces(Init::Sysv, true);
    let Some(Piece::File { text, .. }) = pieces.iter().find(|p| p.path() == CRON) else { panic!() };
    assert!(
        !text.contains("@reboot") && text.contains(" root "),
        "the script is what starts at boot: {text}"
    );
}
