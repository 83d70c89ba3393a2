//! The real router against the real database tier and MariaDB.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may fail loudly"
)]

mod admission;
mod answer;
mod audit;
mod bad_input;
mod capacity;
mod edge;
mod emptying;
mod image_table;
mod isolation;
mod keys;
mod requests;
mod uploads;
mod world;
