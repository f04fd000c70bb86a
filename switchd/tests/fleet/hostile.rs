//! Boxes and workstations that lie: driven in memory, over the very sessions that ssh carries.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::thread;
use std::time::Duration;

use sluice_switch::bundle::{Bundle, Entry, PublicKey, Trust};
use sluice_switch::digest::Digest;
use sluice_switch::fleet::codec::{CodecError, FrameReader, FrameWriter, MAX_MESSAGE};
use sluice_switch::fleet::message::{
    Answer, Hello, Need, Offered, Options, PROTOCOL, Plan, Request, Switched,
};
use sluice_switch::fleet::{Delivered, Parcel, Parcels, Receiver, SendError, Session};
use sluice_switch::preflight::Place;
use sluice_switch::release::Machine;
use sluice_switch::runtime::{Cgroups, Runc};

use crate::boxes::{noise, possible};
use crate::common::{Archive, Bench, Image};

type Reader = FrameReader<UnixStream>;
type Writer = FrameWriter<UnixStream>;

/// A bundle of three files, one with the content of another.
fn parcels(bench: &Bench) -> Parcels {
    let layer = Archive::new()
        .dir("bin")
        .file("bin/app", 0o755, &[1; 5000])
        .file("bin/other", 0o755, &[1; 5000])
        .file("etc-x", 0o644, b"text")
        .bytes();
    let image = Image { layers: vec![layer], config: serde_json::json!({ "Cmd": ["/bin/app"] }) };
    let bundle = bench.pack(&image.docker_save(), "a.slb");
    Parcels::read(&[bundle], &[], Path::new("/tmp"), None).unwrap()
}

fn hello() -> Hello {
    Hello {
        protocol: PROTOCOL,
        program: Digest::of(b""),
        version: "0".to_owned(),
        machine: "x86_64".to_owned(),
        hostname: "liar".to_owned(),
    }
}

/// Delivers to a box that behaves as `lie` does once it was offered a release.
fn deliver(lie: impl FnOnce(&mut Reader, &mut Writer, &Parcel) + Send) -> Result<Delivered, SendError> {
    let bench = Bench::new();
    let parcels = parcels(&bench);
    let parcel = parcels.iter().next().unwrap();
    let (ours, theirs) = UnixStream::pair().unwrap();
    for stream in [&ours, &theirs] {
        // Whoever waits for ever fails.
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    }
    thread::scope(|scope| {
        scope.spawn(move || {
            let mut reader = FrameReader::new(theirs.try_clone().unwrap());
            let mut writer = FrameWriter::new(theirs);
            writer.magic().unwrap();
            writer.message(&hello()).unwrap();
            lie(&mut reader, &mut writer, parcel);
        });
        let mut session = Session::begin(ours.try_clone().unwrap(), ours).unwrap();
        session.deliver(&parcels, parcel, Options::default(), false, &|_| {})
    })
}

/// Answers up to the plan as an honest box does, and then with `plan`.
fn planning(reader: &mut Reader, writer: &mut Writer, plan: Plan) {
    assert!(matches!(reader.message().unwrap(), Request::Offer { .. }));
    writer.message(&Answer::Offered(Offered::default())).unwrap();
    assert!(matches!(reader.message().unwrap(), Request::Open { .. }));
    reader.content().finish().unwrap();
    reader.content().finish().unwrap();
    writer.message(&Answer::Plan(plan)).unwrap();
}

fn need(entries: &[u32]) -> Plan {
    let need = entries.iter().map(|entry| Need { entry: *entry, bases: Vec::new() }).collect();
    Plan { need, ..Plan::default() }
}

/// The entries that are files.
fn files(parcel: &Parcel) -> Vec<u32> {
    (0..1000).filter(|entry| parcel.file(*entry).is_some()).collect()
}

fn nonsense(result: Result<Delivered, SendError>, part: &str) {
    match result.unwrap_err() {
        SendError::Nonsense(why) => assert!(why.contains(part), "{why}"),
        other => panic!("{other}"),
    }
}

