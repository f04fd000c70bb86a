//! Messages that ovs-ofctl made, to JSON and back.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use ofctl::wire::versions::{self, Version};
use ofctl::wire::{Message, Xid};

use super::super::print::hex;
use super::super::versions::of_13;
use super::read::JsonOrSyntax;
use super::{message, unhex};

fn parse(text: &str) -> Result<(Xid, versions::Message), JsonOrSyntax> {
    super::versions::parse(text).map(|(_, xid, message)| (xid, message))
}

/// Every recorded message, and one of each kind that switches send.
fn recorded() -> impl Iterator<Item = &'static str> {
    let flow_mods = include_str!("../../../tests/vectors/flow_mods.txt").lines();
    let messages = include_str!("../../../tests/vectors/messages.txt").lines();
    let actions = include_str!("../../../tests/vectors/actions.txt").lines();
    flow_mods.chain(actions).chain(messages).filter(|line| line.starts_with("04"))
}

#[test]
fn json_gives_the_same_bytes_again() {
    let mut count = 0;
    for line in recorded() {
        let (xid, decoded) = Message::decode(&unhex(line).unwrap()).unwrap();
        let text = message(xid, &decoded).to_string();
        let (again, parsed) = parse(&text).unwrap_or_else(|error| panic!("{text}: {error}"));
        let mut bytes = Vec::new();
        parsed.encode(Version::OpenFlow13, again, &mut bytes).unwrap();
        assert_eq!(hex(&bytes), line, "{text}");
        count += 1;
    }
    assert!(count > 120, "only {count} messages");
}

#[test]
fn one_edit_changes_one_thing() {
    let text = r#"{"type":"flow_mod","command":"add","table":3,"match":{"OXM_OF_ETH_TYPE":"0x800","OXM_OF_IPV4_DST":"10.0.0.0/255.0.0.0"},"apply_actions":["output:2"]}"#;
    let read = |text: &str| {
        let versions::Message::FlowMod(flow) = parse(text).unwrap().1 else { panic!("{text}") };
        flow.flow.entry().to_string()
    };
    assert_eq!(read(text), "table=3, ip,nw_dst=10.0.0.0/8 actions=output:2");
    assert_eq!(read(&text.replace("255.0.0.0", "16")), "table=3, ip,nw_dst=10.0.0.0/16 actions=output:2");
    assert_eq!(
        read(&text.replace("output:2", "output:LOCAL")),
        "table=3, ip,nw_dst=10.0.0.0/8 actions=LOCAL"
    );
}

#[test]
fn what_is_wrong_is_named_by_its_path() {
    for (text, wanted) in [
        (r#"{"type":"flow_mod","command":"add","match":{"NO_SUCH":1}}"#, "match.NO_SUCH: no such field"),
        (r#"{"type":"flow_mod","command":"put"}"#, "command: 'put' is not one of add,"),
        (r#"{"type":"flow_mod","command":"add","apply_actions":["nonsense"]}"#, "apply_actions[0]: "),
        (r#"{"type":"flow_mod","command":"add","colour":1}"#, "colour: there is no such member"),
        (r#"{"type":"flow_mod","command":"add","table":256}"#, "table: 256 is not a number from 0 to 255"),
        (r#"{"type":"flow_mod","command":"add","match":{"OXM_OF_VLAN_VID":"0x2000"}}"#, "OFPBMC_BAD_VALUE"),
        (r#"{"type":"flow_mod""#, "not JSON"),
        (r#"[]"#, "an object is wanted"),
        (r#"{"xid":1}"#, "type: it is missing"),
        (r#"{"type":"other","message_type":14,"body":"00"}"#, "body: "),
    ] {
        let error = parse(text).unwrap_err().to_string();
        assert!(error.contains(wanted), "{text}: {error}");
    }
}

#[test]
fn messages_without_a_form_of_their_own_are_carried_through() {
    // OpenFlow 1.3 has no message 30.
    let line = "041e000800000007";
    let (xid, decoded) = Message::decode(&unhex(line).unwrap()).unwrap();
    let text = message(xid, &decoded).to_string();
    assert_eq!(parse(&text).unwrap(), (Xid(7), of_13(decoded, 0)), "{text}");
    // A match field of a class that nobody knows.
    let line = "040e004800000007000000000000000000000000000000000000000000008000ffffffffffffffffffffffff00000000\
                0001001480000a0286ddae0014013ac9003a018000000000";
    let bytes = unhex(line).unwrap();
    let (xid, decoded) = Message::decode(&bytes).unwrap_or_else(|error| panic!("{error}: {}", hex(&bytes)));
    let text = message(xid, &decoded).to_string();
    assert!(text.contains(r#""unknown":"ae0014013ac9003a0180""#), "{text}");
    assert_eq!(parse(&text).unwrap(), (Xid(7), of_13(decoded, 0)), "{text}");
}

#[test]
fn settings_and_questions_have_forms_of_their_own() {
    // What ovs-ofctl 3.1 sent, and a packet-in of ovs-vswitchd 3.1.
    let lines = [
        "04100028000000070000000100000000020000000001000000000001000000010000000000000000",
        "041d0020000000070000000d0000000100010010000000050000000900000000",
        "041d00100000000700020000ffffffff",
        "0404002000000007000023200000001800000000000000000fff000400000000",
        "040400180000000700002320000000180002000000000000",
        "04040010000000070000232000000019",
        "0404001800000007000023200000001d0000000000000005",
        "0404001400000007000023200000001000000002",
        "041600100000000700000001 00000000",
        "0412001800000007000400000000000000000001 00000000",
        "04120018000000070005000000000000 0000000100000002",
        "04120018000000070006000000000000 fffffffc00000000",
        "04120010000000070007000000000000",
        "04120010000000070008000000000000",
        "04120018000000070009000000000000 ffffffff00000000",
        "0412001800000007000a000000000000 0000000300000000",
        "0412001000000007000b000000000000",
        "04180018000000070000000200000000000000000000002a",
        "041c002000000007000000030000000000000007000000070000000f00000000",
        "0404004800000007000023200000001e000000140102030405060708090a0b0c080045000000000000030005000000000005\
         0005010000000006000c800000040000000200000000",
    ];
    for line in lines {
        let bytes = unhex(line).unwrap();
        let decoded = Message::decode(&bytes);
        let (xid, decoded) = decoded.unwrap_or_else(|error| panic!("{line}: {error}"));
        let text = message(xid, &decoded).to_string();
        assert!(!text.contains("\"type\":\"other\"") && !text.contains("\"body\""), "{text}");
        assert_eq!(
            parse(&text).unwrap_or_else(|error| panic!("{text}: {error}")),
            (xid, of_13(decoded, 0)),
            "{text}"
        );
    }
    // One edit changes one thing.
    let text = r#"{"type":"meter_mod","command":"add","meter":1,"flags":["kbps"],"bands":[{"type":"drop","rate":5}]}"#;
    let versions::Message::MeterMod(meter) = parse(&text.replace(":5", ":6")).unwrap().1 else {
        panic!("{text}")
    };
    assert_eq!((meter.meter.0, meter.bands[0].rate), (1, 6));
    let error = parse(&text.replace("kbps", "mbps")).unwrap_err().to_string();
    assert!(error.contains("flags: \"mbps\""), "{error}");
}
