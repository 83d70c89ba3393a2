//! The control plane's part of the store against a real MariaDB.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "helpers of tests may fail loudly"
)]

mod bootstrap;
mod config;
mod events;
mod locks;
mod maintenance;
mod nodes;
mod operations;
mod rollout;
mod schema;
mod servers;
mod sweeps;
mod tls;
