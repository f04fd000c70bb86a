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
//! switch#      sluice-switch install agent-1.4.slb --trust release.key.pub
//! switch#      sluice-switch status
//! switch#      sluice-switch rollback agent
//! ```
//!
//! and the same for many switches, over ssh, with nothing on them but a shell:
//!
//! ```text
//! workstation$ sluice-switch enroll release.key.pub --inventory switches.toml
//! workstation$ sluice-switch deploy agent-1.4.slb --inventory switches.toml --canary 1
//! workstation$ sluice-switch status --inventory switches.toml
//! ```
//!
//! and in a script at boot, `sluice-switch up`. The description `agent.toml` is in [`bundle::Spec`], the commands are
//! in [`cli`], the bundle's format in [`bundle`], what is where on the switch in [`release`], and how
//! bundles get there in [`fleet`].
//!
//! # What can be relied on
//!
//! - The same image, description, time and keys give the same bytes, on any machine.
//! - Nothing of a bundle is parsed before a trusted key's signature of it was checked, and every file is compared
//!   with the digest that was signed.
//! - A hostile image can at most make packing fail: layers are applied in memory ([`rootfs`]).
//! - A release is unpacked whole or not at all, and files that another release has take no space again.
//! - A new release runs on trial; it is committed by one rename after it has shown that it works, and otherwise the
//!   old one is brought back. Whoever is killed in between, and whenever the power fails, `up` finds one of the two.
//! - An application has a read-only root, no new privileges, and no capability that its signed manifest does not
//!   name. Where a limit cannot be held by a control group, that needs consent and is told.
//! - Before anything is put on a switch, [`preflight`] tells what it has and lacks. At boot everything is as it was
//!   ([`autostart`]), and no daemon of ours stays.
//!
//! What cannot: an application that ends stays ended until `up`, or the next `tend --restart` where supervision was
//! asked for; and its log is cut by the same timer, so it may be longer between two looks.
//!
//! # Layers
//!
//! ```text
//! cli -> fleet, preflight, autostart, export
//!          |
//!          v
//!        release -> runtime -> bundle -> image -> rootfs -> tar
//!                                 \----------> canonical, digest
//! ```

pub mod autostart;
pub mod bundle;
pub mod canonical;
pub mod cli;
pub mod digest;
mod errors;
pub mod export;
pub mod fleet;
pub mod image;
pub mod preflight;
pub mod release;
pub mod rootfs;
pub mod runtime;
pub mod tar;
