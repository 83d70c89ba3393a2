//! A gateway in this process against a real MariaDB, spoken to by the client every daemon uses.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "helpers of tests may fail loudly"
)]

mod frozen;
mod instances;
mod outage;
mod polls;
mod reconcile;
mod replay;
mod rules;
mod tier;