#[test]
fn a_plan_that_cannot_be_is_refused() {
    nonsense(deliver(|r, w, _| planning(r, w, need(&[u32::MAX]))), "no file of the bundle");
    // The first entry is a directory.
    nonsense(deliver(|r, w, _| planning(r, w, need(&[0]))), "entry 0");
    nonsense(deliver(|r, w, parcel| planning(r, w, need(&files(parcel)))), "twice");
    let first = |parcel: &Parcel| files(parcel)[0];
    nonsense(deliver(|r, w, p| planning(r, w, need(&[first(p), first(p)]))), "twice");
}

#[test]
fn wanting_the_same_for_ever_ends() {
    let greedy = |r: &mut Reader, w: &mut Writer, parcel: &Parcel| {
        let entry = files(parcel)[0];
        planning(r, w, need(&[entry]));
        assert!(matches!(r.message().unwrap(), Request::Begin));
        w.message(&Answer::Ready).unwrap();
        assert_eq!(r.message::<Request>().unwrap(), Request::File { entry, base: None });
        r.content().finish().unwrap();
        assert!(matches!(r.message().unwrap(), Request::Sent));
        // It was sent whole: that it did not fit is a lie.
        w.message(&Answer::Arrived { again: vec![entry] }).unwrap();
    };
    nonsense(deliver(greedy), "wants files again");
}

#[test]
fn an_unknown_base_is_not_used_and_a_lie_about_it_costs_one_more_file() {
    let lie = |r: &mut Reader, w: &mut Writer, parcel: &Parcel| {
        let entry = files(parcel)[0];
        let bases = vec![Digest::of(b"nobody has this"), Digest::of(b"nor this")];
        planning(r, w, Plan { need: vec![Need { entry, bases }], ..Plan::default() });
        assert!(matches!(r.message().unwrap(), Request::Begin));
        w.message(&Answer::Ready).unwrap();
        assert_eq!(r.message::<Request>().unwrap(), Request::File { entry, base: None });
        let mut content = Vec::new();
        let mut from = r.content();
        zstd::Decoder::new(&mut from).unwrap().read_to_end(&mut content).unwrap();
        from.finish().unwrap();
        assert_eq!(content, [1; 5000]);
        assert!(matches!(r.message().unwrap(), Request::Sent));
        w.message(&Answer::Arrived { again: vec![] }).unwrap();
        assert!(matches!(r.message().unwrap(), Request::Switch));
        w.message(&Answer::Step("a step".to_owned())).unwrap();
        let switched = Switched { changed: true, from: None, gap_ms: None, degraded: vec![] };
        w.message(&Answer::Switched(switched)).unwrap();
    };
    let delivered = deliver(lie).unwrap();
    assert_eq!((delivered.sent.files, delivered.patches, delivered.changed), (1, 0, true));
}

#[test]
fn frames_that_are_too_long_and_answers_out_of_turn_end_the_session() {
    fn raw(bytes: Vec<u8>) -> impl FnOnce(&mut Reader, &mut Writer, &Parcel) + Send {
        move |r, w, _| {
            r.frame().unwrap();
            let stream = std::mem::replace(w, FrameWriter::new(UnixStream::pair().unwrap().0));
            stream.into_inner().write_all(&bytes).unwrap();
        }
    }
    let huge = [&(MAX_MESSAGE + 1).to_be_bytes()[..], &[1]].concat();
    match deliver(raw(huge)).unwrap_err() {
        SendError::Broken { source: CodecError::Large { length, .. }, .. } => {
            assert_eq!(length, MAX_MESSAGE + 1)
        }
        other => panic!("{other}"),
    }
    match deliver(raw(b"\0\0\0\x02\x01{}".to_vec())).unwrap_err() {
        SendError::Broken { source: CodecError::Message(_), .. } => {}
        other => panic!("{other}"),
    }
    let early = |r: &mut Reader, w: &mut Writer, _: &Parcel| {
        r.frame().unwrap();
        w.message(&Answer::Arrived { again: vec![] }).unwrap();
    };
    nonsense(deliver(early), "Offered was due");
    let gone = |r: &mut Reader, w: &mut Writer, _: &Parcel| {
        planning(r, w, Plan::default());
        r.frame().unwrap();
    };
    match deliver(gone).unwrap_err() {
        SendError::Broken { source: CodecError::Closed | CodecError::Io(_), .. } => {}
        other => panic!("{other}"),
    }
}

