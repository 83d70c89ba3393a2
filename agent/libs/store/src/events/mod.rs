//! The event log (`events.md` §5 to §7): stored once whatever is sent how often, read by object, pruned by age.

mod insert;
mod prune;
mod read;
mod record;
mod rows;
mod sweep;
mod validate;

pub use insert::insert;
pub use prune::{PruneBudget, drop_low_value, prune, purge_object};
pub use read::object_events;
pub use record::record_batch;
pub use rows::sample_rows;
pub use sweep::{Swept, sweep_range};
pub use validate::{MAX_BATCH, MAX_BATCH_BYTES, Valid, validate};
