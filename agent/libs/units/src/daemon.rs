//! What is declared of one daemon.

use serde::Serialize;
use sf_config::{DatabaseConfig, NodeConfig};
use sf_model::DaemonName;
use strum::{Display, EnumIter, EnumString};

/// What a host is for. A role is a consequence of the inventory; it decides which daemons the host runs.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Display, EnumString, EnumIter, Serialize,
)]
#[strum(serialize_all = "kebab-case")]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// A gateway to MariaDB.
    Database,
    /// Serves REST.
    Api,
    /// Runs guests.
    Hypervisor,
    /// May carry the routed side of networks.
    Network,
}

/// How a unit is confined. The directives of each class stand in `docs/reference/role-contract.md`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Sandbox {
    /// Strict file system, no capability, no device.
    Full,
    /// Root that writes instance files: a bounding set, no view of kernel internals.
    Root,
    /// The mount namespace of the host, because namespace handles under `/run/netns` must be visible to it. Confined by
    /// its bounding set, address families and a filter of system calls alone.
    Host,
}

/// What of `/proc` a unit sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Proc {
    /// `ProtectProc=`.
    pub protect: &'static str,
    /// `ProcSubset=`.
    pub subset: &'static str,
}

impl Proc {
    /// Its own processes only.
    pub const OWN: Self = Self { protect: "invisible", subset: "pid" };
    /// Everything: the daemon measures the host or its processes.
    pub const ALL: Self = Self { protect: "default", subset: "all" };
}

/// Time the service manager allows a daemon to end: fixed seconds, and the value of a configuration key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct StopTimeout {
    /// Key that holds the seconds in which the daemon keeps serving.
    pub drain_key: Option<&'static str>,
    /// Default of that key.
    pub drain_default: u32,
    /// Seconds beside it.
    pub seconds: u32,
}

impl StopTimeout {
    pub(crate) const fn fixed(seconds: u32) -> Self {
        Self { drain_key: None, drain_default: 0, seconds }
    }

    pub(crate) const fn after_drain(key: &'static str, default: u32, seconds: u32) -> Self {
        Self { drain_key: Some(key), drain_default: default, seconds }
    }
}

/// A port that a daemon listens on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Port {
    /// Configuration key.
    pub key: &'static str,
    /// Default.
    pub port: u16,
    /// `tcp` or `tcp+udp`.
    pub protocol: &'static str,
    /// What it is for.
    pub purpose: &'static str,
}

/// One daemon as its host sees it.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Unit {
    /// Which daemon.
    #[serde(serialize_with = "as_text")]
    pub name: DaemonName,
    /// What it is for.
    pub purpose: &'static str,
    /// Roles that run it by default.
    pub roles: &'static [Role],
    /// Daemons that must be on the same host.
    #[serde(serialize_with = "as_texts")]
    pub requires: &'static [DaemonName],
    /// Daemons it is started after, where the host has them.
    #[serde(serialize_with = "as_texts")]
    pub after: &'static [DaemonName],
    /// User of the process.
    pub user: &'static str,
    /// Primary group of the process.
    pub group: &'static str,
    /// Further groups of the process.
    pub supplementary_groups: &'static [&'static str],
    /// Further groups that exist only where libvirt is.
    pub hypervisor_groups: &'static [&'static str],
    /// Bounding set, without `CAP_`.
    pub capabilities: &'static [&'static str],
    /// Reports readiness.
    pub notify: bool,
    /// Proves progress to the watchdog.
    pub watchdog: bool,
    /// Time to end.
    pub stop_timeout: StopTimeout,
    /// Configuration keys of the ports it listens on.
    #[serde(serialize_with = "as_ports")]
    pub ports: &'static [&'static str],
    /// Is given the credentials of MariaDB.
    pub reads_database: bool,
    /// Credentials it is given, where the host has them.
    pub credentials: &'static [&'static str],
    /// How it is confined.
    pub sandbox: Sandbox,
    /// Has no network.
    pub private_network: bool,
    /// Devices it opens.
    pub devices: &'static [&'static str],
    /// Address families it may use.
    pub address_families: &'static [&'static str],
    /// What of `/proc` it sees.
    pub proc: Proc,
    /// Paths it writes, with `{storage_path}`, `{spool_path}` and `{run_path}`.
    pub writable: &'static [&'static str],
    /// Paths it must not see, with the same placeholders.
    pub inaccessible: &'static [&'static str],
}

impl Unit {
    /// Name of its systemd unit.
    pub fn unit_name(&self) -> String {
        format!("{}.service", self.name.program())
    }

    /// The ports it listens on, as the tables of keys declare them.
    pub fn port_list(&self) -> Vec<Port> {
        self.ports.iter().filter_map(|key| port(key)).collect()
    }

    /// Whether a host with these roles runs it by default.
    pub fn runs_on(&self, roles: &[Role]) -> bool {
        self.roles.iter().any(|role| roles.contains(role))
    }
}

fn port(key: &str) -> Option<Port> {
    let spec = NodeConfig::KEYS.iter().chain(DatabaseConfig::KEYS).find(|spec| spec.name == key)?;
    // The mesh probe answers on the port of the node service of sf-net.
    let protocol = if key == "net_rpc_port" { "tcp+udp" } else { "tcp" };
    Some(Port { key: spec.name, port: spec.default.parse().ok()?, protocol, purpose: spec.help.trim() })
}

fn as_text<S: serde::Serializer>(name: &DaemonName, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(name)
}

fn as_texts<S: serde::Serializer>(names: &[DaemonName], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(names.iter().map(ToString::to_string))
}

fn as_ports<S: serde::Serializer>(keys: &[&'static str], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(keys.iter().filter_map(|key| port(key)))
}
