//! Applications on white-box switches, without Docker on the switch: signed bundles made on a workstation, checked
//! and unpacked on the switch.
//!
//! A white-box switch (Cumulus, SONiC, DENT) is a Linux machine with little disk, an old kernel and no container
//! engine. This package turns an image into one signed file, a *bundle*, and brings it to life there.
//!
//! # In short
//!
//! ```text
//! workstation$ sluice-switch keygen release.key
//! workstation$ docker save agent:1.4 | sluice-switch pack - --spec agent.toml --key release.key -o agent-1.4.slb
//! switch#      sluice-switch verify agent-1.4.slb --trust release.key.pub
//! switch#      sluice-switch unpack agent-1.4.slb /var/lib/agent-1.4 --trust release.key.pub
//! ```
//!
//! The description `agent.toml` is in [`bundle::Spec`], the commands in [`cli`], the format in [`bundle`].
//!
//! # What can be relied on
//!
//! - The same image, description, time and keys give the same bytes, on any machine.
//! - Nothing of a bundle is parsed before a trusted key's signature of it was checked, and every file is compared
//!   with the digest that was signed.
//! - A hostile image can at most make packing fail: layers are applied in memory ([`rootfs`]).
//! - A directory is unpacked whole or not at all, also when the power fails.
//!
//! # Layers
//!
//! ```text
//! cli -> bundle -> image -> rootfs -> tar
//!          \----------> canonical, digest
//! ```

pub mod bundle;
pub mod canonical;
pub mod cli;
pub mod digest;
pub mod image;
pub mod release;
pub mod rootfs;
pub mod runtime;
pub mod tar;
