//! What can go wrong between an intent and the kernel.

use std::io;

/// Which kernel interface refused a message. Decides the prefix of the error code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// Links, addresses, routes, neighbours.
    Route,
    /// Tables, chains, rules, sets.
    Nftables,
    /// Tracked connections.
    Conntrack,
}

/// A message the kernel refused.
#[derive(Debug, Clone, thiserror::Error)]
#[error("the kernel refused {object}: {} {extack}", errno_name(*.errno))]
pub struct KernelError {
    /// Interface that refused.
    pub family: Family,
    /// Positive error number.
    pub errno: i32,
    /// The kernel's own explanation; empty when it gave none.
    pub extack: String,
    /// What was being changed, named for people.
    pub object: String,
}

impl KernelError {
    /// Whether the kernel answered with `errno`.
    pub fn is(&self, errno: nix::errno::Errno) -> bool {
        self.errno == errno as i32
    }
}

/// Errors of planning and applying network state.
#[derive(Debug, thiserror::Error)]
pub enum NetError {
    /// The intent breaks a rule; nothing was applied.
    #[error("invalid intent: {0}")]
    InvalidIntent(String),
    /// A link of our name that is not ours. Rename or remove it by hand.
    #[error("link {name} exists and is not ours; rename or remove it, nothing foreign is ever touched")]
    NameConflict {
        /// Name of the foreign link.
        name: String,
    },
    /// The underlay cannot carry the network's frames.
    #[error("mesh interface {nic} has MTU {mtu}, {needed} is needed: raise it or lower max_hypervisor_mtu")]
    UnderlayMtuTooSmall {
        /// The mesh interface.
        nic: String,
        /// Its MTU.
        mtu: u32,
        /// MTU the cluster requires.
        needed: u32,
    },
    /// Another state was applied already, by a newer epoch or generation.
    #[error("{what} {offered} is older than {applied}, which is applied already")]
    Stale {
        /// `epoch` or `generation`.
        what: &'static str,
        /// Number of the refused intent.
        offered: u64,
        /// Number that stands.
        applied: u64,
    },
    /// Guests are attached to a network that should go.
    #[error("guests are attached to the network's bridge: {0}")]
    GuestsAttached(String),
    /// No host intent was rendered since the worker started.
    #[error("the host was not rendered yet; render the host intent first")]
    HostNotRendered,
    /// The kernel does not show what was just applied.
    #[error("the kernel does not show what was applied: {0}")]
    Unverified(String),
    /// The kernel refused a message.
    #[error(transparent)]
    Kernel(#[from] KernelError),
    /// A socket or file failed.
    #[error("{object}: {source}")]
    Io {
        /// What was being used.
        object: String,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
    /// The kernel answered with something unreadable.
    #[error("unreadable kernel answer about {object}: {detail}")]
    Decode {
        /// What was asked for.
        object: String,
        /// What could not be read.
        detail: String,
    },
}

impl NetError {
    /// Wraps an I/O error with the thing concerned.
    pub fn io(object: impl Into<String>, source: impl Into<io::Error>) -> Self {
        Self::Io { object: object.into(), source: source.into() }
    }

    /// The stable code of the network error list.
    pub fn code(&self) -> String {
        match self {
            Self::InvalidIntent(_) => "network.invalid_intent".into(),
            Self::NameConflict { .. } => "network.name_conflict".into(),
            Self::UnderlayMtuTooSmall { .. } => "network.underlay_mtu_too_small".into(),
            Self::GuestsAttached(_) => "network.in_use".into(),
            Self::Stale { .. } | Self::HostNotRendered | Self::Unverified(_) => {
                "network.render_failed".into()
            }
            Self::Kernel(error) => {
                let prefix = if error.family == Family::Nftables { "nft" } else { "netlink" };
                format!("{prefix}.{}", errno_name(error.errno))
            }
            Self::Io { .. } | Self::Decode { .. } => "internal.unknown".into(),
        }
    }

    /// Kernel error number, 0 when the kernel was not the one to refuse.
    pub fn errno(&self) -> i32 {
        match self {
            Self::Kernel(error) => error.errno,
            Self::Io { source, .. } => source.raw_os_error().unwrap_or(0),
            _ => 0,
        }
    }
}

/// Symbolic name of a kernel error number, for example `EEXIST`.
pub fn errno_name(errno: i32) -> String {
    format!("{:?}", nix::errno::Errno::from_raw(errno))
}
