//! Commands that set what is not a flow or a group: ports, meters, tunnel options, connection tracking, roles.

use ofctl::client::openflow::Notification;
use ofctl::wire::{
    AsyncConfig, Message, MeterMod, MeterModCommand, NiciraMessage, PortDescription, PortMod, Role,
    RoleRequest, TlvMap, TlvTableCommand, TlvTableMod,
};

use super::args::{Connect, Dry, PortChange, Setting, WantedRole, Watching};
use super::error::{CliError, Place, SyntaxError};
use super::output::Output;
use super::switch::{Switch, print_messages};
use super::{Outcome, conntrack, monitor};

pub(crate) async fn run(
    connect: &Connect,
    command: Setting,
    output: &mut Output,
) -> Result<Outcome, CliError> {
    match command {
        Setting::ModPort { switch, port, change, dry } => {
            mod_port(connect, &switch, &port, change, dry, output).await
        }
        Setting::ModTable { table, setting, .. } => Err(mod_table(&table, &setting)),
        Setting::AddMeter { switch, meter, dry } => {
            meter_mod(connect, &switch, &meter, MeterModCommand::Add, dry, output).await
        }
        Setting::ModMeter { switch, meter, dry } => {
            meter_mod(connect, &switch, &meter, MeterModCommand::Modify, dry, output).await
        }
        Setting::DelMeters { switch, meter, dry } => {
            let meter = meter.as_deref().unwrap_or("meter=all");
            meter_mod(connect, &switch, meter, MeterModCommand::Delete, dry, output).await
        }
        Setting::AddTlvMap { switch, map, dry } => {
            let maps = tlv_maps(&map)?;
            let change = TlvTableMod { command: TlvTableCommand::Add, maps };
            send(connect, &switch, Message::Nicira(NiciraMessage::TlvTableMod(change)), dry, output).await
        }
        Setting::DelTlvMap { switch, map, dry } => {
            let change = match map {
                Some(map) => TlvTableMod { command: TlvTableCommand::Delete, maps: tlv_maps(&map)? },
                None => TlvTableMod { command: TlvTableCommand::Clear, maps: Vec::new() },
            };
            send(connect, &switch, Message::Nicira(NiciraMessage::TlvTableMod(change)), dry, output).await
        }
        Setting::CtFlushZone { switch, zone, dry } => {
            let message = Message::Nicira(NiciraMessage::CtFlushZone(zone));
            send(connect, &switch, message, dry, output).await
        }
        Setting::CtFlush { switch, which, dry } => {
            let message = Message::Nicira(NiciraMessage::CtFlush(Box::new(conntrack::parse(&which)?)));
            send(connect, &switch, message, dry, output).await
        }
        Setting::Role { switch, role, generation, hold, dry } => {
            set_role(connect, &switch, role, generation, hold, dry, output).await
        }
        Setting::SetAsync { switch, masks, listen, timestamp, dry } => {
            let how = listen.then_some(Watching { json: false, timestamp });
            set_async(connect, &switch, &masks, how, dry, output).await
        }
    }
}

/// Sends one message and waits until the switch has carried it out, or prints it.
async fn send(
    connect: &Connect,
    name: &str,
    message: Message,
    dry: Dry,
    output: &mut Output,
) -> Result<Outcome, CliError> {
    if dry.dry_run {
        print_messages(vec![message], false, dry, output)?;
        return Ok(Outcome::Done);
    }
    let switch = Switch::connect(connect, name).await?;
    switch.send(vec![message], false, &[]).await?;
    Ok(Outcome::Done)
}

async fn meter_mod(
    connect: &Connect,
    name: &str,
    text: &str,
    command: MeterModCommand,
    dry: Dry,
    output: &mut Output,
) -> Result<Outcome, CliError> {
    let meter = MeterMod::parse(text, command).map_err(|error| CliError::Syntax {
        place: Place::Argument("the meter"),
        text: text.to_owned(),
        source: error.into(),
    })?;
    send(connect, name, Message::MeterMod(meter), dry, output).await
}

/// `OFPPC_*` of OpenFlow 1.3.
mod port_config {
    pub(super) const DOWN: u32 = 1 << 0;
    pub(super) const NO_RECV: u32 = 1 << 2;
    pub(super) const NO_FWD: u32 = 1 << 5;
    pub(super) const NO_PACKET_IN: u32 = 1 << 6;
}

