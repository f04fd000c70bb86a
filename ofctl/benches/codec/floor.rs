//! What the reference flow costs a program that knows nothing else: the least that any codec can take here.

/// The numbers of the reference flow.
pub(crate) struct Reference {
    cookie: u64,
    table: u8,
    priority: u16,
    in_port: u32,
    eth_type: u16,
    ip_dst: (u32, u32),
    ip_proto: u8,
    tcp_dst: u16,
    reg0: (u32, u32),
    load: u64,
    zone: u16,
    output: u32,
}

/// As `flow(7)` builds it.
pub(crate) const REFERENCE: Reference = Reference {
    cookie: 0x0800_0000_0000_000b,
    table: 40,
    priority: 100,
    in_port: 5,
    eth_type: 0x0800,
    ip_dst: (0x0a05_0007, 0xffff_ff07),
    ip_proto: 6,
    tcp_dst: 80,
    reg0: (1, 0xf),
    load: 0xb,
    zone: 5,
    output: 11,
};

/// Appends the message, each number at its place in a fixed pattern.
pub(crate) fn encode(flow: &Reference, xid: u32, out: &mut Vec<u8>) {
    let mut message = [0u8; 176];
    let mut at = 0;
    let mut put = |bytes: &[u8]| {
        message[at..at + bytes.len()].copy_from_slice(bytes);
        at += bytes.len();
    };
    put(&[4, 14, 0, 176]);
    put(&xid.to_be_bytes());
    put(&flow.cookie.to_be_bytes());
    put(&[0; 8]);
    put(&[flow.table, 0, 0, 0, 0, 0]);
    put(&flow.priority.to_be_bytes());
    put(&[0xff; 12]);
    put(&[0, 0, 0, 0, 0, 1, 0, 53]);
    put(&[0x80, 0, 0, 4]);
    put(&flow.in_port.to_be_bytes());
    put(&[0x80, 0, 10, 2]);
    put(&flow.eth_type.to_be_bytes());
    put(&[0x80, 0, 0x19, 8]);
    put(&flow.ip_dst.0.to_be_bytes());
    put(&flow.ip_dst.1.to_be_bytes());
    put(&[0x80, 0, 0x14, 1, flow.ip_proto]);
    put(&[0x80, 0, 0x1c, 2]);
    put(&flow.tcp_dst.to_be_bytes());
    put(&[0, 1, 1, 8]);
    put(&flow.reg0.0.to_be_bytes());
    put(&flow.reg0.1.to_be_bytes());
    put(&[0, 0, 0]);
    put(&[0, 4, 0, 72, 0, 0, 0, 0]);
    put(&[0xff, 0xff, 0, 24, 0, 0, 0x23, 0x20, 0, 7, 0, 31, 0, 1, 10, 4]);
    put(&flow.load.to_be_bytes());
    put(&[0xff, 0xff, 0, 24, 0, 0, 0x23, 0x20, 0, 35, 0, 1, 0, 0, 0, 0]);
    put(&flow.zone.to_be_bytes());
    put(&[0xff, 0, 0, 0, 0, 0]);
    put(&[0, 0, 0, 16]);
    put(&flow.output.to_be_bytes());
    out.extend_from_slice(&message);
}

fn number(bytes: &[u8], at: usize) -> Option<usize> {
    Some(usize::from(u16::from_be_bytes([*bytes.get(at)?, *bytes.get(at + 1)?])))
}

/// Goes over a FLOW_MOD and checks every length in it; how many fields and actions there are.
pub(crate) fn walk(bytes: &[u8]) -> Option<usize> {
    if bytes.first() != Some(&4) || bytes.get(1) != Some(&14) || number(bytes, 2)? != bytes.len() {
        return None;
    }
    let mut count = 0;
    let length = number(bytes, 50)?;
    let mut entries = bytes.get(52..48 + length)?;
    while !entries.is_empty() {
        entries = entries.get(4 + usize::from(*entries.get(3)?)..)?;
        count += 1;
    }
    let mut instructions = bytes.get(48 + length.next_multiple_of(8)..)?;
    while !instructions.is_empty() {
        let length = number(instructions, 2)?;
        let mut actions = instructions.get(8..length)?;
        while !actions.is_empty() {
            let length = number(actions, 2)?;
            if length < 8 || length % 8 != 0 {
                return None;
            }
            actions = actions.get(length..)?;
            count += 1;
        }
        instructions = instructions.get(length..)?;
    }
    Some(count)
}
