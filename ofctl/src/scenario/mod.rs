//! Scenarios: tests of flow tables and applications in a text that anybody can read, run in the simulator and,
//! unchanged, on Open vSwitch (`ofctl test`).
//!
//! ```
//! # use ofctl::scenario::{Document, MemoryWorld};
//! # let text = r#"
//! Scenario: a switch that learns by its own flows
//!   Given a switch with ports 1-3
//!   And flows:
//!     actions=learn(table=1,NXM_OF_ETH_DST[]=NXM_OF_ETH_SRC[],output:NXM_OF_IN_PORT[]),resubmit(,1)
//!     table=1,priority=0,actions=flood
//!   And packet hello: dl_src=02:00:00:00:00:01,dl_dst=02:00:00:00:00:02
//!   And packet answer: dl_src=02:00:00:00:00:02,dl_dst=02:00:00:00:00:01
//!   When hello arrives at port 1
//!   Then it leaves ports 2 and 3
//!   When answer arrives at port 2
//!   Then it leaves port 1
//!   And nothing else leaves
//! # "#;
//! # let document: Document = text.parse()?;
//! # document.scenarios[0].run(&mut MemoryWorld::new()).map_err(|failure| failure.to_string())?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # The language
//!
//! A file has scenarios; each begins with its `Scenario:` line. Steps before the first scenario, after `Background:`,
//! begin every one. Lines that begin with `#` are comments. `And` and `But` continue the step before.
//!
//! | step | meaning |
//! |---|---|
//! | Given a switch \[`NAME`\] with port(s) `PORTS` | a switch; a scenario with one need not name it again |
//! | Given a link between `END` and `END` | joins ports of two switches |
//! | Given flows \[of `SWITCH`\]: | flows in `ovs-ofctl`'s syntax, on the lines that follow |
//! | Given the application `NAME` | runs an application of [`crate::kit::apps`] on all switches |
//! | Given packet `NAME`: `FIELDS` | names a packet |
//! | When \[`N` times\] `PACKET` arrives at `END` | the packet comes in |
//! | When `END` goes down / up | its link |
//! | When `N` s / ms pass | time goes by: virtual time, except for an application on Open vSwitch |
//! | When flow(s) `"FLOW"` is/are added / deleted \[on `SWITCH`\] | a flow-mod; for a deletion the flow is a match |
//! | Then `PACKET` leaves `ENDS` | that frame left each of these, since the last step before `Then` |
//! | Then nothing leaves \[`ENDS`\] | no frame left, or none by these |
//! | Then nothing else leaves | every frame that left was named by a step before |
//! | Then `N` packets reach the controller \[from `SWITCH`\] | `no` and `a` are numbers too |
//! | Then flow `"FLOW"` exists \[on `SWITCH`\] | the entry with that table, priority and match has these actions |
//! | Then no flow `"FLOW"` exists \[on `SWITCH`\] | no entry with that table, priority and match |
//! | Then flow `"FLOW"` has counted `N` packets \[on `SWITCH`\] | since it was added |
//!
//! `END` is `port 2` or `port 2 of s1`; `ENDS` is `port 2`, `ports 1-3 and 5`, with `of s1` after them. `PACKET` is
//! the name of one, `it` for the one that arrived last, `"FIELDS"` or `hex:0123…`; in a Then step `"FIELDS"` names
//! what the frame must have, and leaves open the rest, and `NAME with "FIELDS"` is the named packet with those fields
//! changed. `FIELDS` is a match in `ovs-ofctl`'s syntax.

mod applications;
mod memory;
#[cfg(feature = "client")]
mod ovs;
mod parse;
mod phrase;
mod run;
mod step;

pub use memory::MemoryWorld;
#[cfg(feature = "client")]
pub use ovs::OvsWorld;
pub use parse::{Document, ParseError, Scenario};
pub use run::{Failure, Sent, World, WorldError};
pub use step::{Count, End, Ends, PacketText, Step, StepKind};
