//! Instances: created whole or not at all, moved by guarded milestones, released in one transaction.
//!
//! Every state change names the states it may come from and the placement it acts for, so a worker that lost a race
//! changes nothing and is told to stop (`instances.md` §4).

mod check;
mod create;
mod create_operations;
mod definition;
mod delete;
mod disks;
mod failure;
mod finish;
mod guard;
mod hard_delete;
mod insert;
mod ports;
mod power;
mod read;
mod rows;
mod transition;
mod view;

pub use check::check;
pub use create::{Create, create_on, existing};
pub use definition::definition;
pub use delete::{delete, delete_all, ensure_queued, mark_for_deletion};
pub use failure::{lock_before_failure, on_operation_failed};
pub use finish::{clear_tombstone, finish_delete};
pub use guard::STALE_PLACEMENT;
pub use hard_delete::hard_delete;
pub use ports::swap as swap_port;
pub use power::{WRONG_POWER_STATE, record_states, request as request_power};
pub use read::{get, list, list_for_node, resolve};
pub use transition::{record_boot, record_created, settle_error, transition};
