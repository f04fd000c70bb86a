//! Bundles as images, read back by ourselves and by a Docker engine of the test's own.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::fs;
use std::path::Path;
use std::process::Command;

use common::{Archive, Bench, busybox, root, sample};
use serde_json::{Value, json};
use sluice_switch::bundle::{Bundle, Entry, Trust};

/// A description that SONiC can be told of.
const SPEC: &str = "app = \"probe\"\nversion = \"1.4.0+3\"\nnetwork = \"host\"\nuser = \"0:0\"\n\
                    tmpfs = [\"/run\", \"/tmp\"]\nstop_timeout = \"2500ms\"\n\
                    env = { MOTD = \"it's $HOME; `id`\" }\n";

/// The members of an archive, by the tar crate.
fn members(archive: &Path) -> Vec<(String, Vec<u8>)> {
    let mut archive = tar::Archive::new(fs::File::open(archive).unwrap());
    let member = |entry: std::io::Result<tar::Entry<'_, fs::File>>| {
        let mut entry = entry.unwrap();
        let mut bytes = Vec::new();
        std::io::Read::read_to_end(&mut entry, &mut bytes).unwrap();
        (entry.path().unwrap().to_str().unwrap().to_owned(), bytes)
    };
    archive.entries().unwrap().map(member).collect()
}

fn parse(members: &[(String, Vec<u8>)], name: &str) -> Value {
    let (_, bytes) = members.iter().find(|(member, _)| member == name).unwrap_or_else(|| panic!("{name}"));
    serde_json::from_slice(bytes).unwrap()
}

/// The image's configuration, found as Docker finds it.
fn config(archive: &Path) -> Value {
    let members = members(archive);
    let saved = parse(&members, "manifest.json");
    parse(&members, saved[0]["Config"].as_str().unwrap())
}

/// What SONiC's package manager reads.
fn sonic(config: &Value) -> Value {
    serde_json::from_str(config["config"]["Labels"]["com.azure.sonic.manifest"].as_str().unwrap()).unwrap()
}

fn entries(bundle: &Path) -> Vec<Entry> {
    Bundle::open(bundle, &Trust::Anyone).unwrap().manifest.entries
}

#[test]
fn one_bundle_has_one_image_and_both_formats_give_its_files_again() {
    let bench = Bench::new();
    let bundle = bench.pack(&sample().docker_save(), "app.slb");
    for name in ["one.tar", "two.tar"] {
        bench.ok(&["export", "--oci", "app.slb", "--trust", "key.pub", "-o", name]);
    }
    assert!(fs::read(bench.path("one.tar")).unwrap() == fs::read(bench.path("two.tar")).unwrap());
    let image = members(&bench.path("one.tar"));
    // Docker gives a file what the header of each of its names says.
    let (_, layer) = image.iter().find(|(_, bytes)| bytes.starts_with(&[0x1f, 0x8b])).unwrap();
    let mut layer = tar::Archive::new(flate2::read::GzDecoder::new(&layer[..]));
    let modes = layer.entries().unwrap().map(|entry| {
        let entry = entry.unwrap();
        (entry.path().unwrap().to_str().unwrap().to_owned(), entry.header().mode().unwrap())
    });
    let modes: std::collections::BTreeMap<String, u32> = modes.collect();
    assert_eq!((modes["usr/bin/app"], modes["usr/bin/app2"], modes["usr/bin/su"]), (0o755, 0o755, 0o4755));
    // Without the layout it is what `docker save` writes.
    let saved = image.iter().filter(|(name, _)| name != "oci-layout" && name != "index.json");
    let saved = saved.fold(Archive::new(), |archive, (name, bytes)| archive.file(name, 0o644, bytes));
    fs::write(bench.path("saved.tar"), saved.bytes()).unwrap();
    for (name, kind) in [("one.tar", "oci"), ("saved.tar", "docker-save")] {
        let args = ["pack", name, "--image", "1.0", "--spec", "spec.toml", "--key", "key", "-o", "again.slb"];
        let args = args.map(|arg| if arg == "1.0" && kind != "oci" { "app:1.0" } else { arg });
        bench.ok(&args);
        assert!(entries(&bench.path("again.slb")) == entries(&bundle), "{kind}");
        let manifest = Bundle::open(&bench.path("again.slb"), &Trust::Anyone).unwrap().manifest;
        assert_eq!(manifest.source.kind, kind);
        assert_eq!(manifest.process.args, ["/usr/bin/app", "--serve"]);
        assert_eq!((manifest.process.uid, manifest.process.gid), (1000, 1001));
        assert_eq!(manifest.labels["maintainer"], "me");
    }
}