/// A bundle with one large file.
fn pack(bench: &Bench, version: &str, content: &[u8]) -> std::path::PathBuf {
    fs::write(bench.path("spec.toml"), format!("app = \"app\"\nversion = \"{version}\"\n")).unwrap();
    let layer = Archive::new().dir("bin").file("bin/app", 0o755, content).bytes();
    let image = Image { layers: vec![layer], config: serde_json::json!({ "Cmd": ["/bin/app"] }) };
    bench.pack(&image.docker_save(), &format!("{version}.slb"))
}

/// Speaks with a box's side in memory, whose state is in `bench`.
fn receiving(bench: &Bench, talk: impl FnOnce(&mut Reader, &mut Writer)) {
    let (ours, theirs) = UnixStream::pair().unwrap();
    ours.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let (state, run) = (bench.path("state"), bench.path("run"));
    let key = bench.path("key.pub");
    thread::scope(|scope| {
        scope.spawn(move || {
            let runtime = Runc::new("runc", run.join("runc"));
            let cgroups = Cgroups::detect().unwrap();
            let machine = Machine { state: state.clone(), run, runtime: &runtime, cgroups, consent: false };
            let place = Place { root: "/".into(), state, runc: Some("runc".into()), libcontainer: false };
            let trust = || Ok(Trust::Keys(vec![PublicKey::read(&key)?]));
            let input = theirs.try_clone().unwrap();
            let _ = Receiver::new(machine, place, trust).serve(&hello(), input, theirs);
        });
        let mut reader = FrameReader::new(ours.try_clone().unwrap());
        let mut writer = FrameWriter::new(ours);
        reader.magic().unwrap();
        reader.message::<Hello>().unwrap();
        talk(&mut reader, &mut writer);
    });
}

/// Opens a bundle on a box and begins. Gives the entry that it wants, and its bases.
fn begun(bundle: &Path, r: &mut Reader, w: &mut Writer) -> Need {
    let bundle = Bundle::open(bundle, &Trust::Anyone).unwrap();
    let options = Options { allow_degraded: true, ..Options::default() };
    w.message(&Request::Open { options, dry_run: false, who: "a test".to_owned() }).unwrap();
    let (manifest, signatures) = bundle.documents();
    for document in [manifest, signatures] {
        w.content(&mut &zstd::encode_all(document, 3).unwrap()[..]).unwrap();
    }
    let plan = match r.message().unwrap() {
        Answer::Plan(plan) => plan,
        other => panic!("{other:?}"),
    };
    w.message(&Request::Begin).unwrap();
    assert_eq!(r.message::<Answer>().unwrap(), Answer::Ready);
    assert_eq!(plan.need.len(), 1);
    plan.need[0].clone()
}

fn refused(r: &mut Reader, part: &str) {
    match r.message().unwrap() {
        Answer::Refused(refusal) => assert!(refusal.message.contains(part), "{}", refusal.message),
        other => panic!("{other:?}"),
    }
    assert!(matches!(r.frame(), Err(CodecError::Closed | CodecError::Io(_))));
}

