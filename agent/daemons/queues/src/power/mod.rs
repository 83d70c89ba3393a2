//! Observed power: from the hypervisor's events to the database.

mod observer;
mod writer;

pub(crate) use observer::observe;
pub(crate) use writer::{PowerWriter, Settled, settle, write};
