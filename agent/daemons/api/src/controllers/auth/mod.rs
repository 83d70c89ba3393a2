//! Log-in.

pub mod login;
