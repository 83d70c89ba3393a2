//! Network interfaces.

pub mod get;
