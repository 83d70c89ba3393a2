//! Rolling restarts across hosts (`role.md` §9.2): a node takes a slot before it touches a healthy daemon, and leaves a
//! mark when the daemon does not come back, so that a failed roll stops whatever drives it.

mod failures;
mod slots;

pub use failures::list;
pub use slots::{end, take};
