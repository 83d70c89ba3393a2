//! Namespaces, networks, the allocator, artifacts and blobs against a real MariaDB.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "helpers of tests are tests")]

mod allocator;
mod artifacts;
mod bases;
mod blobs;
mod fetches;
mod intents;
mod interfaces;
mod lists;
mod metadata;
mod namespaces;
mod networks;
mod transfers;
mod uploads;
mod visibility;
mod world;
