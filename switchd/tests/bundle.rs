//! From images to bundles and back, by the command.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::Command;

use common::{Archive, Bench, Compress, as_archive, as_directory, compress, sample};
use serde_json::Value;

fn manifest(bench: &Bench, bundle: &str) -> Value {
    serde_json::from_str(&bench.ok(&["inspect", bundle, "--trust", "key.pub", "--manifest"])).unwrap()
}

/// Every path with its mode, owner, size and link, by find(1).
fn listing(directory: &Path) -> BTreeSet<String> {
    let output = Command::new("find")
        .arg(directory)
        .args(["-mindepth", "1", "-printf", "%P %y %#m %U %G %n %s %l %T@\\n"])
        .output()
        .unwrap();
    assert!(output.status.success());
    let text = String::from_utf8(output.stdout).unwrap();
    // A directory's size is its file system's business.
    let fields = |line: &str| {
        let mut fields: Vec<&str> = line.split(' ').collect();
        if fields[1] == "d" {
            fields[6] = "-";
        }
        fields.join(" ")
    };
    text.lines().map(fields).collect()
}

#[test]
fn every_form_of_an_image_makes_the_same_files() {
    let bench = Bench::new();
    let image = sample();
    let mut forms: Vec<(String, Vec<u8>)> = vec![("docker save".into(), image.docker_save())];
    forms.push(("docker save | gzip".into(), compress(&image.docker_save(), Compress::Gzip)));
    for how in [Compress::Plain, Compress::Gzip, Compress::Zstd] {
        forms.push((format!("OCI archive, layers {how:?}"), as_archive(&image.oci(how))));
    }
    let mut all = Vec::new();
    for (name, bytes) in &forms {
        bench.pack(bytes, "out.slb");
        all.push((name.clone(), manifest(&bench, "out.slb")));
    }
    as_directory(&image.oci(Compress::Gzip), &bench.path("layout"));
    bench.ok(&["pack", "layout", "--spec", "spec.toml", "--key", "key", "-o", "out.slb"]);
    all.push(("OCI layout".into(), manifest(&bench, "out.slb")));
    let (_, first) = &all[0];
    for (name, other) in &all {
        assert_eq!(other["entries"], first["entries"], "{name}");
        assert_eq!(other["payload"], first["payload"], "{name}");
        assert_eq!(other["process"], first["process"], "{name}");
    }
    assert_eq!(first["process"]["args"], serde_json::json!(["/usr/bin/app", "--serve"]));
    assert_eq!((&first["process"]["uid"], &first["process"]["gid"]), (&1000.into(), &1001.into()));
    assert_eq!(first["process"]["cwd"], "/data");
    assert_eq!(first["run"]["tmpfs"], serde_json::json!(["var/cache"]));
    let paths: Vec<&str> =
        first["entries"].as_array().unwrap().iter().map(|e| e["path"].as_str().unwrap()).collect();
    assert!(paths.contains(&"usr/bin/tool") && paths.contains(&"data/new") && paths.contains(&"proc"));
    assert!(!paths.contains(&"etc/gone") && !paths.contains(&"data/old"));
}

