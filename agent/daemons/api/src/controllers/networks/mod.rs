//! Virtual networks.

pub mod addresses;
pub mod create;
pub mod delete;
pub mod delete_all;
pub mod get;
pub mod interfaces;
pub mod list;
pub mod ping;
