//! Domains on one host: what the agent asks of a hypervisor, and how libvirt is asked.
//!
//! The pure parts ([`domain`], [`configdrive`], [`disks`], [`power`], [`firmware`], [`capabilities`]) turn typed
//! values into documents and decisions and need no hypervisor. [`Hypervisor`] is the one interface to a running one;
//! [`libvirt`] implements it. With the cargo feature `test-hypervisor` there is also a recording implementation for
//! tests of the control plane.

mod api;
pub mod capabilities;
pub mod configdrive;
pub mod disks;
pub mod domain;
mod error;
#[cfg(feature = "test-hypervisor")]
pub mod fake;
mod ffi;
pub mod firmware;
pub mod libvirt;
pub mod lock;
pub mod power;
pub mod probe;

pub use api::{
    DiskStats, DomainEvent, DomainEventKind, DomainState, DomainStats, DomainSummary, Hypervisor,
    HypervisorEvent, InterfaceStats, StopDetail,
};
pub use error::HypervisorError;
