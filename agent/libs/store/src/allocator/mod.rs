//! The one allocator of scarce values (`networking.md` §13).
//!
//! Used inside the transaction that needs the value, so a value and its owner commit together. There is no call that
//! only allocates: it would invite values without an owner. Two transactions never both hold the same value, because
//! (pool, value) is unique and a takeover is decided in the same statement that would insert.

mod claim;
mod gap;
mod pool;
mod release;

pub use claim::{Strategy, claim, reserve_all};
pub use pool::{Owner, Pool, address, value_of};
pub(crate) use release::start_halo;
pub use release::{drop_pool, release, release_all, sweep};
