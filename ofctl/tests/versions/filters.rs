//! `ofctl encode` and `decode` in other versions, beside ovs-ofctl's words for the same bytes.

use std::io::Write as _;
use std::process::{Command, Stdio};

use ofctl::wire::Field;
use ofctl::wire::versions::Version;

use super::support::flows::{ACTIONS, of_action, of_field};
use super::support::ovs_ofctl;
use super::support::random::Random;

/// Runs a filter on these lines; what it printed, what it complained of, and whether all went well.
fn filter(arguments: &[&str], lines: &[String]) -> (Vec<String>, String, bool) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_ofctl"))
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let (mut stdin, text) = (child.stdin.take().unwrap(), lines.join("\n"));
    let writer = std::thread::spawn(move || stdin.write_all(text.as_bytes()).unwrap());
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (text(output.stdout).lines().map(str::to_owned).collect(), text(output.stderr), output.status.success())
}

fn printed(hex: &str) -> String {
    let output = Command::new("ovs-ofctl").args(["--no-names", "ofp-print", hex]).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join(" ")
}

#[test]
fn text_goes_to_bytes_and_back_in_every_version() {
    if !ovs_ofctl::is_there() {
        return;
    }
    let mut random = Random(77);
    // What Open vSwitch leaves away in text is compared nowhere.
    let lossy = ["erspan", "gtpu", "nsh_c", "tun_metadata"];
    let fields = Field::all().filter(|field| lossy.iter().all(|word| !field.name().contains(word)));
    let flows: Vec<String> = fields
        .map(|field| of_field(field, &mut random))
        .filter(|text| lossy.iter().all(|word| !text.contains(word)))
        .filter(|text| !text.contains("ipv6") || !text.contains('/'))
        .take(60)
        .collect();
    for version in Version::ALL {
        let flows: Vec<String> =
            flows
                .iter()
                .map(|text| {
                    if version >= Version::OpenFlow14 { format!("importance=9,{text}") } else { text.clone() }
                })
                .collect();
        let (hexes, complaints, _) = filter(&["-O", version.name(), "encode", "-"], &flows);
        assert_eq!(hexes.len(), flows.len(), "{complaints}");
        let taken: Vec<String> = hexes.into_iter().filter(|line| !line.starts_with("error")).collect();
        assert!(taken.len() * 10 >= flows.len() * 9, "{version}: {} of {} taken", taken.len(), flows.len());
        let (texts, complaints, well) = filter(&["decode", "-"], &taken);
        assert!(well, "{version}: {complaints}");
        let wrong: Vec<String> = taken
            .iter()
            .zip(&texts)
            .filter_map(|(hex, ours)| {
                let theirs = printed(hex);
                // It calls the old actions by their old names, which mean the same; what is before them must agree.
                let old = version == Version::OpenFlow10 && theirs.contains("=mod_");
                let before = |text: &str| text.split_once("actions=").map(|(before, _)| before.to_owned());
                let same = if old { before(&theirs) == before(ours) } else { theirs == *ours };
                (!same).then(|| format!("{hex}\n  ours   {ours}\n  theirs {theirs}"))
            })
            .collect();
        println!("{version}: {} of {} read as ovs-ofctl reads them", taken.len() - wrong.len(), taken.len());
        assert!(wrong.len() * 20 <= taken.len(), "{version}:\n{}", wrong.join("\n"));
    }
}

