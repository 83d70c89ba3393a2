//! Talking to the kernel: one small blocking socket per namespace and protocol, and typed helpers over it.

pub mod addr;
pub mod conntrack;
pub mod fdb;
pub mod link;
pub mod message;
pub mod socket;

pub use socket::{NetlinkSocket, NftSocket, RouteSocket, open_prepared};
