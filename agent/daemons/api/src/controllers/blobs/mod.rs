//! Blobs: immutable bytes.

pub mod checksum;
pub mod data;
pub mod find;
pub mod get;
pub mod list;
