//! `ct-flush`: which connections to forget, in the words of ovs-ofctl(8).

use std::net::IpAddr;

use ofctl::wire::{CtFlush, CtTuple};

use super::error::CliError;

/// ICMP and ICMPv6, whose packets have an identifier where others have ports.
const ICMP: [u8; 2] = [1, 58];

fn number<T: TryFrom<u64>>(text: &str, value: &str) -> Result<T, CliError> {
    let number = match value.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16).ok(),
        None => value.parse().ok(),
    };
    number
        .and_then(|number| T::try_from(number).ok())
        .ok_or_else(|| CliError::Usage(format!("'{text}': '{value}' is not a number that fits")))
}

/// A direction's fields, and the protocol if it is among them.
fn tuple(text: &str) -> Result<(CtTuple, Option<u8>), CliError> {
    let mut result = CtTuple::default();
    let mut protocol = None;
    let address = |value: &str| -> Result<Option<IpAddr>, CliError> {
        value
            .parse()
            .map(Some)
            .map_err(|_| CliError::Usage(format!("'{text}': '{value}' is no address of IPv4 or IPv6")))
    };
    for word in text.split([',', ' ']).filter(|word| !word.is_empty()) {
        let (name, value) = word.split_once('=').unwrap_or((word, ""));
        match name {
            "ct_nw_src" | "ct_ipv6_src" => result.src = address(value)?,
            "ct_nw_dst" | "ct_ipv6_dst" => result.dst = address(value)?,
            "ct_nw_proto" => protocol = Some(number(text, value)?),
            "ct_tp_src" => result.src_port = Some(number(text, value)?),
            "ct_tp_dst" => result.dst_port = Some(number(text, value)?),
            "icmp_id" => result.icmp_id = Some(number(text, value)?),
            "icmp_type" => result.icmp_type = Some(number(text, value)?),
            "icmp_code" => result.icmp_code = Some(number(text, value)?),
            _ => {
                return Err(CliError::Usage(format!(
                    "'{word}' is not ct_nw_src=, ct_nw_dst=, ct_ipv6_src=, ct_ipv6_dst=, ct_nw_proto=, \
                     ct_tp_src=, ct_tp_dst=, icmp_id=, icmp_type= or icmp_code="
                )));
            }
        }
    }
    if let (Some(src), Some(dst)) = (result.src, result.dst)
        && src.is_ipv4() != dst.is_ipv4()
    {
        return Err(CliError::Usage(format!("'{text}' has addresses of IPv4 and of IPv6")));
    }
    Ok((result, protocol))
}

/// `[zone=N] [ORIGINAL [REPLY]]`.
pub(crate) fn parse(words: &[String]) -> Result<CtFlush, CliError> {
    let mut flush = CtFlush::default();
    let mut words = words;
    if let [first, rest @ ..] = words
        && let Some(zone) = first.strip_prefix("zone=")
    {
        flush.zone = Some(number(first, zone)?);
        words = rest;
    }
    let (original, reply) = match words {
        [] => ("", ""),
        [original] => (original.as_str(), ""),
        [original, reply] => (original.as_str(), reply.as_str()),
        [.., more] => {
            return Err(CliError::Usage(format!(
                "'{more}' is one too many: ct-flush takes zone=N, the original direction, the reply's"
            )));
        }
    };
    let (original, protocol) = tuple(original)?;
    let (reply, of_reply) = tuple(reply)?;
    if let (Some(one), Some(other)) = (protocol, of_reply)
        && one != other
    {
        return Err(CliError::Usage(format!(
            "ct_nw_proto={one} and ct_nw_proto={other} are of one connection"
        )));
    }
    (flush.original, flush.reply) = (original, reply);
    flush.ip_proto = protocol.or(of_reply).unwrap_or(0);
    for one in [original, reply] {
        let of_icmp = one.icmp_id.is_some() || one.icmp_type.is_some() || one.icmp_code.is_some();
        let has_ports = one.src_port.is_some() || one.dst_port.is_some();
        let is_icmp = ICMP.contains(&flush.ip_proto);
        if of_icmp && !is_icmp {
            return Err(CliError::Usage(
                "icmp_id, icmp_type and icmp_code need ct_nw_proto=1 or 58".to_owned(),
            ));
        }
        if has_ports && is_icmp {
            return Err(CliError::Usage(
                "ICMP has no ports: write icmp_id, icmp_type and icmp_code".to_owned(),
            ));
        }
    }
    Ok(flush)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    fn read(words: &[&str]) -> Result<CtFlush, CliError> {
        parse(&words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn zones_and_both_directions_are_read() {
        assert_eq!(read(&[]).unwrap(), CtFlush::default());
        assert_eq!(read(&["zone=5"]).unwrap().zone, Some(5));
        let flush =
            read(&["zone=5", "ct_nw_src=10.0.0.1,ct_nw_proto=6,ct_tp_dst=80", "ct_nw_src=10.0.0.2"]).unwrap();
        assert_eq!((flush.ip_proto, flush.zone, flush.original.dst_port), (6, Some(5), Some(80)));
        assert_eq!(flush.reply.src, Some("10.0.0.2".parse().unwrap()));
        assert_eq!(read(&["ct_nw_proto=1,icmp_id=7"]).unwrap().original.icmp_id, Some(7));
    }

    #[test]
    fn what_cannot_be_is_refused() {
        for wrong in [
            &["zone=65536"][..],
            &["nonsense=1"],
            &["ct_nw_src=10.0.0.1,ct_nw_dst=::1"],
            &["ct_nw_proto=6,icmp_id=1"],
            &["ct_nw_proto=1,ct_tp_dst=80"],
            &["ct_nw_proto=6", "ct_nw_proto=17"],
            &["ct_tp_dst=http"],
            &["", "", ""],
        ] {
            assert!(read(wrong).is_err(), "{wrong:?}");
        }
    }
}
