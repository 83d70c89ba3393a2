//! The ledger of what is promised: per node, per namespace with a claim, and for the cluster (`scheduler.md` §3–7).
//!
//! Lock order is part of the contract: the node's capacity row is written first in a transaction, reservations next,
//! then whatever else the call does, and the claim or cluster row last, because every create passes through it. That is
//! why admission and release come in two halves ([`admit`] and [`charge`], [`release`] and [`give_back`]).

mod adjust;
mod admit;
mod amounts;
mod limits;
mod observe;
mod reap;
mod reconcile;
mod release;
mod snapshot;
mod tags;

pub use adjust::adjust_disk;
pub use admit::{Admission, Admitted, Refusal, admit, charge};
pub use limits::{count_reservations, publish_limits, refresh_open, refresh_totals};
pub use observe::{node_row, observe};
pub use reap::reap;
pub use reconcile::{
    OrphanCounts, expire_claims, reconcile_claims, reconcile_cluster, reconcile_node, repair_orphans,
    sized_nodes,
};
pub use release::{Released, give_back, release};
pub use snapshot::snapshot;
pub use tags::set_tags;
