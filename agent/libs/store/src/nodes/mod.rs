//! Nodes (`scheduler.md` §1 and §2): who they are, whether they live, what they can carry, and what happens to what they
//! held when they fail or go.

mod cascade;
mod check_in;
mod error;
mod lifecycle;
mod liveness;
mod metrics;
mod register;
mod remains;
mod view;

pub use cascade::cascade;
pub use check_in::check_in;
pub use error::{clear_error, set_error};
pub use lifecycle::{delete, set_schedulable};
pub use liveness::mark_missing;
pub use metrics::get_metrics;
pub(crate) use register::daemon_name;
pub use register::{register, report_daemon};
pub use remains::remains;
pub use view::{get, list};
