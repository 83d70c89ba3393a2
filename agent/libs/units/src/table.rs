//! The table of daemons.

use sf_model::DaemonName::{
    Api, Cleaner, Cluster, Database, Net, NetPrivexec, Privexec, Queues, Resources, Transfers,
};

use crate::daemon::Role::{self, Api as Rest, Database as Tier, Hypervisor, Network};
use crate::daemon::{Proc, Sandbox, StopTimeout, Unit};
use sf_model::DaemonName;

const INET: &[&str] = &["AF_INET", "AF_INET6", "AF_UNIX"];
const INET_NETLINK: &[&str] = &["AF_INET", "AF_INET6", "AF_UNIX", "AF_NETLINK"];
const EVERY_ROLE: &[Role] = &[Tier, Rest, Hypervisor, Network];
const LOG_STORE: &[&str] = &["loki_auth_header"];

/// What most daemons have in common: unprivileged, strictly confined, a client of the database tier.
const ORDINARY: Unit = Unit {
    name: Cluster,
    purpose: "",
    roles: EVERY_ROLE,
    requires: &[],
    after: &[Database],
    user: "shakenfist",
    group: "shakenfist",
    supplementary_groups: &["sf"],
    hypervisor_groups: &[],
    capabilities: &[],
    notify: true,
    watchdog: true,
    stop_timeout: StopTimeout::fixed(30),
    ports: &[],
    reads_database: false,
    credentials: LOG_STORE,
    sandbox: Sandbox::Full,
    private_network: false,
    devices: &[],
    address_families: INET,
    proc: Proc::OWN,
    writable: &[],
    inaccessible: &[],
};

/// What the two root daemons have in common: no port, no credential, logs to the journal only.
const PRIVILEGED: Unit = Unit {
    after: &[],
    user: "root",
    supplementary_groups: &[],
    credentials: &[],
    proc: Proc::ALL,
    ..ORDINARY
};

