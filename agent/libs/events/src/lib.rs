//! Events: the record of what happened to each object.
//!
//! ```text
//! code -> Recorder -> Spool (SQLite on this node) -> Drainer -> BatchSink (the database tier)
//! ```
//!
//! Recording never fails the caller and never waits for the network. What was acknowledged stays until the database
//! tier has it; what had to be dropped is counted. The event log decides nothing: no code reads it to act.

mod decode;
mod drainer;
mod event;
mod gauges;
mod recorder;
pub mod spool;

pub use decode::{CURRENT_FORMAT, DecodeError, decode, encode};
pub use drainer::{BatchSink, Drainer, SinkError};
pub use event::{Event, Unaddressed, event};
pub use gauges::SpoolFigures;
pub use recorder::{Recorded, Recorder};
pub use spool::{DropReason, Spool, SpoolError, SpoolOptions};
