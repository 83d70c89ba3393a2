//! Which node an instance goes to, and why the others do not take it.
//!
//! Everything here is a pure function over numbers: the arithmetic of capacity (`scheduler.md` §3), the stages that
//! remove nodes, the order of those that remain (§8), and the account given to the user when none does (§9). The
//! snapshot may be stale without risk, because the admission transaction alone decides; that is also why nothing here
//! promises that a candidate still has room.

pub mod affinity;
pub mod amounts;
pub mod decide;
pub mod limits;
pub mod order;
pub mod refusal;
pub mod snapshot;
pub mod stage;
#[cfg(test)]
mod testing;
pub mod wire;

pub use amounts::{Amounts, Dimension};
pub use decide::{Candidate, Decision, Dropped, Request, decide};
pub use order::Policy;
pub use refusal::{GuardRefusal, Refusal, RefusalKind};
pub use snapshot::{Capacity, Facts, Node, Snapshot};
pub use stage::{Reason, Stage};
