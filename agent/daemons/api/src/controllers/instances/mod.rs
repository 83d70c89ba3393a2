//! Instances.

pub mod console;
pub mod create;
pub mod delete;
pub mod delete_all;
pub mod get;
pub mod interfaces;
pub mod list;
mod node;
pub mod power;
mod spec;
pub mod vdi_helper;
