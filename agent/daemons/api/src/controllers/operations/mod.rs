//! Cluster operations.

pub mod chain;
pub mod get;
pub mod list;
