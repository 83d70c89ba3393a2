//! The node's work queue: long poll, claims, execution.

mod claims;
mod execute;
mod poll;

pub(crate) use claims::{Claims, release_previous, renew as renew_claims};
pub(crate) use execute::Job;
pub(crate) use poll::poll;
