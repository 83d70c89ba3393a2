//! The host, as far as checks look at it.

#[cfg(test)]
pub(crate) mod fake;
mod host;
mod listeners;

use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

pub use host::RealSystem;
pub use listeners::Listener;

/// A network device.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Interface {
    /// Its name.
    pub name: String,
    /// Whether it is up.
    pub up: bool,
    /// Its MTU.
    pub mtu: u32,
    /// Its addresses with the length of their prefix.
    pub addresses: Vec<(IpAddr, u8)>,
}

/// The file system behind a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileSystem {
    /// The path itself, or the nearest directory above it that exists.
    pub at: PathBuf,
    /// `tmpfs`, `overlay`, `nfs` or `other`.
    pub kind: &'static str,
    /// Bytes free for services.
    pub free: u64,
    /// Nothing can be written.
    pub read_only: bool,
}

/// What can be read of a host. Nothing here changes it.
pub trait System: Send + Sync {
    /// Text of a file.
    ///
    /// # Errors
    /// It cannot be read.
    fn read(&self, path: &Path) -> io::Result<String>;
    /// What a program prints.
    ///
    /// # Errors
    /// It is missing or fails.
    fn output(&self, program: &str, arguments: &[&str]) -> io::Result<String>;
    /// Network devices.
    ///
    /// # Errors
    /// They cannot be listed.
    fn interfaces(&self) -> io::Result<Vec<Interface>>;
    /// The file system behind a path.
    ///
    /// # Errors
    /// It cannot be inspected.
    fn file_system(&self, path: &Path) -> io::Result<FileSystem>;
    /// Opens a nameless file past the page cache.
    ///
    /// # Errors
    /// The file system cannot do that.
    fn direct_io(&self, directory: &Path) -> io::Result<()>;
    /// Sockets that wait for connections or datagrams.
    ///
    /// # Errors
    /// They cannot be listed.
    fn listeners(&self) -> io::Result<Vec<Listener>>;
    /// Whether a path exists.
    fn exists(&self, path: &Path) -> bool;
    /// What its clock says.
    fn now(&self) -> SystemTime;
}
