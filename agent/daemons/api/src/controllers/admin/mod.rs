//! The cluster as a whole, for administrators.

pub mod cacert;
pub mod locks;
pub mod resources;