#[test]
fn the_configuration_says_what_the_bundle_says() {
    let bench = Bench::new();
    fs::write(
        bench.path("spec.toml"),
        format!("{SPEC}[health]\nexec = [\"/bin/test\", \"-e\", \"/run/ready\"]\ntimeout = \"5s\"\n"),
    )
    .unwrap();
    bench.pack(&busybox("echo up").docker_save(), "probe.slb");
    let args = ["--json", "export", "--sonic", "probe.slb", "--trust", "key.pub", "-o", "probe.tar"];
    let told: Value = serde_json::from_str(&bench.ok(&args)).unwrap();
    assert_eq!(told["tags"], json!(["probe:1.4.0_3", "probe:latest"]));
    let weaker: Vec<&str> =
        told["weaker"].as_array().unwrap().iter().map(|w| w["field"].as_str().unwrap()).collect();
    assert_eq!(weaker, ["root", "no_new_privileges", "capabilities", "health.exec"]);
    let config = config(&bench.path("probe.tar"));
    let container = &config["config"];
    assert_eq!(container["Entrypoint"], json!(["/bin/sh", "-c", "echo up"]));
    assert_eq!(container["User"], "0:0");
    assert_eq!(container["StopSignal"], "15");
    assert_eq!(container["Healthcheck"]["Test"], json!(["CMD", "/bin/test", "-e", "/run/ready"]));
    assert_eq!(container["Healthcheck"]["StartPeriod"], 5_000_000_000_u64);
    assert!(container["Env"].as_array().unwrap().contains(&json!("MOTD=it's $HOME; `id`")));
    assert_eq!(config["created"], "1970-01-01T00:00:00Z");
    let release = Bundle::open(&bench.path("probe.slb"), &Trust::Anyone).unwrap().digest;
    assert_eq!(container["Labels"]["sluice.release"], release.to_string());
    let sonic = sonic(&config);
    assert_eq!(
        (&sonic["package"]["name"], &sonic["package"]["version"]),
        (&json!("probe"), &json!("1.4.0+3"))
    );
    assert_eq!(sonic["service"]["stop-time"], "3");
}

#[test]
fn what_cannot_be_is_refused_and_nothing_is_written() {
    let bench = Bench::new();
    let spec = |spec: &str| {
        fs::write(bench.path("spec.toml"), spec).unwrap();
        bench.pack(&busybox("true").docker_save(), "app.slb");
    };
    let export = |more: &[&str]| {
        bench.refused(&[&["export", "app.slb", "--trust", "key.pub", "-o", "app.tar"][..], more].concat())
    };
    spec("app = \"app\"\nversion = \"1.0.0\"\n");
    assert!(export(&["--sonic"]).contains("network = \"host\""));
    spec("app = \"app\"\nversion = \"1.0.0\"\nnetwork = \"host\"\ncapabilities = [\"CAP_NET_ADMIN\"]\n");
    assert!(export(&["--sonic"]).contains("CAP_NET_ADMIN"));
    fs::write(bench.path("package.toml"), "depends = [\"swss>a\"]").unwrap();
    let error = export(&["--sonic", "--privileged", "--package", "package.toml"]);
    assert!(error.contains("package.toml") && error.contains("`>a`"), "{error}");
    let damaged: Vec<u8> = {
        let mut bytes = fs::read(bench.path("app.slb")).unwrap();
        let middle = bytes.len() - 4096;
        bytes[middle] ^= 1;
        bytes
    };
    fs::write(bench.path("app.slb"), damaged).unwrap();
    assert!(export(&["--oci"]).contains("bundle `app.slb`"));
    assert!(!bench.path("app.tar").exists());
    let left: Vec<_> = fs::read_dir(bench.dir.path()).unwrap().flatten().map(|e| e.file_name()).collect();
    assert!(left.iter().all(|name| !name.to_str().unwrap().starts_with(".image-")), "{left:?}");
    for wrong in [&["--sonic", "--oci"][..], &[], &["--oci", "--privileged"]] {
        let args = [&["export", "app.slb", "-o", "app.tar"][..], wrong].concat();
        assert_eq!(bench.run(&args).status.code(), Some(2), "{wrong:?}");
    }
}

