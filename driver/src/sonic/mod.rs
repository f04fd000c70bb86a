//! SONiC's CONFIG_DB: what makes SONiC's own daemons build the links of the form `sonic`.
//!
//! On SONiC the bridge, its VLANs and the VXLAN links belong to `vlanmgrd` and `vxlanmgrd`, which build them from the
//! Redis database CONFIG_DB. Here is what the agent writes there, so that nobody has to type `config vxlan map add …`
//! for every network. The forwarding entries on those links are [`linux`](crate::linux)'s matter, as without this.
//!
//! - [`entry`]: the tables, keys and fields, as SONiC's YANG models sonic-vxlan and sonic-vlan have them. Pure.
//! - [`desired`]: which networks this switch has, with their VLANs and ports. Pure.
//! - [`observed`]: what the database has, and which of it is ours. Pure.
//! - [`difference()`]: what to write and remove, in order, and what cannot be, with its cure. Pure.
//!
//! With the feature `agent` there is also the database itself:
//!
//! - `resp`: Redis' wire protocol.
//! - `database`: reads, writes and watches.
//!
//! # What is written
//!
//! | entry | fields | as the operator would |
//! |---|---|---|
//! | `VXLAN_TUNNEL\|sluice` | `src_ip` | `config vxlan add` |
//! | `VXLAN_EVPN_NVO\|sluice` | `source_vtep` | `config vxlan evpn_nvo add` |
//! | `VLAN\|Vlan<N>` | `vlanid` | `config vlan add` |
//! | `VXLAN_TUNNEL_MAP\|<tunnel>\|map_<vni>_Vlan<N>` | `vlan`, `vni` | `config vxlan map add` |
//! | `SUPPRESS_VLAN_NEIGH\|Vlan<N>` | `suppress` | `config neigh-suppress vlan` |
//! | `VLAN_MEMBER\|Vlan<N>\|<port>` | `tagging_mode` | `config vlan member add` |
//!
//! In this order, which is that of the references between them; removed in the reverse order.
//!
//! # Whose is what
//! What an operator configured serves as it is, if it says what is needed: his tunnel with this node's address, his
//! VLAN, his map. Nothing of his is changed or removed; where it says something else, the network is refused, with the
//! cure.
//!
//! What we wrote is listed in the hash `SLUICE|owned` of the same database, one field for each entry, written and
//! removed in one transaction with the entry. So it lives exactly as long as the entries do: `config save` keeps both,
//! `config reload` without it drops both, and a switch whose agent lost its state directory still knows. SONiC has no
//! YANG model for the table and passes over such tables, as over its own that have none; a patch of `config apply-patch`
//! may not name it. An entry of ours that somebody
//! else's refers to (an address on our VLAN) stays until that is gone.

pub mod desired;
pub mod entry;
pub mod observed;

#[cfg(feature = "agent")]
mod database;
mod difference;
mod refusal;
#[cfg(feature = "agent")]
mod resp;
#[cfg(test)]
mod tests;

#[cfg(feature = "agent")]
pub use database::{ConfigDb, DatabaseError, Events, Written};
pub use desired::{Address, Desired, Mapping, Server, Tagging};
pub use difference::{Difference, difference};
pub use entry::{Fields, Key, OURS, Table};
pub use observed::{Change, Impossible, Observed};
pub use refusal::Refusal;
