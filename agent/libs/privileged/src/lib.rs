//! How unprivileged daemons ask the root helper of their node for something.
//!
//! [`frame`] is the transport both sides share: length-prefixed protobuf messages over a unix socket, with file
//! descriptors beside them. [`PrivexecClient`] has one method per operation; none takes a path.

mod client;
mod error;
mod fds;
pub mod frame;
pub mod names;

pub use client::{ConsolePart, DiskOrder, DiskOutcome, ImageFacts, PrivexecClient};
pub use error::PrivilegedError;
