//! The gRPC service for the other daemons of this node, on a unix socket.

pub(crate) mod ensure_image;
pub(crate) mod fetch;
pub(crate) mod observer;
mod server;
mod source;

pub(crate) use server::serve;
