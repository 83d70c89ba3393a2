//! Keys that differ from node to node.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use uuid::Uuid;

use crate::choices::{DiskCacheMode, HypervisorDriver, LogLevel, VirtType};
use crate::spec::Bound::{Any, AtLeast, Range};
use crate::spec::{Bound, FIXED, live_only, only};

const PORT: Bound = Range(1.0, 65535.0);

super::config_table! {
    /// What differs from node to node: identity, addresses, paths, ports, capacity of this machine.
    Node NodeConfig {
        // Identity and addresses.
        /// Name of this node, unique in the cluster.
        node_name: String = "{hostname}", Any, FIXED;
        /// Identity of this node; created once in `{storage_path}/node_uuid` when unset.
        node_uuid: Option<Uuid> = "", Any, FIXED;
        /// Address of this node on the mesh, the network between nodes.
        node_mesh_ip: IpAddr = "", Any, FIXED;
        /// Network device of the mesh; the one that holds the mesh address when unset.
        node_mesh_nic: Option<String> = "", Any, only(&["net"]);
        /// Address from which guests leave; that of the default route when unset.
        node_egress_ip: Option<IpAddr> = "", Any, FIXED;
        /// Network device through which guests leave; that of the default route when unset.
        node_egress_nic: Option<String> = "", Any, only(&["net"]);
        /// The egress device carries nothing of the host and may be enslaved to a bridge.
        node_egress_nic_dedicated: bool = "false", Any, only(&["net"]);
        /// Runs guests.
        node_is_hypervisor: bool = "false", Any, FIXED;
        /// May carry the routed side of networks.
        carrier_eligible: bool = "false", Any, FIXED;
        /// Share of networks this carrier takes, relative to the others.
        carrier_weight: u32 = "100", Range(1.0, 10000.0), FIXED;
        /// Label of what fails together with this node; replicas are spread over labels.
        node_fault_domain: String = "", Any, FIXED;

        // Paths.
        /// Root of everything kept on this node's disk.
        storage_path: PathBuf = "/srv/shakenfist", Any, FIXED;
        /// Directory of the event and log spools; must be a local file system.
        spool_path: PathBuf = "{storage_path}/spool", Any, FIXED;
        /// Directory of sockets and run-time files.
        run_path: PathBuf = "/run/sf", Any, FIXED;
        /// Directory of named network namespaces.
        netns_dir: PathBuf = "/run/netns", Any, only(&["net-privexec"]);
        /// Socket of sf-privexec.
        privexec_socket: PathBuf = "{run_path}/privexec.sock", Any, only(&["cleaner", "privexec", "queues", "transfers"]);
        /// Socket of sf-net-privexec.
        net_privexec_socket: PathBuf = "{run_path}/net-privexec.sock", Any, only(&["net", "net-privexec"]);
        /// Table of image short names.
        image_table: PathBuf = "/etc/sf/images.yaml", Any, only(&["api", "transfers"]);

        /// File with the key that encrypts secrets of the cluster in the database; the systemd credential `kek` comes first.
        kek_file: Option<PathBuf> = "", Any, only(&["api"]);

        // Reaching the database tier.
        /// Hosts of the database tier, each a name or address with an optional `:port`.
        mariadb_gateway_hosts: Vec<String> = "", Any, FIXED;
        /// Port of the database tier.
        mariadb_gateway_port: u16 = "13005", PORT, FIXED;

        // The REST API.
        /// Addresses the REST API listens on.
        api_listen: Vec<IpAddr> = "{node_mesh_ip},127.0.0.1", Any, only(&["api"]);
        /// Port of the REST API.
        api_port: u16 = "13000", PORT, only(&["api"]);
        /// Seconds the API keeps accepting after it was asked to stop.
        api_drain_grace: Duration = "25", Range(0.0, 600.0), only(&["api"]);
        /// Requests served at a time; more are answered 503.
        api_max_inflight: u32 = "512", Range(1.0, 65536.0), only(&["api"]);
        /// Uploads and downloads served at a time.
        api_max_streams: u32 = "64", Range(1.0, 65536.0), only(&["api"]);
        /// Seconds without a byte after which a stream is cut.
        api_stream_idle_timeout: Duration = "60", Range(1.0, 3600.0), only(&["api"]);
        /// Seconds an idle connection is kept open.
        api_keepalive_seconds: Duration = "75", Range(1.0, 3600.0), only(&["api"]);
        /// Password hashes computed at a time; 0 means one per processor, at most 8.
        api_auth_concurrency: u32 = "0", Range(0.0, 64.0), only(&["api"]);

        // Ports between nodes.
        /// Port of the node service of sf-queues.
        node_rpc_port: u16 = "13014", PORT, only(&["api", "queues"]);
        /// Port of the node service of sf-net, and of the mesh probe.
        net_rpc_port: u16 = "13015", PORT, only(&["api", "net"]);
        /// Port of the data plane of sf-transfers.
        transfers_port: u16 = "13020", PORT, only(&["api", "transfers"]);
        /// Transfers accepted at a time.
        transfers_max_inbound: u32 = "4", Range(1.0, 1024.0), only(&["transfers"]);
        /// Transfers served at a time.
        transfers_max_outbound: u32 = "16", Range(1.0, 4096.0), only(&["transfers"]);
        /// Bytes per second of background transfers; 0 means no limit.
        transfers_background_rate: u64 = "0", Any, only(&["transfers"]);
        /// Bytes per second of reads for other nodes; 0 means no limit.
        transfers_proxy_rate: u64 = "0", Any, only(&["transfers"]);

        // Metrics.
        /// Address of the Prometheus endpoints.
        metrics_bind: IpAddr = "{node_mesh_ip}", Any, FIXED;
        /// Prometheus port of sf-resources.
        resources_metrics_port: u16 = "13001", PORT, only(&["resources"]);
        /// Prometheus port of sf-cluster.
        cluster_metrics_port: u16 = "13004", PORT, only(&["cluster"]);
        /// Prometheus port of sf-database.
        mariadb_gateway_metrics_port: u16 = "13006", PORT, only(&["database"]);
        /// Prometheus port of sf-api.
        api_metrics_port: u16 = "13007", PORT, only(&["api"]);
        /// Prometheus port of sf-queues.
        queues_metrics_port: u16 = "13008", PORT, only(&["queues"]);
        /// Prometheus port of sf-net.
        net_metrics_port: u16 = "13009", PORT, only(&["net"]);
        /// Prometheus port of sf-cleaner.
        cleaner_metrics_port: u16 = "13010", PORT, only(&["cleaner"]);
        /// Prometheus port of sf-transfers.
        transfers_metrics_port: u16 = "13011", PORT, only(&["transfers"]);
        /// Prometheus port of sf-sidechannel.
        sidechannel_metrics_port: u16 = "13012", PORT, only(&["sidechannel"]);

        // Capacity and health of this machine.
        /// Memory kept for the host, GiB.
        node_ram_reservation_gb: f64 = "2.0", AtLeast(0.0), only(&["resources"]);
        /// Processor threads kept for the host.
        node_cpu_reservation_threads: u32 = "2", Any, only(&["resources"]);
        /// Disk kept free, GiB.
        node_disk_reservation_gb: f64 = "20.0", AtLeast(0.0), only(&["resources", "transfers"]);
        /// Seconds between checks of the storage paths.
        node_health_check_interval: Duration = "60", AtLeast(5.0), only(&["resources"]);
        /// Seconds between writes of the storage health when nothing changed.
        node_health_write_interval: Duration = "300", AtLeast(5.0), only(&["resources"]);
        /// Seconds after which a hanging storage path counts as broken.
        node_health_probe_timeout: Duration = "30", AtLeast(5.0), only(&["resources"]);

        // Hypervisor.
        /// Which hypervisor implementation runs.
        hypervisor_driver: HypervisorDriver = "libvirt", Any, only(&["cleaner", "queues"]);
        /// What QEMU uses to run guests.
        hypervisor_virt_type: VirtType = "auto", Any, only(&["queues"]);
        /// Run guests by emulation where KVM does not work.
        allow_emulation: bool = "false", Any, only(&["queues"]);
        /// Connection to libvirt.
        libvirt_uri: String = "qemu:///system", Any, only(&["cleaner", "queues", "resources"]);
        /// Threads that make libvirt calls.
        libvirt_threads: u32 = "8", Range(1.0, 64.0), only(&["queues"]);
        /// Directory of QEMU's own logs.
        libvirt_log_path: PathBuf = "/var/log/libvirt/qemu", Any, only(&["privexec"]);
        /// User that QEMU runs as.
        libvirt_user: String = "libvirt-qemu", Any, FIXED;
        /// Group that QEMU runs as.
        libvirt_group: String = "libvirt-qemu", Any, FIXED;
        /// Cache mode of disks.
        disk_cache_mode: DiskCacheMode = "auto", Any, only(&["queues"]);
        /// Address that consoles listen on; the egress address, else the mesh address, when unset.
        console_listen_ip: Option<IpAddr> = "", Any, only(&["queues"]);
        /// Host name or address that users are told for consoles; the listening address when unset.
        console_advertised_host: Option<String> = "", Any, only(&["queues"]);
        /// Bytes of console output kept per instance.
        console_log_max_bytes: u64 = "10485760", Range(65536.0, 1_099_511_627_776.0), only(&["cleaner", "queues"]);
        /// Instance operations worked on at a time.
        instance_workers: u32 = "8", Range(1.0, 256.0), only(&["queues"]);
        /// Guests started at a time.
        instance_start_concurrency: u32 = "4", Range(1.0, 256.0), only(&["queues"]);
        /// Guests restored at a time after a restart of the host.
        restore_concurrency: u32 = "4", Range(1.0, 256.0), only(&["queues"]);
        /// Network operations worked on at a time.
        network_operation_workers: u32 = "4", Range(1.0, 64.0), only(&["net"]);
        /// Bytes the image cache may take; 0 means no limit.
        image_cache_max_bytes: u64 = "0", Any, only(&["transfers"]);

        // Events, logs, traces.
        /// Events a spool holds before it drops new ones.
        event_spool_high_water_mark: u64 = "100000", Range(100.0, 100_000_000.0), FIXED;
        /// Bytes of events a spool holds before it drops new ones.
        event_spool_max_bytes: u64 = "67108864", Range(65536.0, 1_099_511_627_776.0), FIXED;
        /// Milliseconds after which recorded events are synced to disk at the latest.
        event_spool_sync_ms: u64 = "200", Range(1.0, 60000.0), FIXED;
        /// HTTP proxy for fetching images.
        http_proxy_server: Option<String> = "", Any, only(&["transfers"]);
        /// Least severe line sf-api writes.
        loglevel_api: LogLevel = "info", Any, live_only(&["api"]);
        /// Least severe line sf-cleaner writes.
        loglevel_cleaner: LogLevel = "info", Any, live_only(&["cleaner"]);
        /// Least severe line sf-cluster writes.
        loglevel_cluster: LogLevel = "info", Any, live_only(&["cluster"]);
        /// Least severe line sf-database writes.
        loglevel_database: LogLevel = "info", Any, live_only(&["database"]);
        /// Least severe line sf-net writes.
        loglevel_net: LogLevel = "info", Any, live_only(&["net"]);
        /// Least severe line sf-net-privexec writes.
        loglevel_net_privexec: LogLevel = "info", Any, live_only(&["net-privexec"]);
        /// Least severe line sf-privexec writes.
        loglevel_privexec: LogLevel = "info", Any, live_only(&["privexec"]);
        /// Least severe line sf-queues writes.
        loglevel_queues: LogLevel = "info", Any, live_only(&["queues"]);
        /// Least severe line sf-resources writes.
        loglevel_resources: LogLevel = "info", Any, live_only(&["resources"]);
        /// Least severe line sf-transfers writes.
        loglevel_transfers: LogLevel = "info", Any, live_only(&["transfers"]);
    }
}
