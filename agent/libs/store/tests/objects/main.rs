//! Namespaces, networks, the allocator, artifacts and blobs against a real MariaDB.

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
mod uploads;
mod visibility;
mod world;
