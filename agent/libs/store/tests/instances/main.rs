//! The capacity ledger and the life of instances, against a real MariaDB.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may fail loudly"
)]

mod create;
mod ledger;
mod life;
mod power;
mod states;
mod storage;
mod sweeps;
mod world;
