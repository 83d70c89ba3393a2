//! Downloads against real servers on loopback that behave well, badly, and hostilely.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "helpers of tests may fail loudly"
)]

mod behaviour;
mod origin;
mod policy;
mod rig;