/// Every daemon of this build, in the order in which a host starts them.
pub const UNITS: &[Unit] = &[
    Unit {
        name: Privexec,
        purpose: "file and process operations that need root",
        roles: &[Rest, Hypervisor, Network],
        group: "sf-priv",
        capabilities: &["CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "SETUID", "SETGID", "KILL"],
        stop_timeout: StopTimeout::fixed(60),
        sandbox: Sandbox::Root,
        private_network: true,
        address_families: &["AF_UNIX"],
        ..PRIVILEGED
    },
    Unit {
        name: NetPrivexec,
        purpose: "network changes that need root",
        roles: &[Hypervisor, Network],
        group: "sf-netpriv",
        capabilities: &[
            "NET_ADMIN",
            "NET_RAW",
            "SYS_ADMIN",
            "NET_BIND_SERVICE",
            "DAC_OVERRIDE",
            "SETUID",
            "SETGID",
            "KILL",
        ],
        sandbox: Sandbox::Host,
        address_families: &["AF_UNIX", "AF_NETLINK", "AF_INET", "AF_PACKET"],
        ..PRIVILEGED
    },
    Unit {
        name: Database,
        purpose: "gateway to MariaDB",
        roles: &[Tier],
        after: &[],
        user: "sf-db",
        group: "sf-db",
        stop_timeout: StopTimeout::after_drain("database_drain_grace", 10, 20),
        ports: &["mariadb_gateway_port", "mariadb_gateway_metrics_port"],
        reads_database: true,
        credentials: &["mariadb_password", "loki_auth_header"],
        writable: &["{spool_path}/database"],
        inaccessible: &[
            "{storage_path}/blobs",
            "{storage_path}/uploads",
            "{storage_path}/image_cache",
            "{storage_path}/instances",
            "{storage_path}/quarantine",
        ],
        ..ORDINARY
    },
    Unit {
        name: Transfers,
        purpose: "blobs, images and uploads of this node",
        roles: &[Rest, Hypervisor],
        requires: &[Privexec],
        after: &[Database, Privexec],
        user: "sf-transfers",
        // The primary group, so that what it writes and the socket it serves belong to the readers of the store.
        group: "sf-store",
        supplementary_groups: &["sf", "sf-priv"],
        ports: &["transfers_port", "transfers_metrics_port"],
        // The whole store as one path: every writable path becomes a mount of its own, and files are renamed and
        // linked between the directories of the store. File rights narrow it to what is its own.
        writable: &["{storage_path}", "{spool_path}/transfers", "{run_path}/transfers"],
        inaccessible: &["{storage_path}/instances"],
        ..ORDINARY
    },
    Unit {
        name: Net,
        purpose: "networks of this node, DHCP and DNS",
        roles: &[Hypervisor, Network],
        requires: &[NetPrivexec],
        after: &[Database, NetPrivexec],
        user: "sf-net",
        group: "sf-net",
        supplementary_groups: &["sf", "sf-netpriv"],
        ports: &["net_rpc_port", "net_metrics_port"],
        address_families: INET_NETLINK,
        writable: &["{spool_path}/net"],
        ..ORDINARY
    },
    Unit {
        name: Queues,
        purpose: "instances of this node",
        roles: &[Hypervisor, Network],
        requires: &[Privexec],
        after: &[Database, Privexec],
        supplementary_groups: &["sf", "sf-priv", "sf-store"],
        hypervisor_groups: &["libvirt", "kvm"],
        stop_timeout: StopTimeout::fixed(60),
        ports: &["node_rpc_port", "queues_metrics_port"],
        writable: &["{spool_path}/queues", "{run_path}/queues", "{run_path}/instances", "{run_path}/locks"],
        ..ORDINARY
    },
    Unit {
        name: Api,
        purpose: "REST interface",
        roles: &[Rest],
        requires: &[Transfers],
        user: "sf-api",
        group: "sf-api",
        supplementary_groups: &["sf", "sf-store"],
        stop_timeout: StopTimeout::after_drain("api_drain_grace", 25, 45),
        ports: &["api_port", "api_metrics_port"],
        credentials: &["kek", "loki_auth_header"],
        writable: &["{spool_path}/api"],
        inaccessible: &["/run/libvirt", "{storage_path}/instances", "{storage_path}/image_cache"],
        ..ORDINARY
    },
    Unit {
        name: Resources,
        purpose: "check-in, capacity and storage health",
        supplementary_groups: &["sf", "sf-store"],
        stop_timeout: StopTimeout::fixed(15),
        ports: &["resources_metrics_port"],
        address_families: INET_NETLINK,
        proc: Proc::ALL,
        // File rights narrow it to its own heartbeat files.
        writable: &[
            "{storage_path}/blobs",
            "{storage_path}/uploads",
            "{storage_path}/image_cache",
            "{storage_path}/instances",
            "{spool_path}/resources",
        ],
        ..ORDINARY
    },
    Unit {
        name: Cleaner,
        purpose: "removal of what was left behind",
        roles: &[Rest, Hypervisor],
        requires: &[Privexec],
        after: &[Database, Privexec],
        supplementary_groups: &["sf", "sf-priv", "sf-store"],
        hypervisor_groups: &["libvirt"],
        ports: &["cleaner_metrics_port"],
        writable: &["{spool_path}/cleaner", "{run_path}/instances"],
        ..ORDINARY
    },
    Unit {
        name: Cluster,
        purpose: "election and cluster-wide maintenance",
        ports: &["cluster_metrics_port"],
        writable: &["{spool_path}/cluster"],
        inaccessible: &["/run/libvirt"],
        ..ORDINARY
    },
];

/// The declaration of a daemon; every daemon of this build has one.
pub fn unit(name: DaemonName) -> Option<&'static Unit> {
    UNITS.iter().find(|unit| unit.name == name)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use strum::IntoEnumIterator;

    use super::*;
    use crate::accounts::{ACCOUNTS, GROUPS};

    #[test]
    fn every_daemon_is_declared_once_and_known_to_its_host() {
        let names: Vec<DaemonName> = UNITS.iter().map(|unit| unit.name).collect();
        let distinct: BTreeSet<DaemonName> = names.iter().copied().collect();
        assert_eq!((names.len(), distinct.len()), (DaemonName::iter().count(), DaemonName::iter().count()));
        for unit in UNITS {
            let known =
                |group: &str| GROUPS.contains(&group) || ACCOUNTS.iter().any(|account| account.user == group);
            for group in unit.supplementary_groups.iter().chain([&unit.group]) {
                assert!(known(group), "{}: group {group}", unit.name);
            }
            assert!(unit.user == "root" || ACCOUNTS.iter().any(|account| account.user == unit.user));
            assert_eq!(unit.port_list().len(), unit.ports.len(), "{}: a port without key", unit.name);
            assert!(!unit.purpose.is_empty(), "{}", unit.name);
        }
    }

    #[test]
    fn root_daemons_take_no_port_and_no_credential() {
        for unit in UNITS.iter().filter(|unit| unit.user == "root") {
            assert!(unit.ports.is_empty() && unit.credentials.is_empty() && !unit.reads_database);
        }
        let holders: Vec<DaemonName> =
            UNITS.iter().filter(|unit| unit.capabilities.contains(&"NET_ADMIN")).map(|u| u.name).collect();
        assert_eq!(holders, [NetPrivexec]);
    }

    #[test]
    fn no_two_daemons_listen_on_one_port() {
        let mut ports: Vec<u16> =
            UNITS.iter().flat_map(|unit| unit.port_list()).map(|port| port.port).collect();
        let all = ports.len();
        ports.sort_unstable();
        ports.dedup();
        assert_eq!(ports.len(), all);
        assert!(ports.iter().all(|port| (1024..30000).contains(port)));
    }
}
