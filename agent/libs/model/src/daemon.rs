//! The daemons a node can run.

use strum::{Display, EnumIter, EnumString, IntoStaticStr};

/// Name of a daemon. The text form is the one used in units (`sf-<name>.service`), on the command line, in logs and
/// in events (`sf-<name>`).
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Display, EnumString, EnumIter, IntoStaticStr,
)]
#[strum(serialize_all = "kebab-case")]
pub enum DaemonName {
    /// REST interface.
    Api,
    /// Local disk upkeep and removal of strays.
    Cleaner,
    /// Election candidate; the leader runs cluster-wide maintenance.
    Cluster,
    /// Gateway to MariaDB.
    Database,
    /// Network state.
    Net,
    /// The only holder of `CAP_NET_ADMIN`.
    NetPrivexec,
    /// Root file and process operations, image tools.
    Privexec,
    /// Operations of the node.
    Queues,
    /// Check-in, capacity and storage health.
    Resources,
    /// Blob store of the node.
    Transfers,
}

impl DaemonName {
    /// The program name: `sf-` and the daemon's name.
    pub fn program(self) -> String {
        format!("sf-{self}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use strum::IntoEnumIterator;

    #[test]
    fn names_round_trip() {
        for daemon in DaemonName::iter() {
            assert_eq!(daemon.to_string().parse::<DaemonName>().ok(), Some(daemon));
        }
        assert_eq!(DaemonName::NetPrivexec.program(), "sf-net-privexec");
    }
}
