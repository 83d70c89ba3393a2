//! Names to addresses, once per request, so that the address that was checked is the one that is connected to.

use std::io;
use std::net::SocketAddr;

use async_trait::async_trait;

/// Resolves host names.
#[async_trait]
pub trait Resolver: Send + Sync {
    /// Every address of a host.
    ///
    /// # Errors
    /// The name cannot be resolved now.
    async fn resolve(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>>;
}

/// The resolver of this machine.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemResolver;

#[async_trait]
impl Resolver for SystemResolver {
    async fn resolve(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        Ok(tokio::net::lookup_host((host, port)).await?.collect())
    }
}
