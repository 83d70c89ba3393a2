//! The control plane's part of the store against a real MariaDB.

mod bootstrap;
mod events;
mod locks;
mod nodes;
mod operations;
mod schema;
