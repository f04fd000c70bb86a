//! Bundles: `OFPT_BUNDLE_CONTROL` and `OFPT_BUNDLE_ADD_MESSAGE` of OpenFlow 1.4.1 §7.3.9, which ONF extension 230 has
//! for 1.3 as experimenter messages of the same bodies.

use super::super::ONF_EXPERIMENTER;
use super::super::cursor::{Put, Reader};
use super::super::error::DecodeError;
use super::super::ids::{BundleId, Xid};
use super::super::message::{BundleControl, BundleControlType, BundleFlags, kind, onf, put_message};
use super::{Version, VersionError};

const CONTROL: u8 = 33;
const ADD_MESSAGE: u8 = 34;

/// Begins such a message: its type in this version, and what stands before the body.
fn put(
    version: Version,
    kind: u8,
    experimenter_kind: u32,
    xid: Xid,
    out: &mut Vec<u8>,
    body: impl FnOnce(&mut Vec<u8>) -> Result<(), VersionError>,
) -> Result<(), VersionError> {
    match version {
        Version::OpenFlow10 => Err(version.lacks("a bundle", "use OpenFlow 1.3 or later")),
        Version::OpenFlow13 => put_message(version.number(), kind::EXPERIMENTER, xid, out, |out| {
            out.put_u32(ONF_EXPERIMENTER);
            out.put_u32(experimenter_kind);
            body(out)
        }),
        Version::OpenFlow14 | Version::OpenFlow15 => put_message(version.number(), kind, xid, out, body),
    }
}

pub(super) fn put_control(
    version: Version,
    control: &BundleControl,
    xid: Xid,
    out: &mut Vec<u8>,
) -> Result<(), VersionError> {
    put(version, CONTROL, onf::BUNDLE_CONTROL, xid, out, |out| {
        out.put_u32(control.bundle.0);
        out.put_u16(control.kind as u16);
        out.put_u16(control.flags.0);
        Ok(())
    })
}

pub(super) fn put_add(
    version: Version,
    bundle: BundleId,
    flags: BundleFlags,
    xid: Xid,
    out: &mut Vec<u8>,
    message: impl FnOnce(&mut Vec<u8>) -> Result<(), VersionError>,
) -> Result<(), VersionError> {
    put(version, ADD_MESSAGE, onf::BUNDLE_ADD_MESSAGE, xid, out, |out| {
        out.put_u32(bundle.0);
        out.put_u16(0);
        out.put_u16(flags.0);
        message(out)
    })
}

/// What of a bundle was read.
pub(super) enum Taken<'a> {
    Control(BundleControl),
    /// The message is still to be read.
    Add(BundleId, BundleFlags, &'a [u8]),
}

/// Reads the body of a message of this type; `None` if it is no bundle's.
pub(super) fn take<'a>(
    version: Version,
    kind: u8,
    body: &mut Reader<'a>,
) -> Result<Option<Taken<'a>>, DecodeError> {
    let is_control = match (version, kind) {
        (Version::OpenFlow13, kind::EXPERIMENTER) => {
            let mut ahead = *body;
            let which = (ahead.u32()?, ahead.u32()?);
            let is_control = match which {
                (ONF_EXPERIMENTER, onf::BUNDLE_CONTROL) => true,
                (ONF_EXPERIMENTER, onf::BUNDLE_ADD_MESSAGE) => false,
                _ => return Ok(None),
            };
            *body = ahead;
            is_control
        }
        (Version::OpenFlow14 | Version::OpenFlow15, CONTROL) => true,
        (Version::OpenFlow14 | Version::OpenFlow15, ADD_MESSAGE) => false,
        _ => return Ok(None),
    };
    let bundle = BundleId(body.u32()?);
    if is_control {
        let number = body.u16()?;
        let kind = BundleControlType::ALL.get(usize::from(number)).copied();
        let kind = kind.ok_or(DecodeError::Refused { what: "bundle control", error: "OFPBFC_BAD_TYPE" })?;
        let flags = BundleFlags(body.u16()?);
        return Ok(Some(Taken::Control(BundleControl { bundle, kind, flags })));
    }
    body.skip(2)?;
    let flags = BundleFlags(body.u16()?);
    Ok(Some(Taken::Add(bundle, flags, body.rest())))
}
