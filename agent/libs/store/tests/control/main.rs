//! The control plane's part of the store against a real MariaDB.

mod bootstrap;
mod config;
mod events;
mod locks;
mod maintenance;
mod nodes;
mod operations;
mod schema;
