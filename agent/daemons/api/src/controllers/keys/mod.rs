//! Keys of a namespace.

pub mod create;
pub mod delete;
pub mod list;
pub mod rotate;
pub mod secret;