/// The options that `sonic_package_manager/service_creator/creator.py` writes, unquoted, into the script that makes
/// the container, and then what that script adds to every container, as far as it exists on any machine.
fn options(sonic: &Value) -> String {
    let container = &sonic["container"];
    let texts = |name: &str| {
        let items = container[name].as_array().unwrap();
        items.iter().map(|item| item.as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let mut options = vec!["-t".to_owned()];
    if container["privileged"] == true {
        options.push("--privileged".to_owned());
    }
    options.extend(texts("volumes").iter().map(|volume| format!("-v {volume}")));
    for mount in container["mounts"].as_array().unwrap() {
        let text = |name: &str| mount[name].as_str().unwrap();
        let (kind, source, target) = (text("type"), text("source"), text("target"));
        options.push(format!("--mount type={kind},source={source},target={target}"));
    }
    options.extend(texts("tmpfs").iter().map(|path| format!("--tmpfs {path}")));
    options.push(
        "--net=host --uts=host -e RUNTIME_OWNER=local --log-opt max-size=2M --log-opt max-file=5".into(),
    );
    options.join(" ")
}

/// Runs `script` beside a Docker engine that is alone in its namespaces, and that ends with the script.
fn beside_dockerd(directory: &Path, script: &str) -> String {
    let id = format!("sluice-export-{}", std::process::id());
    let script = format!(
        "set -eu
         mount -t tmpfs -o mode=755 tmpfs /run
         cd '{}'
         export DOCKER_HOST=unix:///run/docker.sock DOCKER_CONFIG=/run
         echo '{{}}' >/run/daemon.json
         dockerd --config-file /run/daemon.json --data-root \"$PWD/docker\" --host $DOCKER_HOST \
            --storage-driver vfs --exec-opt native.cgroupdriver=cgroupfs --cgroup-parent /{id} \
            --bridge none --iptables=false --ip6tables=false >dockerd.log 2>&1 </dev/null &
         tries=600
         until docker version >/dev/null 2>&1; do
            tries=$((tries - 1)); [ $tries -gt 0 ] || {{ tail -n 20 dockerd.log >&2; exit 1; }}
            sleep 0.1
         done
         {script}",
        directory.display()
    );
    let output = Command::new("setpriv")
        .args([
            "--pdeathsig",
            "KILL",
            "unshare",
            "--mount",
            "--propagation",
            "private",
            "--net",
            "--pid",
            "--fork",
        ])
        .args(["--kill-child", "--mount-proc", "bash", "-c", &script])
        .output()
        .unwrap();
    // The first process of the namespace is gone, and the rest with it. What dockerd made of cgroups is empty.
    let groups = fs::read_dir("/sys/fs/cgroup").unwrap().flatten().map(|entry| entry.path().join(&id));
    for group in groups.chain([Path::new("/sys/fs/cgroup").join(&id)]).filter(|group| group.is_dir()) {
        let _ = Command::new("find")
            .arg(&group)
            .args(["-depth", "-type", "d", "-exec", "rmdir", "{}", "+"])
            .output();
    }
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).replace('\r', "");
    assert!(output.status.success(), "{}{}", text(&output.stdout), text(&output.stderr));
    text(&output.stdout)
}

fn docker(test: &str) -> bool {
    let there = |program: &str| Command::new(program).arg("--version").output().is_ok();
    let can = root(test) && ["dockerd", "docker", "containerd", "unshare", "setpriv"].into_iter().all(there);
    if !can {
        assert!(std::env::var_os("SLUICE_REQUIRE_LIVE").is_none(), "{test} needs root and docker.io");
        eprintln!("skipped: {test} needs root and docker.io");
    }
    can
}

/// As SONiC installs a package: it reads the label from the archive, loads it, finds the image by the tag that
/// Docker tells, and makes a container with the label's options.
#[test]
fn docker_loads_and_runs_what_sonic_would_install() {
    if !docker("docker_loads_and_runs_what_sonic_would_install") {
        return;
    }
    let bench = Bench::new();
    fs::create_dir(bench.path("etc-probe")).unwrap();
    fs::write(bench.path("etc-probe/name"), "spine1\n").unwrap();
    fs::create_dir(bench.path("state")).unwrap();
    let here = bench.dir.path().display();
    let spec = |capability: &str| {
        format!(
            "{SPEC}capabilities = [\"{capability}\"]\n\
             [[mounts]]\nsource = \"{here}/etc-probe\"\ntarget = \"/etc/probe\"\n\
             [[mounts]]\nsource = \"{here}/state\"\ntarget = \"/var/lib/probe\"\nwritable = true\n\
             [health]\nexec = [\"/bin/test\", \"-e\", \"/run/ready\"]\n"
        )
    };
    let script = "cat /etc/probe/name; echo \"$MOTD\"; touch /run/ready /tmp/x /var/lib/probe/was-here; \
                  touch /etc/probe/x 2>/dev/null || echo read-only; \
                  trap 'echo got TERM; exit 7' TERM; echo ready; while :; do sleep 0.1; done";
    let mut made = Vec::new();
    for (name, capability) in [("probe", "CAP_NET_RAW"), ("privileged", "CAP_NET_ADMIN")] {
        fs::write(bench.path("spec.toml"), spec(capability).replace("probe\"\nv", &format!("{name}\"\nv")))
            .unwrap();
        let (slb, tar) = (format!("{name}.slb"), format!("{name}.tar"));
        bench.pack(&busybox(script).docker_save(), &slb);
        let args = ["--json", "export", "--sonic", "--privileged", &slb, "--trust", "key.pub", "-o", &tar];
        let told: Value = serde_json::from_str(&bench.ok(&args)).unwrap();
        made.push((told["id"].as_str().unwrap().to_owned(), options(&sonic(&config(&bench.path(&tar))))));
    }
    let [(id, options), (_, privileged)] = &made[..] else { unreachable!("two were made") };
    let said = beside_dockerd(
        bench.dir.path(),
        &format!(
            "docker load -i probe.tar
             docker inspect --format '{{{{.Id}}}} {{{{.Config.User}}}} {{{{.Config.StopSignal}}}}' probe:latest
             docker create {options} --name=probe probe:latest >/dev/null
             docker start probe >/dev/null
             until docker logs probe | grep -q ^ready; do sleep 0.1; done
             docker stop -t 3 probe >/dev/null
             docker logs probe
             docker inspect --format 'ended with {{{{.State.ExitCode}}}}, privileged {{{{.HostConfig.Privileged}}}}' probe
             docker rm probe >/dev/null
             docker load -q -i privileged.tar
             docker create {privileged} --name=privileged privileged:1.4.0_3 >/dev/null
             docker inspect --format 'privileged {{{{.HostConfig.Privileged}}}}' privileged"
        ),
    );
    assert_eq!(
        said.lines().collect::<Vec<_>>(),
        [
            "Loaded image: probe:1.4.0_3",
            "Loaded image: probe:latest",
            &format!("{id} 0:0 15"),
            "spine1",
            "it's $HOME; `id`",
            "read-only",
            "ready",
            "got TERM",
            "ended with 7, privileged false",
            "Loaded image: privileged:1.4.0_3",
            "Loaded image: privileged:latest",
            "privileged true",
        ]
    );
    assert!(bench.path("state/was-here").exists());
}
