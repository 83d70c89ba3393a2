//! Artifacts: named, versioned indexes of blobs.

pub mod cache;
pub mod delete;
pub mod delete_all;
pub mod delete_version;
pub mod get;
pub mod list;
pub mod set_max_versions;
pub mod share;
pub mod upload;
pub mod versions;
