//! Everything a check may look at.

use std::io;
use std::net::Ipv4Addr;

use crate::input::Input;
use crate::system::System;

/// A host under examination.
pub struct Subject {
    /// What it is meant to be.
    pub input: Input,
    /// What it is.
    pub system: Box<dyn System>,
    /// What has to be tried out.
    pub probes: Box<dyn Probes>,
    /// What the cluster says.
    pub cluster: ClusterFacts,
}

/// What other parts of the product know, most of it by trying.
pub trait Probes: Send + Sync {
    /// Whether a network device has a name as the product's own have.
    fn is_ours(&self, device: &str) -> bool;
    /// How guests would run.
    fn virt(&self) -> VirtState;
    /// Chains of other programs that drop forwarded packets no rule decides about.
    ///
    /// # Errors
    /// They cannot be read, as a sentence.
    fn forward_drops(&self) -> Result<Vec<String>, String>;
    /// The version of the libvirt that answers.
    ///
    /// # Errors
    /// None does, as a sentence.
    fn libvirt(&self) -> Result<String, String>;
    /// Whether the kernel makes networks; what it lacks otherwise.
    ///
    /// # Errors
    /// Everything that is missing, as a sentence.
    fn kernel(&self) -> Result<(), String>;
    /// Whether another host answers packets of so many bytes that may not be divided.
    ///
    /// # Errors
    /// They cannot be sent at all.
    fn passes(&self, member: Ipv4Addr, bytes: u32) -> io::Result<bool>;
}

/// How guests would run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VirtState {
    /// `kvm` or `qemu`; `None`: not at all.
    pub virt_type: Option<String>,
    /// The first condition of KVM that is not met.
    pub failure: Option<String>,
    /// All that is missing is the emulator with which the last condition is tried.
    pub lacks_emulator: bool,
}

/// A gateway of the tier as this host reaches it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GatewayState {
    /// Host and port.
    pub endpoint: String,
    /// Why it cannot be connected to.
    pub error: Option<String>,
}

/// MariaDB as this host reaches it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DatabaseState {
    /// It can be used.
    Usable {
        /// Its version.
        version: String,
        /// What may hurt later.
        warnings: Vec<String>,
    },
    /// It cannot be used, as a sentence.
    Unusable(String),
}

/// What the cluster and its database say; absent where nobody could be asked.
#[derive(Debug, Clone, Default)]
pub struct ClusterFacts {
    /// Every configured gateway.
    pub gateways: Vec<GatewayState>,
    /// MariaDB, on hosts of the tier.
    pub database: Option<DatabaseState>,
    /// Clock of the database minus that of this host, seconds.
    pub clock_skew: Option<f64>,
    /// Release recorded by the cluster; `None` before bootstrap or when unknown.
    pub release: Option<String>,
    /// Why this build may not join a cluster of that release, or serve its schema.
    pub version_problem: Option<String>,
    /// Whether a gateway was asked who has this node's name. MariaDB alone is not asked.
    pub name_asked: bool,
    /// Identity of the live node that has this one's name.
    pub name_holder: Option<String>,
    /// Identity of this node, once it has one.
    pub own_uuid: Option<String>,
    /// Why it is not known whether this node has an identity: its file cannot be read or understood.
    pub identity_problem: Option<String>,
}
