//! Taking turns with other hosts.

use std::time::Duration;

use async_trait::async_trait;
use sf_config::{NodeConfig, show};
use sf_model::DaemonName;
use sha2::{Digest, Sha256};

/// What the cluster says to a host that wants to restart a daemon.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Turn {
    /// It may.
    Granted,
    /// These hosts are at it.
    Busy(Vec<String>),
    /// The same roll failed on another host.
    Failed {
        /// Name of the host.
        node: String,
        /// What went wrong there.
        reason: String,
    },
    /// Nobody can be asked.
    Unreachable(String),
}

/// How hosts take turns.
#[async_trait]
pub trait Slots: Send + Sync {
    /// Takes a slot for `lease`, or extends the one taken before.
    async fn take(&self, daemon: DaemonName, target: &str, lease: Duration) -> Turn;
    /// Gives the slot back and says how it went.
    ///
    /// # Errors
    /// Nobody can be told, as a sentence.
    async fn end(&self, daemon: DaemonName, target: &str, failure: Option<&str>) -> Result<(), String>;
}

/// Characters of each part of a target.
const PART: usize = 24;

/// Keys in which hosts of one cluster differ by their nature.
const OF_THE_HOST: [&str; 17] = [
    "node_name",
    "node_uuid",
    "node_mesh_ip",
    "node_mesh_nic",
    "node_egress_ip",
    "node_egress_nic",
    "node_egress_nic_dedicated",
    "node_is_hypervisor",
    "node_fault_domain",
    "node_ram_reservation_gb",
    "node_cpu_reservation_threads",
    "node_disk_reservation_gb",
    "carrier_eligible",
    "carrier_weight",
    "api_listen",
    "metrics_bind",
    "console_listen_ip",
];

/// What a roll leads to, the same on every host that takes part: the build, and the configuration as far as it is
/// shared.
pub fn target(build_id: &str, node: &NodeConfig) -> String {
    let mut hash = Sha256::new();
    for key in show(node, true).iter().filter(|key| !OF_THE_HOST.contains(&key.spec.name)) {
        hash.update(format!("{}:{}:{}\n", key.spec.name, key.text.len(), key.text));
    }
    let config = hex::encode(hash.finalize());
    let part = |text: &str| text.chars().take(PART).collect::<String>();
    format!("{}-{}", part(build_id), part(&config))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_of_one_roll_share_the_target() {
        let node = |pairs: &[(&str, &str)]| {
            let base = [("mariadb_gateway_hosts", "a")];
            target("build", &NodeConfig::from_pairs(&[&base, pairs].concat()).unwrap())
        };
        let one = node(&[("node_mesh_ip", "10.0.0.1"), ("node_name", "a")]);
        assert_eq!(one, node(&[("node_mesh_ip", "10.0.0.2"), ("node_name", "b")]));
        assert_ne!(one, node(&[("node_mesh_ip", "10.0.0.1"), ("api_port", "13100")]));
        assert!(one.len() <= 64);
    }

    #[test]
    fn what_belongs_to_the_host_are_keys() {
        for name in OF_THE_HOST {
            assert!(NodeConfig::KEYS.iter().any(|key| key.name == name), "{name}");
        }
    }
}