#[test]
fn an_export_needs_and_takes_a_configuration_from_docker_inspect() {
    let bench = Bench::new();
    let export =
        Archive::new().dir("bin").file("bin/app", 0o755, b"app").file("bin/.wh.x", 0o644, b"x").bytes();
    fs::write(bench.path("export.tar"), export).unwrap();
    let pack = ["pack", "export.tar", "--spec", "spec.toml", "--key", "key", "-o", "out.slb"];
    assert!(bench.refused(&pack).contains("--config inspect.json"));
    let inspect =
        r#"[{"Platform": "linux", "Config": {"Cmd": ["app"], "Env": ["PATH=/bin"], "Entrypoint": null}}]"#;
    fs::write(bench.path("inspect.json"), inspect).unwrap();
    let with = |more: &[&'static str]| [&pack[..], &["--config", "inspect.json"], more].concat();
    assert!(bench.refused(&with(&[])).contains("--platform linux/arm64"));
    bench.ok(&with(&["--platform", "linux/arm64"]));
    let manifest = manifest(&bench, "out.slb");
    assert_eq!(manifest["platform"]["architecture"], "arm64");
    assert_eq!(manifest["process"]["args"], serde_json::json!(["app"]));
    assert!(manifest["entries"].to_string().contains("bin/.wh.x"), "an export has no whiteouts");
}

#[test]
fn two_packs_are_identical_whatever_surrounds_them() {
    let bench = Bench::new();
    let image = sample().oci(Compress::Gzip);
    let mut reversed = image.clone();
    reversed.reverse();
    as_directory(&image, &bench.path("one"));
    as_directory(&reversed, &bench.path("elsewhere/two"));
    let old = fs::FileTimes::new().set_modified(std::time::UNIX_EPOCH);
    fs::File::open(bench.path("elsewhere/two/index.json")).unwrap().set_times(old).unwrap();
    fs::create_dir(bench.path("temporary")).unwrap();
    let pack = |image: &str, out: &str| {
        bench.command(&["pack", image, "--spec", "spec.toml", "--key", "key", "-o", out])
    };
    assert!(pack("one", "1.slb").status().unwrap().success());
    let other = pack("elsewhere/two", "2.slb")
        .env("TMPDIR", bench.path("temporary"))
        .env("LC_ALL", "tr_TR.UTF-8")
        .env("TZ", "Asia/Kolkata")
        .status();
    assert!(other.unwrap().success());
    // With another umask.
    let shell = format!(
        "umask 077; exec {} pack one --spec spec.toml --key key -o 3.slb",
        env!("CARGO_BIN_EXE_sluice-switch")
    );
    assert!(
        Command::new("sh").args(["-c", &shell]).current_dir(bench.dir.path()).status().unwrap().success()
    );
    let first = fs::read(bench.path("1.slb")).unwrap();
    assert!(first == fs::read(bench.path("2.slb")).unwrap());
    assert!(first == fs::read(bench.path("3.slb")).unwrap());
    assert_eq!(fs::metadata(bench.path("3.slb")).unwrap().permissions().mode() & 0o777, 0o644);
    assert_eq!(fs::read_dir(bench.path("temporary")).unwrap().count(), 0, "nothing is left behind");
    assert!(pack("one", "4.slb").env("SOURCE_DATE_EPOCH", "86400").status().unwrap().success());
    assert!(first != fs::read(bench.path("4.slb")).unwrap(), "the time is part of it when it is given");
}

#[test]
fn unpacking_gives_what_gnu_tar_unpacks_from_the_same_bundle() {
    if !common::root("unpacking_gives_what_gnu_tar_unpacks_from_the_same_bundle") {
        return;
    }
    let bench = Bench::new();
    bench.pack(&sample().docker_save(), "app.slb");
    bench.ok(&["unpack", "app.slb", "ours", "--trust", "key.pub"]);
    let theirs = bench.path("theirs");
    fs::create_dir(&theirs).unwrap();
    let tar = |args: &[&str]| {
        let status = Command::new("tar").args(args).current_dir(bench.dir.path()).status().unwrap();
        assert!(status.success(), "tar {args:?}");
    };
    tar(&["-xf", "app.slb"]);
    let payload = zstd::decode_all(&fs::read(bench.path("rootfs.tar.zst")).unwrap()[..]).unwrap();
    fs::write(bench.path("rootfs.tar"), payload).unwrap();
    tar(&["-xpf", "rootfs.tar", "--same-owner", "-C", "theirs"]);
    let ours = listing(&bench.path("ours/rootfs"));
    assert_eq!(ours, listing(&theirs));
    assert!(ours.iter().any(|l| l.starts_with("usr/bin/su f 04755 0 0 1 2")), "{ours:#?}");
    assert!(ours.iter().any(|l| l.starts_with("usr/bin/app2 f 0755 0 0 2 6000")), "{ours:#?}");
    let app = fs::read(bench.path("ours/rootfs/usr/bin/app")).unwrap();
    assert_eq!(app, b"version one ".repeat(500));
    let (a, b) = ("ours/rootfs/usr/bin/app", "ours/rootfs/usr/bin/app2");
    assert_eq!(fs::metadata(bench.path(a)).unwrap().ino(), fs::metadata(bench.path(b)).unwrap().ino());
    assert_eq!(
        fs::read(bench.path("ours/manifest.json")).unwrap(),
        fs::read(bench.path("manifest.json")).unwrap()
    );
    let again = bench.refused(&["unpack", "app.slb", "ours", "--trust", "key.pub"]);
    assert!(again.contains("exists already"), "{again}");
}

#[test]
fn owners_capabilities_and_forbidding_modes_reach_the_disk() {
    if !common::root("owners_capabilities_and_forbidding_modes_reach_the_disk") {
        return;
    }
    // cap_net_raw+ep, as getcap(8) reads it.
    let capability = b"\x01\0\0\x02\0\x20\0\0\0\0\0\0\0\0\0\0\0\0\0\0";
    let mut builder = tar::Builder::new(Vec::new());
    builder.append_pax_extensions([("SCHILY.xattr.security.capability", &capability[..])]).unwrap();
    let mut header = tar::Header::new_gnu();
    header.set_mode(0o2711);
    header.set_uid(70_000);
    header.set_gid(3_000_000_000);
    header.set_size(2);
    builder.append_data(&mut header, "closed/ping", &b"hi"[..]).unwrap();
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(tar::EntryType::Directory);
    header.set_mode(0o511);
    header.set_uid(5);
    header.set_gid(6);
    header.set_size(0);
    builder.append_data(&mut header, "closed", &b""[..]).unwrap();
    let image = common::Image {
        layers: vec![builder.into_inner().unwrap()],
        config: serde_json::json!({ "Cmd": ["/closed/ping"] }),
    };
    let bench = Bench::new();
    bench.pack(&image.docker_save(), "app.slb");
    let shown = bench.ok(&["inspect", "app.slb", "--trust", "key.pub"]);
    assert!(shown.contains("privileged   /closed/ping"), "{shown}");
    bench.ok(&["unpack", "app.slb", "out", "--trust", "key.pub"]);
    let closed = fs::metadata(bench.path("out/rootfs/closed")).unwrap();
    assert_eq!((closed.mode() & 0o7777, closed.uid(), closed.gid()), (0o511, 5, 6));
    let ping = bench.path("out/rootfs/closed/ping");
    let metadata = fs::metadata(&ping).unwrap();
    assert_eq!((metadata.mode() & 0o7777, metadata.uid(), metadata.gid()), (0o2711, 70_000, 3_000_000_000));
    assert_eq!(metadata.mtime(), 0);
    let mut value = [0; 64];
    let n = rustix::fs::getxattr(&ping, "security.capability", &mut value).unwrap();
    assert_eq!(&value[..n], capability);
}

#[test]
fn a_byte_changed_anywhere_is_found_and_nothing_is_left() {
    let bench = Bench::new();
    let bundle = fs::read(bench.pack(&sample().docker_save(), "app.slb")).unwrap();
    let trust = sluice_switch::bundle::Trust::Keys(vec![
        sluice_switch::bundle::PublicKey::read(&bench.path("key.pub")).unwrap(),
    ]);
    let verify = |bytes: &[u8]| sluice_switch::bundle::Bundle::read(bytes, &trust).and_then(|b| b.verify());
    verify(&bundle).unwrap();
    let mut changed = bundle.clone();
    for at in 0..bundle.len() {
        changed[at] ^= 1;
        assert!(verify(&changed).is_err(), "byte {at} was changed and nobody noticed");
        changed[at] ^= 1;
    }
    for end in (0..bundle.len()).step_by(97) {
        assert!(verify(&bundle[..end]).is_err(), "cut at {end}");
    }
    assert!(verify(&[&bundle[..], b"x"].concat()).is_err(), "a byte more");
    // In the last file's content: found while unpacking from a pipe, when much has been written already.
    for at in [600, bundle.len() / 2, bundle.len() - 1600] {
        changed[at] ^= 1;
        fs::write(bench.path("changed.slb"), &changed).unwrap();
        changed[at] ^= 1;
        let pipe = bench
            .command(&["unpack", "-", "out", "--trust", "key.pub"])
            .stdin(fs::File::open(bench.path("changed.slb")).unwrap())
            .output()
            .unwrap();
        assert_eq!(pipe.status.code(), Some(1));
        let names: Vec<_> = fs::read_dir(bench.dir.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
        assert!(!names.iter().any(|n| n.to_string_lossy().starts_with("out")), "{names:?}");
    }
}

#[test]
fn only_bundles_of_trusted_keys_are_believed() {
    let bench = Bench::new();
    bench.pack(&sample().docker_save(), "app.slb");
    bench.ok(&["keygen", "other"]);
    let error = bench.refused(&["verify", "app.slb", "--trust", "other.pub"]);
    assert!(error.contains("no signature is by a trusted key"), "{error}");
    let error = bench.refused(&["verify", "app.slb", "--keys", "nowhere"]);
    assert!(error.contains("there is no `*.pub` file"), "{error}");
    bench.ok(&["verify", "app.slb", "--trust", "other.pub", "--trust", "key.pub"]);
    let said = bench.ok(&["verify", "app.slb", "--insecure"]);
    assert!(said.contains("by no trusted key"), "{said}");
    // Signed by two, believed for either.
    bench.ok(&[
        "pack",
        "image.tar",
        "--spec",
        "spec.toml",
        "--key",
        "key",
        "--key",
        "other",
        "-o",
        "two.slb",
    ]);
    bench.ok(&["verify", "two.slb", "--trust", "other.pub"]);
    bench.ok(&["verify", "two.slb", "--trust", "key.pub"]);
    // A directory of keys.
    fs::create_dir(bench.path("keys")).unwrap();
    fs::copy(bench.path("key.pub"), bench.path("keys/a.pub")).unwrap();
    bench.ok(&["verify", "app.slb", "--keys", "keys"]);
    // The signatures of another manifest in front of these files.
    fs::write(bench.path("spec.toml"), "app = \"app\"\nversion = \"2.0\"\n").unwrap();
    bench.pack(&sample().docker_save(), "new.slb");
    let (old, new) = (fs::read(bench.path("app.slb")).unwrap(), fs::read(bench.path("new.slb")).unwrap());
    let size = |b: &[u8]| usize::from_str_radix(str::from_utf8(&b[124..135]).unwrap(), 8).unwrap();
    assert_eq!(size(&old), size(&new));
    let body = 512 + size(&old).next_multiple_of(512);
    fs::write(bench.path("mixed.slb"), [&new[..body], &old[body..]].concat()).unwrap();
    let error = bench.refused(&["verify", "mixed.slb", "--trust", "key.pub"]);
    assert!(error.contains("does not fit the manifest"), "{error}");
}

#[test]
fn openssl_checks_our_signature_with_our_key() {
    let bench = Bench::new();
    bench.pack(&sample().docker_save(), "app.slb");
    if Command::new("openssl").arg("version").output().is_err() {
        eprintln!("skipped: openssl_checks_our_signature_with_our_key needs openssl(1)");
        return;
    }
    assert!(
        Command::new("tar")
            .args(["-xf", "app.slb"])
            .current_dir(bench.dir.path())
            .status()
            .unwrap()
            .success()
    );
    let text = fs::read_to_string(bench.path("signatures.json")).unwrap();
    let signatures: Value = serde_json::from_str(&text).unwrap();
    let hex = signatures["signatures"][0]["signature"].as_str().unwrap();
    fs::write(bench.path("sig"), sluice_switch::digest::unhex(hex).unwrap()).unwrap();
    let args = "pkeyutl -verify -rawin -pubin -inkey key.pub -sigfile sig -in manifest.json";
    let output =
        Command::new("openssl").args(args.split(' ')).current_dir(bench.dir.path()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn keys_are_not_overwritten_and_not_read_when_others_could() {
    let bench = Bench::new();
    assert!(bench.refused(&["keygen", "key"]).contains("File exists"));
    fs::set_permissions(bench.path("key"), fs::Permissions::from_mode(0o640)).unwrap();
    fs::write(bench.path("image.tar"), sample().docker_save()).unwrap();
    let pack = ["pack", "image.tar", "--spec", "spec.toml", "--key", "key", "-o", "out.slb"];
    assert!(bench.refused(&pack).contains("chmod 600"));
    let error =
        bench.refused(&["pack", "image.tar", "--spec", "spec.toml", "--key", "key.pub", "-o", "out.slb"]);
    assert!(error.contains("can be read by others") || error.contains("no secret"), "{error}");
}

#[test]
fn an_image_that_is_not_what_it_says_is_refused() {
    let bench = Bench::new();
    let image = sample();
    let pack = |bytes: &[u8]| {
        fs::write(bench.path("image.tar"), bytes).unwrap();
        let error =
            bench.refused(&["pack", "image.tar", "--spec", "spec.toml", "--key", "key", "-o", "out.slb"]);
        assert!(!bench.path("out.slb").exists());
        error
    };
    // A layer's blob that is another.
    let mut files = image.oci(Compress::Gzip);
    files[1].1 = compress(&Archive::new().file("x", 0o644, b"x").bytes(), Compress::Gzip);
    assert!(pack(&as_archive(&files)).contains("damaged or was tampered with"));
    // A configuration that is another, and one that is missing.
    let mut files = image.oci(Compress::Gzip);
    files[3].1.push(b' ');
    assert!(pack(&as_archive(&files)).contains("damaged or was tampered with"));
    files.remove(3);
    assert!(pack(&as_archive(&files)).contains("which it does not hold"));
    // docker save with a layer that does not fit its diff_id.
    let other = common::Image { layers: vec![image.layers[1].clone(), image.layers[0].clone()], ..sample() };
    let mut swapped = image.docker_save();
    let from = other.docker_save();
    let layer = 512..512 + image.layers[1].len().min(512);
    swapped[layer.clone()].copy_from_slice(&from[layer]);
    let error = pack(&swapped);
    assert!(error.contains("layer0/layer.tar"), "{error}");
    // A name in a document that would leave the image.
    let mut files = image.oci(Compress::Gzip);
    let index = files.len() - 1;
    let text = String::from_utf8(files[index].1.clone()).unwrap();
    let start = text.find("sha256:").unwrap();
    let evil = format!("{}sha256:../../../etc/passwd{}", &text[..start], &text[start + 71..]);
    files[index].1 = evil.into_bytes();
    assert!(pack(&as_archive(&files)).contains("is not a digest"));
    assert!(pack(b"no archive").contains("ends at byte"));
}

#[test]
fn a_bomb_is_refused_by_its_size_and_leaves_nothing() {
    let bench = Bench::new();
    let zeros = vec![0; 8 << 20];
    let layer = Archive::new().file("bomb", 0o644, &zeros).bytes();
    let image = common::Image { layers: vec![layer], config: serde_json::json!({ "Cmd": ["/bomb"] }) };
    let bytes = as_archive(&image.oci(Compress::Zstd));
    assert!(bytes.len() < 64 << 10, "it is small on the outside");
    fs::write(bench.path("image.tar"), bytes).unwrap();
    let pack = ["pack", "image.tar", "--spec", "spec.toml", "--key", "key", "-o", "out.slb"];
    let error = bench.refused(&[&pack[..], &["--max-bytes", "1000000"]].concat());
    assert!(
        error.contains("more than 1000000 bytes when unpacked") && error.contains("--max-bytes"),
        "{error}"
    );
    assert!(!bench.path("out.slb").exists());
}

#[test]
fn a_command_that_could_not_start_is_found_when_packing() {
    let bench = Bench::new();
    fs::write(bench.path("image.tar"), sample().docker_save()).unwrap();
    let pack = |spec: &str| {
        fs::write(bench.path("spec.toml"), format!("{}{spec}", common::SPEC)).unwrap();
        bench.run(&["pack", "image.tar", "--spec", "spec.toml", "--key", "key", "-o", "out.slb"])
    };
    for good in ["args = [\"app2\"]", "args = [\"/bin/app\"]", "user = \"0\"\nargs = [\"tool\"]"] {
        let output = pack(good);
        assert!(output.status.success(), "{good}: {}", String::from_utf8_lossy(&output.stderr));
    }
    for bad in ["args = [\"nothing\"]", "args = [\"/etc/passwd\"]", "args = [\"tool\"]", "args = [\"/data\"]"]
    {
        let error = String::from_utf8(pack(bad).stderr).unwrap();
        assert!(error.contains("correct `args`"), "{bad}: {error}");
    }
    let error = String::from_utf8(pack("user = \"nobody\"").stderr).unwrap();
    assert!(error.contains("`nobody` is not in the image's /etc/passwd"), "{error}");
    let error = String::from_utf8(pack("colour = \"blue\"").stderr).unwrap();
    assert!(error.contains("spec.toml") && error.contains("unknown field `colour`"), "{error}");
}

#[test]
fn one_of_several_images_must_be_chosen() {
    let bench = Bench::new();
    let mut files = sample().oci(Compress::Plain);
    let mut arm = sample();
    arm.config["Cmd"] = serde_json::json!(["--arm"]);
    let arm = arm.oci(Compress::Plain);
    let read =
        |files: &[(String, Vec<u8>)]| -> Value { serde_json::from_slice(&files.last().unwrap().1).unwrap() };
    let (mut index, other) = (read(&files), read(&arm));
    index["manifests"][0]["annotations"] = serde_json::json!({ "org.opencontainers.image.ref.name": "one" });
    index["manifests"].as_array_mut().unwrap().push(other["manifests"][0].clone());
    index["manifests"][1]["annotations"] = serde_json::json!({ "io.containerd.image.name": "two" });
    files.pop();
    files.extend(arm.into_iter().filter(|(name, _)| name.starts_with("blobs")));
    files.sort();
    files.dedup();
    files.push(("index.json".into(), index.to_string().into_bytes()));
    fs::write(bench.path("image.tar"), as_archive(&files)).unwrap();
    let pack = ["pack", "image.tar", "--spec", "spec.toml", "--key", "key", "-o", "out.slb"];
    let error = bench.refused(&pack);
    assert!(error.contains("2 images fit") && error.contains("--image"), "{error}");
    bench.ok(&[&pack[..], &["--image", "two"]].concat());
    assert!(manifest(&bench, "out.slb")["process"]["args"].to_string().contains("--arm"));
    let error = bench.refused(&[&pack[..], &["--image", "three"]].concat());
    assert!(error.contains("there are: one, two"), "{error}");
    let error = bench.refused(&[&pack[..], &["--image", "one", "--platform", "linux/arm64"]].concat());
    assert!(error.contains("0 images fit; there are: linux/amd64"), "{error}");
}
