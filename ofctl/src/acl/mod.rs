//! Access lists: rules about addresses and ports, and the flows that carry them out. Pure.
//!
//! A flow matches one masked value of a field, and a rule names many prefixes and ranges of ports. There are two
//! ways from one to the other, and a rule is compiled by the one that needs fewer flows:
//!
//! - *by masks*: ranges become values with masks ([`port_range`]), and each combination of source, destination
//!   and ports is a flow: k sources and n destinations are k · n flows;
//! - *by conjunction*: each source is a flow that says "one clause of conjunction 7 holds", each destination one
//!   that says so of another clause, and `conj_id=7` is matched when all hold: k + n + 1 flows (ovs-fields(7)).
//!
//! Rules are added and removed one at a time, and each change is given as the difference of flows.
//!
//! ```
//! use ofctl::acl::{Acl, Layout, Verdict, parse_rules};
//!
//! let mut acl = Acl::new(Layout { default: Verdict::Deny, ..Layout::default() });
//! for rule in parse_rules("
//!     200 allow tcp from 10.0.0.1,10.0.0.7,10.0.0.9 to 10.1.0.1 port 80
//!     100 allow tcp from 10.0.0.1,10.0.0.7,10.0.0.9 to 10.2.0.1 port 8080-8090
//! ")? {
//!     acl.add(rule)?;
//! }
//! let texts: Vec<String> = acl.flows().iter().map(|flow| flow.to_string()).collect();
//! // The first rule needs three flows by masks; the second 9 by masks, and 3 + 3 + 1 by conjunction.
//! assert_eq!(texts.len(), 1 + 3 + 7);
//! assert_eq!(texts[0], "priority=401,tcp,nw_src=10.0.0.1,nw_dst=10.1.0.1,tp_dst=80 actions=goto_table:1");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod compile;
mod prefix;
mod range;
mod rule;
mod text;

#[cfg(test)]
mod tests;

pub use compile::{Acl, Cost, Layout, RuleId};
pub use prefix::{Prefix, PrefixTooLong, merge_prefixes};
pub use range::{PortMask, merge_ranges, port_range};
pub use rule::{Headers, InvalidRule, PortRange, Protocol, Rule, Side, Verdict};
pub use text::{FileError, Found, ParseError, ParseProblem, parse_rules};
