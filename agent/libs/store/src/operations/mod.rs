//! Cluster operations and work queues (`database-tier.md` §13).
//!
//! An operation is a row that ends exactly once. A queue row beside it says when and by whom it may be worked on; it
//! exists until the operation ends. Network operations have none: render reports complete them.

mod claims;
mod depths;
mod dequeue;
mod end;
mod enqueue;
mod reap;
mod retention;
mod view;
mod wait;
mod work;

pub use claims::{Worker, release_claims, renew_claims};
pub use depths::queue_depths;
pub use dequeue::{Dequeue, dequeue, nodes_with_work};
pub use end::{Failure, abort_for_target, abort_node_queue, complete_network_operation, fail_operation};
pub use enqueue::{Dependency, EnqueueOperation, Enqueued, Kind, MAX_OPERATIONS, enqueue, parse_new};
pub use reap::reap;
pub use retention::prune;
pub use view::{chain, get, list_for_target, of_targets};
pub use wait::{outcomes, reply_for_wait};
pub use work::{complete, defer, fail, start};
