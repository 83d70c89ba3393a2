//! What the agent asks of a hypervisor.

use async_trait::async_trait;
use sf_model::InstanceId;
use tokio::sync::broadcast;

use crate::capabilities::CapabilitySnapshot;
use crate::domain::{Accelerator, DomainIdentity};
use crate::error::HypervisorError;

/// A hypervisor of this host.
///
/// Every call has a deadline and may fail with "unknown outcome" ([`HypervisorError::Timeout`],
/// [`HypervisorError::Disconnected`]): callers read the domain's state again and let it decide. Only an `Ok(None)`
/// from [`Hypervisor::lookup`] means that a domain does not exist.
#[async_trait]
pub trait Hypervisor: Send + Sync + 'static {
    /// Whether the hypervisor answers.
    fn connected(&self) -> bool;

    /// Events from now on. A lagging receiver has missed some and must compare everything.
    fn events(&self) -> broadcast::Receiver<HypervisorEvent>;

    /// What guests of the given acceleration can be made of.
    async fn capabilities(&self, accelerator: Accelerator) -> Result<CapabilitySnapshot, HypervisorError>;

    /// Every domain whose name is `sf:<uuid>`, ours or not.
    async fn list(&self) -> Result<Vec<DomainSummary>, HypervisorError>;

    /// One domain, freshly read. `None`: the hypervisor says it does not exist.
    async fn lookup(&self, instance: InstanceId) -> Result<Option<DomainSummary>, HypervisorError>;

    /// Makes or replaces the persistent definition; answers the document as the hypervisor keeps it, without secrets.
    async fn define(&self, instance: InstanceId, xml: &str) -> Result<String, HypervisorError>;

    /// Starts the defined domain. Success when it runs, also if it ran before.
    async fn start(&self, instance: InstanceId) -> Result<(), HypervisorError>;

    /// Stops the domain at once. Success when it is inactive or absent.
    async fn destroy(&self, instance: InstanceId) -> Result<(), HypervisorError>;

    /// Removes the definition with everything the hypervisor keeps for it. Success when it is absent.
    async fn undefine(&self, instance: InstanceId) -> Result<(), HypervisorError>;

    /// Asks the guest to reboot by the power button; it may ignore it.
    async fn request_reboot(&self, instance: InstanceId) -> Result<(), HypervisorError>;

    /// Presses the reset button.
    async fn reset(&self, instance: InstanceId) -> Result<(), HypervisorError>;

    /// Stops executing the guest, keeping its memory. Success when it is paused.
    async fn suspend(&self, instance: InstanceId) -> Result<(), HypervisorError>;

    /// Goes on executing a paused guest. Success when it runs.
    async fn resume(&self, instance: InstanceId) -> Result<(), HypervisorError>;

    /// The running definition including secrets; the inactive one if the domain does not run.
    async fn document(&self, instance: InstanceId) -> Result<Option<String>, HypervisorError>;

    /// Counters of every running domain, read in one call.
    async fn stats(&self) -> Result<Vec<DomainStats>, HypervisorError>;
}

/// State of a domain as the hypervisor reports it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, strum::Display, strum::IntoStaticStr)]
#[strum(serialize_all = "kebab-case")]
pub enum DomainState {
    /// Active without further knowledge.
    NoState,
    /// Executing.
    Running,
    /// Waiting for a resource.
    Blocked,
    /// Stopped by a user, a tool or an I/O error.
    Paused,
    /// On its way down.
    ShuttingDown,
    /// Not running.
    ShutOff,
    /// The hypervisor process died.
    Crashed,
    /// Suspended by the guest.
    PmSuspended,
}

/// One domain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DomainSummary {
    /// The instance its name and uuid stand for.
    pub instance: InstanceId,
    /// State.
    pub state: DomainState,
    /// It is paused because of an I/O error.
    pub io_error: bool,
    /// A QEMU process exists.
    pub active: bool,
    /// Our metadata of the running domain, or of the definition if it does not run. `None`: not ours.
    pub identity: Option<DomainIdentity>,
    /// Definition hash of the inactive definition, if it carries our metadata.
    pub defined_spec: Option<String>,
}

/// Something that happened at the hypervisor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HypervisorEvent {
    /// A connection was made; everything may have changed while there was none.
    Connected,
    /// The connection was lost.
    Disconnected,
    /// Something happened to a domain named `sf:<uuid>`.
    Domain(DomainEvent),
}

/// Something that happened to a domain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DomainEvent {
    /// The domain.
    pub instance: InstanceId,
    /// What happened.
    pub kind: DomainEventKind,
    /// When the hypervisor's library reported it.
    pub at: std::time::Instant,
}

/// Kinds of domain events.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DomainEventKind {
    /// The definition was made or changed.
    Defined,
    /// The definition was removed.
    Undefined,
    /// QEMU runs.
    Started,
    /// Execution goes on.
    Resumed,
    /// Execution was stopped; true: by an I/O error.
    Suspended {
        /// Stopped by the error policy of a disk.
        io_error: bool,
    },
    /// QEMU is gone.
    Stopped(StopDetail),
    /// The guest sleeps.
    PmSuspended,
    /// The guest died but QEMU still runs.
    Crashed,
    /// The guest rebooted itself.
    Rebooted,
    /// A disk failed.
    IoError {
        /// Alias of the device.
        device: String,
        /// `enospc` or empty.
        reason: String,
    },
}

/// Why a domain stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, strum::Display)]
#[strum(serialize_all = "kebab-case")]
pub enum StopDetail {
    /// The guest switched itself off.
    Shutdown,
    /// Somebody destroyed it.
    Destroyed,
    /// QEMU died, or could not be started.
    Crashed,
    /// Saved to disk or moved away.
    Saved,
}

/// Counters of one running domain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DomainStats {
    /// The instance.
    pub instance: InstanceId,
    /// The hypervisor's own state number, for compatibility of the usage event.
    pub raw_state: i64,
    /// Processor time of the guest, nanoseconds.
    pub cpu_time_ns: u64,
    /// Of which in the host's user space.
    pub cpu_user_ns: u64,
    /// Of which in the host's kernel.
    pub cpu_system_ns: u64,
    /// Disks by device name.
    pub disks: Vec<DiskStats>,
    /// Network cards by tap name.
    pub interfaces: Vec<InterfaceStats>,
}

/// Counters of one disk.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DiskStats {
    /// Device name.
    pub device: String,
    /// Read requests.
    pub read_requests: u64,
    /// Bytes read.
    pub read_bytes: u64,
    /// Write requests.
    pub write_requests: u64,
    /// Bytes written.
    pub write_bytes: u64,
    /// Errors, where the hypervisor counts them.
    pub errors: u64,
}

/// Counters of one network card. `rx` is what the guest received.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct InterfaceStats {
    /// Tap device name.
    pub tap: String,
    /// Received bytes, packets, errors, drops.
    pub rx: [u64; 4],
    /// Sent bytes, packets, errors, drops.
    pub tx: [u64; 4],
}
