use crate::flow::FlowEntry;
use crate::text::ParseError;

/// What ovs-ofctl of Open vSwitch 3.1 printed for each, by `dump-flows --no-stats` of a bridge that was given it.
const DUMPED: &str = include_str!("../../tests/vectors/dumped.flows");

#[test]
fn what_ovs_prints_is_read_and_printed_the_same() {
    let mut count = 0;
    let mut wrong = String::new();
    for line in DUMPED.lines().filter(|line| !line.starts_with('#')) {
        let flow: FlowEntry = line.parse().unwrap_or_else(|error| panic!("{line}: {error}"));
        if flow.to_string() != line {
            wrong += &format!("\nwanted {line}\n   got {flow}");
        }
        count += 1;
    }
    assert!(wrong.is_empty(), "{wrong}");
    assert!(count > 30, "only {count} vectors");
}

fn error(text: &str) -> ParseError {
    text.parse::<FlowEntry>().expect_err(text)
}

#[test]
fn errors_name_the_column() {
    for (text, column, message) in [
        ("priority=1,foo=3,actions=drop", 12, "'foo' is neither a field nor a property"),
        ("priority=99999,actions=drop", 10, "'99999' is not a value for a priority"),
        ("tcp,tp_dst=70000,actions=drop", 12, "'70000' is not a value for tcp_dst"),
        ("tp_dst=7,actions=drop", 1, "'tp_dst' needs tcp, udp or sctp"),
        ("ip,nw_src=10.0.0.0/33,actions=drop", 20, "'33' is not a value for ip_src"),
        ("ip,ip,actions=drop", 4, "'ip' stands there twice"),
        ("in_port=1", 10, "actions= is missing"),
        ("actions=load:0x10->NXM_NX_REG0[0..3]", 14, "'0x10' is not a value for NXM_NX_REG0[0..3]"),
        ("actions=move:NXM_NX_REG0[]->NXM_NX_REG1[0..3]", 29, "is not a value for a move of 32 bits"),
        ("actions=frobnicate:3", 9, "action 'frobnicate' is not known here"),
        ("actions=goto_table:3,output:1", 22, "an action must come earlier"),
        ("actions=resubmit(,3", 9, "a closing parenthesis is missing"),
        ("ct_state=+new+new,actions=drop", 10, "'+new+new' is not a value for ct_state"),
        ("eth_type=0x800/0xff,actions=drop", 16, "takes no mask"),
    ] {
        let error = error(text);
        assert_eq!(error.column, column, "{text}: {error}");
        assert!(error.to_string().contains(message), "{text}: {error}");
    }
}
