//! Uploads: bytes on their way into the store.

pub mod append;
pub mod create;
pub mod truncate;