/// The bit that changes, and whether it is set.
fn port_change(change: PortChange) -> Result<(u32, bool), CliError> {
    use PortChange::*;
    Ok(match change {
        Up => (port_config::DOWN, false),
        Down => (port_config::DOWN, true),
        Receive => (port_config::NO_RECV, false),
        NoReceive => (port_config::NO_RECV, true),
        Forward => (port_config::NO_FWD, false),
        NoForward => (port_config::NO_FWD, true),
        PacketIn => (port_config::NO_PACKET_IN, false),
        NoPacketIn => (port_config::NO_PACKET_IN, true),
        Stp | NoStp | ReceiveStp | NoReceiveStp | Flood | NoFlood => {
            // ovs-ofctl sends a PORT_MOD that changes nothing, and says nothing.
            return Err(CliError::Usage(
                "OpenFlow 1.3 has no setting of ports for spanning tree or flooding (they ended with 1.0): \
                 leave the port out of the flows that flood"
                    .to_owned(),
            ));
        }
    })
}

fn port_mod(port: &PortDescription, change: PortChange) -> Result<PortMod, CliError> {
    let (bit, set) = port_change(change)?;
    let config = if set { bit } else { 0 };
    Ok(PortMod { port: port.port, address: port.address, config, mask: bit, advertise: 0 })
}

async fn mod_port(
    connect: &Connect,
    name: &str,
    port: &str,
    change: PortChange,
    dry: Dry,
    output: &mut Output,
) -> Result<Outcome, CliError> {
    port_change(change)?;
    // The port's address must stand in the message, so the switch is asked even for a try.
    let switch = Switch::connect(connect, name).await?;
    let port = switch.port_description(port).await?;
    let message = Message::PortMod(port_mod(&port, change)?);
    if dry.dry_run {
        print_messages(vec![message], false, dry, output)?;
    } else {
        switch.send(vec![message], false, &[]).await?;
    }
    Ok(Outcome::Done)
}

/// Why it cannot be done, and what does the same.
fn mod_table(table: &str, setting: &str) -> CliError {
    let instead = match setting {
        "controller" => "table=TABLE,priority=0,actions=CONTROLLER",
        "continue" => "table=TABLE,priority=0,actions=goto_table:NEXT",
        "drop" => "table=TABLE,priority=0,actions=drop",
        other => {
            return CliError::Usage(format!(
                "'{other}' is no setting of a table in OpenFlow 1.3: controller, continue and drop are flows \
                 there, and evict, noevict, vacancy and novacancy came with 1.4"
            ));
        }
    };
    CliError::Usage(format!(
        "OpenFlow 1.3 has no table setting '{setting}' (it ended with 1.2): what misses is handled by a flow \
         of priority 0, so add-flow SWITCH \"{}\"",
        instead.replace("TABLE", table)
    ))
}

/// `{class=C,type=T,len=L}->tun_metadataN`, several separated by commas.
fn tlv_maps(text: &str) -> Result<Vec<TlvMap>, CliError> {
    read_tlv_maps(text).map_err(|source| CliError::Syntax {
        place: Place::Argument("the map"),
        text: text.to_owned(),
        source,
    })
}

