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
#![doc = include_str!("language.md")]

mod applications;
mod memory;
#[cfg(feature = "client")]
mod ovs;
mod parse;
mod phrase;
mod run;
mod state;
mod step;

pub use memory::MemoryWorld;
#[cfg(feature = "client")]
pub use ovs::OvsWorld;
pub use parse::{Document, ParseError, Scenario};
pub use run::{Failure, Sent, World, WorldError};
pub use step::{Amount, ApplicationText, Count, Counter, End, Ends, PacketText, Step, StepKind, Volume};