#[test]
fn a_patch_that_does_not_fit_is_asked_for_whole_and_a_wrong_file_is_refused() {
    if !possible("a_patch_that_does_not_fit_is_asked_for_whole_and_a_wrong_file_is_refused") {
        return;
    }
    let bench = Bench::new();
    let old = noise(1, 50_000);
    let mut new = old.clone();
    new[20_000] ^= 1;
    // The old release as it lies on a box.
    let bundle = pack(&bench, "1", &old);
    let release = Bundle::open(&bundle, &Trust::Anyone).unwrap().digest.hex();
    let app = bench.path("state").join("apps/app");
    fs::create_dir_all(app.join("releases")).unwrap();
    let directory = app.join("releases").join(&release);
    bench.ok(&["unpack", "1.slb", directory.to_str().unwrap(), "--trust", "key.pub"]);
    std::os::unix::fs::symlink(Path::new("releases").join(&release), app.join("current")).unwrap();
    let next = pack(&bench, "2", &new);
    let patch = |base: &[u8]| {
        let mut encoder = zstd::Encoder::with_ref_prefix(Vec::new(), 3, base).unwrap();
        encoder.write_all(&new).unwrap();
        encoder.finish().unwrap()
    };
    let arrived = app.join("incoming").join(Digest::of(&new).hex());
    let again = |r: &mut Reader| match r.message().unwrap() {
        Answer::Arrived { again } => again,
        other => panic!("{other:?}"),
    };

    receiving(&bench, |r, w| {
        let need = begun(&next, r, w);
        let (entry, base) = (need.entry, Some(Digest::of(&old)));
        assert_eq!(need.bases, [Digest::of(&old)]);
        // Against another file (where everything is elsewhere), cut short, and not compressed at all.
        let whole = patch(&old);
        let other = [&old[..], &noise(2, 64)].concat();
        for wrong in [&patch(&other)[..], &whole[..whole.len() / 2], b"nothing of the kind"] {
            w.message(&Request::File { entry, base }).unwrap();
            w.content(&mut &wrong[..]).unwrap();
            w.message(&Request::Sent).unwrap();
            assert_eq!(again(r), [entry]);
            assert!(!arrived.exists());
        }
        w.message(&Request::File { entry, base: None }).unwrap();
        w.content(&mut &zstd::encode_all(&new[..], 3).unwrap()[..]).unwrap();
        w.message(&Request::Sent).unwrap();
        assert_eq!(again(r), [0_u32; 0]);
    });
    assert_eq!(fs::read(&arrived).unwrap(), new);
    fs::remove_file(&arrived).unwrap();

    receiving(&bench, |r, w| {
        let need = begun(&next, r, w);
        w.message(&Request::File { entry: need.entry, base: Some(need.bases[0]) }).unwrap();
        w.content(&mut &patch(&old)[..]).unwrap();
        w.message(&Request::Sent).unwrap();
        assert_eq!(again(r), [0_u32; 0]);
    });
    assert_eq!(fs::read(&arrived).unwrap(), new, "a patch that fits");
    fs::remove_file(&arrived).unwrap();

    // A whole file that is another one, and one without an end.
    for (content, part) in [(noise(3, 50_000), "digest"), (vec![0; 60_000_000], "bytes instead of 50000")] {
        receiving(&bench, |r, w| {
            let need = begun(&next, r, w);
            w.message(&Request::File { entry: need.entry, base: None }).unwrap();
            w.content(&mut &zstd::encode_all(&content[..], 1).unwrap()[..]).unwrap();
            refused(r, part);
        });
        assert_eq!(fs::read_dir(app.join("incoming")).unwrap().count(), 0, "nothing is left of it");
    }
    // What was not asked for, and a base that was not offered.
    for (entry, base, part) in [(0, None, "was not asked for"), (9999, None, "was not asked for")] {
        receiving(&bench, |r, w| {
            begun(&next, r, w);
            w.message(&Request::File { entry, base }).unwrap();
            refused(r, part);
        });
    }
    receiving(&bench, |r, w| {
        let entry = begun(&next, r, w).entry;
        w.message(&Request::File { entry, base: Some(Digest::of(b"/etc/shadow")) }).unwrap();
        refused(r, "was not offered");
    });
    receiving(&bench, |r, w| {
        begun(&next, r, w);
        w.message(&Request::Switch).unwrap();
        refused(r, "missing");
    });
    receiving(&bench, |r, w| {
        w.message(&Request::Switch).unwrap();
        refused(r, "no deployment has begun");
    });
    assert_eq!(fs::read_dir(app.join("releases")).unwrap().count(), 1);
    let entries = Bundle::open(&next, &Trust::Anyone).unwrap().manifest.entries;
    assert!(entries.iter().any(|e| matches!(e, Entry::File { size: 50_000, .. })));
}
