//! Boxes and workstations that lie: driven in memory, over the very sessions that ssh carries.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::thread;
use std::time::Duration;

use sluice_switch::digest::Digest;
use sluice_switch::fleet::codec::{CodecError, FrameReader, FrameWriter, MAX_MESSAGE};
use sluice_switch::fleet::message::{
    Answer, Hello, Need, Offered, Options, PROTOCOL, Plan, Request, Switched,
};
use sluice_switch::fleet::{Delivered, Parcel, Parcels, SendError, Session};

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
