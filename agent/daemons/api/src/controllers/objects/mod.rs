//! What every kind of object offers alike: metadata, history, and the operations about it.

pub mod delete_metadata;
pub mod events;
pub mod get_metadata;
mod kind;
mod named;
pub mod operations;
pub mod set_metadata;

pub use kind::{Artifacts, Blobs, Instances, Interfaces, Kind, Namespaces, Networks, Nodes};
pub use named::{All, Named, OnNode, Plain};
