//! Nodes, for administrators.

pub mod delete;
pub mod get;
pub mod list;
pub mod process_metrics;
pub mod schedulable;
