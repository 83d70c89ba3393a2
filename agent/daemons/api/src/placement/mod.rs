//! Where a new instance goes: a snapshot of capacity, the candidates, and the account when none of them takes it.

pub mod disks;
mod figures;
mod refusal;
mod snapshot;
mod walk;

pub use refusal::explain;
pub use snapshot::{Age, CapacityCache, Reading};
pub use walk::place;
