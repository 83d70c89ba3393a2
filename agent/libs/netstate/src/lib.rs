//! Desired network state, the kernel's state, and the way from one to the other.
//!
//! Pure: [`names`], [`intent`], [`model`], [`diff`], [`change`], [`nft`] (but for `observe`), [`dhcp`], [`dns`].
//! With effects: [`netlink`], [`render`], [`announce`], [`path`], [`ping`], [`wire`].

pub mod announce;
pub mod change;
pub mod dhcp;
pub mod diff;
pub mod dns;
pub mod error;
pub mod intent;
pub mod model;
pub mod names;
pub mod netlink;
pub mod nft;
pub mod packet;
pub mod path;
pub mod ping;
pub mod render;
pub mod wire;

pub use error::{KernelError, NetError};