fn read_tlv_maps(text: &str) -> Result<Vec<TlvMap>, SyntaxError> {
    let mut maps = Vec::new();
    let mut at = 0;
    while let Some(open) = text[at..].find('{') {
        let between = &text[at..at + open];
        if let Some(place) = between.find(|c: char| c != ',' && !c.is_whitespace()) {
            return Err(SyntaxError::new(at + place, "a map begins with {, as in {class=1,type=2,len=4}"));
        }
        let begin = at + open + 1;
        let end = text[begin..].find('}').map(|place| begin + place);
        let end = end.ok_or_else(|| SyntaxError::new(begin - 1, "this { is not closed"))?;
        let (mut class, mut kind, mut length) = (None, None, None);
        let mut start = begin;
        for word in text[begin..end].split(',') {
            let (name, value) = word.split_once('=').unwrap_or((word, ""));
            let lead = name.len() - name.trim_start().len();
            let value_at = start + name.len() + 1;
            let number = |most: u64, what: &str| {
                let value = value.trim();
                let number = match value.strip_prefix("0x") {
                    Some(digits) => u64::from_str_radix(digits, 16).ok(),
                    None => value.parse().ok(),
                };
                number
                    .filter(|number| *number <= most)
                    .ok_or_else(|| SyntaxError::new(value_at, format!("'{value}' is not {what}")))
            };
            match name.trim() {
                "class" => class = Some(number(0xffff, "an option's class of 16 bits")? as u16),
                "type" => kind = Some(number(0xff, "an option's type of 8 bits")? as u8),
                "len" => {
                    let bytes = number(124, "an option's length, 4 to 124")?;
                    if bytes == 0 || bytes % 4 != 0 {
                        return Err(SyntaxError::new(value_at, "an option's length is a multiple of 4"));
                    }
                    length = Some(bytes as u8);
                }
                other => {
                    return Err(SyntaxError::new(
                        start + lead,
                        format!("'{other}' is not class=, type= or len="),
                    ));
                }
            }
            start += word.len() + 1;
        }
        let missing = |what: &str| SyntaxError::new(begin - 1, format!("{what} is missing"));
        let rest = text[end + 1..].strip_prefix("->tun_metadata");
        let rest =
            rest.ok_or_else(|| SyntaxError::new(end + 1, "->tun_metadataN is missing after the option"))?;
        let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        let field_at = text.len() - rest.len();
        let index = rest[..digits].parse().ok().filter(|index| *index < 64);
        let index =
            index.ok_or_else(|| SyntaxError::new(field_at, "there are tun_metadata0 to tun_metadata63"))?;
        maps.push(TlvMap {
            class: class.ok_or_else(|| missing("class="))?,
            kind: kind.ok_or_else(|| missing("type="))?,
            length: length.ok_or_else(|| missing("len="))?,
            index,
        });
        at = field_at + digits;
    }
    match text[at..].find(|c: char| c != ',' && !c.is_whitespace()) {
        Some(place) => Err(SyntaxError::new(at + place, "a map is {class=C,type=T,len=L}->tun_metadataN")),
        None if maps.is_empty() => Err(SyntaxError::new(0, "a map is missing")),
        None => Ok(maps),
    }
}

fn role_name(role: Role) -> &'static str {
    match role {
        Role::NoChange => "nochange",
        Role::Equal => "equal",
        Role::Primary => "primary",
        Role::Secondary => "secondary",
    }
}

async fn set_role(
    connect: &Connect,
    name: &str,
    role: Option<WantedRole>,
    generation: u64,
    hold: bool,
    dry: Dry,
    output: &mut Output,
) -> Result<Outcome, CliError> {
    let role = match role {
        None => Role::NoChange,
        Some(WantedRole::Equal) => Role::Equal,
        Some(WantedRole::Primary) => Role::Primary,
        Some(WantedRole::Secondary) => Role::Secondary,
    };
    let message = Message::RoleRequest(RoleRequest { role, generation });
    if dry.dry_run {
        print_messages(vec![message], false, dry, output)?;
        return Ok(Outcome::Done);
    }
    let mut switch = Switch::connect(connect, name).await?;
    let reply = switch.connection.transact(message).await.map_err(|error| switch.failed(error))?;
    let Message::RoleReply(RoleRequest { role, generation }) = reply else {
        return Err(CliError::WrongAnswer {
            target: name.to_owned(),
            what: "the request for a role",
            got: super::print::one_line(&reply),
        });
    };
    match generation {
        // OFPT_ROLE_REPLY of a switch that has seen no election.
        u64::MAX => output.line(role_name(role))?,
        generation => output.line(format_args!("{} generation={generation}", role_name(role)))?,
    }
    output.flush()?;
    if hold {
        loop {
            match switch.events.next().await {
                Some(Notification::Closed(reason)) => return Err(monitor::closed(name, &reason)),
                Some(_) => {}
                None => break,
            }
        }
    }
    Ok(Outcome::Done)
}