#[test]
fn what_a_version_cannot_say_is_refused_or_warned_of() {
    let one = |version: &str, text: &str| filter(&["-O", version, "encode", "-"], &[text.to_owned()]);
    let (lines, complaint, well) = one("OpenFlow13", "importance=7,actions=drop");
    assert!(well && lines.len() == 1 && complaint.contains("importance=7 is left away"), "{complaint}");
    let (lines, complaint, well) = one("OpenFlow14", "importance=7,actions=drop");
    assert!(
        well && complaint.is_empty() && lines[0].starts_with("050e") && lines[0].contains("0007"),
        "{lines:?}"
    );
    let (lines, complaint, well) = one("OpenFlow10", "actions=meter:5");
    assert!(!well && lines[0].contains("OpenFlow10 cannot say a meter"), "{lines:?} {complaint}");
    let (lines, _, well) = one("OpenFlow10", "importance=x,actions=drop");
    assert!(!well && lines[0].starts_with("error: line 1 column 12:"), "{lines:?}");
    let group = "group insert_bucket group_id=5,command_bucket_id=2,bucket=bucket_id=4,actions=output:1";
    let (lines, complaint, well) = one("OpenFlow15", group);
    assert!(well && lines[0].starts_with("060f"), "{lines:?} {complaint}");
    let (text, ..) = filter(&["decode", "-"], &lines);
    let words = "INSERT_BUCKET command_bucket_id:2,group_id=5,type=all,bucket=bucket_id:4,actions=output:1";
    assert!(text[0].ends_with(words) && text[0].contains("(OF1.5)"), "{text:?}");
    let (lines, ..) = one("OpenFlow14", group);
    assert!(lines[0].contains("OpenFlow14 cannot say a command about one bucket"), "{lines:?}");
    let (_, complaint, well) = filter(&["-O", "OpenFlow15", "show", "br0"], &[]);
    assert!(!well && complaint.contains("only encode and decode"), "{complaint}");
}

/// Messages of every version go to JSON and back, in members and not in hexadecimal.
#[test]
fn json_gives_the_same_bytes_in_every_version() {
    let mut random = Random(78);
    let mut flows: Vec<String> = Field::all().map(|field| of_field(field, &mut random)).collect();
    flows.extend(ACTIONS.iter().map(|pattern| of_action(pattern, &mut random)));
    let groups = [
        "group add group_id=5,type=all,bucket=actions=output:1,bucket=actions=output:2",
        "group modify group_id=6,type=select,bucket=weight:5,actions=output:1",
    ];
    let only_15 = [
        "group insert_bucket group_id=5,command_bucket_id=2,bucket=bucket_id=4,actions=output:1",
        "group remove_bucket group_id=5,command_bucket_id=7",
        "group add group_id=6,type=select,selection_method=hash,selection_method_param=77,\
         fields(tcp_dst,eth_dst,ip_src=255.255.255.0),bucket=bucket_id=3,weight=5,actions=output:1",
    ];
    for version in Version::ALL {
        let importance = if version >= Version::OpenFlow14 { "importance=9," } else { "" };
        let mut texts: Vec<String> = flows.iter().map(|flow| format!("{importance}{flow}")).collect();
        texts.extend(groups.map(str::to_owned));
        if version == Version::OpenFlow15 {
            texts.extend(only_15.map(str::to_owned));
        }
        let (hexes, ..) = filter(&["-O", version.name(), "encode", "-"], &texts);
        let hexes: Vec<String> = hexes.into_iter().filter(|line| !line.starts_with("error")).collect();
        assert!(hexes.len() * 10 > texts.len() * 9, "{version}: {} of {}", hexes.len(), texts.len());
        let (objects, complaints, well) = filter(&["decode", "--json", "-"], &hexes);
        assert!(well && objects.len() == hexes.len(), "{version}: {complaints}");
        let opaque = objects.iter().filter(|object| object.contains("\"type\":\"other\"")).count();
        assert_eq!(opaque, 0, "{version}: in hexadecimal");
        let says = |object: &String| object.contains(&format!("\"openflow\":\"{version}\""));
        assert_eq!(objects.iter().all(says), version != Version::OpenFlow13, "{version}");
        let (again, complaints, well) = filter(&["encode", "--json", "-"], &objects);
        assert!(well, "{version}: {complaints}");
        let differ: Vec<String> = hexes
            .iter()
            .zip(&again)
            .zip(&objects)
            .filter(|((hex, again), _)| hex != again)
            .map(|((hex, again), object)| format!("{hex}\n{again}\n{object}"))
            .collect();
        println!("{version}: {} of {} come back from JSON", hexes.len() - differ.len(), hexes.len());
        // Of 1.0, what has two forms may come back in the other.
        assert!(differ.len() * 50 <= hexes.len(), "{version}:\n{}", differ.join("\n"));
        // One edit changes one thing.
        if let Some(object) = objects.iter().find(|object| object.contains("\"group_id\":5")) {
            let edited = object.replace("\"group_id\":5", "\"group_id\":99");
            let (lines, ..) = filter(&["encode", "--json", "-"], &[edited]);
            let (text, ..) = filter(&["decode", "-"], &lines);
            assert!(text[0].contains("group_id=99,type=all"), "{text:?}");
        }
    }
}
