//! What the leader's maintenance needs of the database (`database-tier.md` §14.2).

mod hard_delete;
mod invariants;
mod schedule;

pub use hard_delete::hard_delete;
pub use invariants::check_invariants;
pub use schedule::{claim_task, finish_task, list_tasks, plan_task};