/// Changes a configuration by texts such as `packet_in=0x3/0`.
fn change_async(config: &mut AsyncConfig, texts: &[String]) -> Result<(), CliError> {
    for text in texts {
        let wrong = || {
            CliError::Usage(format!(
                "'{text}' is not packet_in=, port_status= or flow_removed= with a mask, or with one for primary \
                 and equal controllers and one for secondary ones, as in packet_in=0x3/0"
            ))
        };
        let (name, masks) = text.split_once('=').ok_or_else(wrong)?;
        let number = |text: &str| match text.strip_prefix("0x") {
            Some(digits) => u32::from_str_radix(digits, 16).ok(),
            None => text.parse().ok(),
        };
        let (primary, secondary) = match masks.split_once('/') {
            Some((primary, secondary)) => (number(primary), Some(number(secondary).ok_or_else(wrong)?)),
            None => (number(masks), None),
        };
        let pair = match name {
            "packet_in" => &mut config.packet_in,
            "port_status" => &mut config.port_status,
            "flow_removed" => &mut config.flow_removed,
            _ => return Err(wrong()),
        };
        pair[0] = primary.ok_or_else(wrong)?;
        if let Some(secondary) = secondary {
            pair[1] = secondary;
        }
    }
    Ok(())
}

async fn set_async(
    connect: &Connect,
    name: &str,
    masks: &[String],
    listen: Option<Watching>,
    dry: Dry,
    output: &mut Output,
) -> Result<Outcome, CliError> {
    // What cannot be read is said before anybody is asked.
    let none = AsyncConfig { packet_in: [0; 2], port_status: [0; 2], flow_removed: [0; 2] };
    change_async(&mut { none }, masks)?;
    let mut switch = Switch::connect(connect, name).await?;
    let reply = switch.connection.transact(Message::GetAsyncRequest).await;
    let reply = reply.map_err(|error| switch.failed(error))?;
    let Message::GetAsyncReply(mut config) = reply else {
        return Err(CliError::WrongAnswer {
            target: name.to_owned(),
            what: "the request for the messages that it sends unasked",
            got: super::print::one_line(&reply),
        });
    };
    change_async(&mut config, masks)?;
    let message = Message::SetAsync(config);
    if dry.dry_run {
        print_messages(vec![message], false, dry, output)?;
        return Ok(Outcome::Done);
    }
    if !masks.is_empty() {
        switch.send(vec![message], false, &[]).await?;
    }
    for (what, [primary, secondary]) in [
        ("packet_in", config.packet_in),
        ("port_status", config.port_status),
        ("flow_removed", config.flow_removed),
    ] {
        output.line(format_args!("{what}={primary:#x}/{secondary:#x}"))?;
    }
    output.flush()?;
    match listen {
        Some(how) => monitor::listen(&mut switch, how, output).await,
        None => Ok(Outcome::Done),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    #[test]
    fn maps_of_options_are_read() {
        let maps = read_tlv_maps(
            "{class=0xffff,type=0,len=4}->tun_metadata0, {class=1,type=0x2,len=124}->tun_metadata63",
        );
        let first = TlvMap { class: 0xffff, kind: 0, length: 4, index: 0 };
        assert_eq!(maps.unwrap(), [first, TlvMap { class: 1, kind: 2, length: 124, index: 63 }]);
        for (text, column) in [
            ("", 1),
            ("class=1", 1),
            ("{class=1,type=2,len=5}->tun_metadata0", 21),
            ("{class=1,type=2,len=4}", 23),
            ("{class=1,type=2,len=4}->tun_metadata64", 37),
            ("{class=1,len=4}->tun_metadata0", 1),
            ("{class=1,typ=2,len=4}->tun_metadata0", 10),
            ("{class=1,type=2,len=4}->tun_metadata0x", 38),
        ] {
            assert_eq!(read_tlv_maps(text).unwrap_err().column, column, "{text}");
        }
    }

    #[test]
    fn masks_change_what_they_name() {
        let mut config = AsyncConfig { packet_in: [1, 2], port_status: [3, 4], flow_removed: [5, 6] };
        change_async(&mut config, &["packet_in=0x8".to_owned(), "flow_removed=9/10".to_owned()]).unwrap();
        let wanted = AsyncConfig { packet_in: [8, 2], port_status: [3, 4], flow_removed: [9, 10] };
        assert_eq!(config, wanted);
        for wrong in ["packet_in", "packets=1", "packet_in=x", "packet_in=1/"] {
            assert!(change_async(&mut config, &[wrong.to_owned()]).is_err(), "{wrong}");
        }
    }
}
