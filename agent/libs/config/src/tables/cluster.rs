//! Keys that are the same on every node. All take effect without a restart unless marked otherwise.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use ipnet::{IpNet, Ipv4Net};
use sf_model::Secret;
use uuid::Uuid;

use crate::choices::{AdvertiseMode, ClaimEnforcement, DiskBus, EgressMode, MeshTls, PortSecurity};
use crate::spec::Bound::{Any, AtLeast, Range};
use crate::spec::{FIXED, LIVE, secret_for};
use crate::value::{PortRange, Retention};

super::config_table! {
    /// What is the same on every node. Read from the database through the gateway, refreshed every 20 seconds.
    Cluster ClusterConfig {
        /// Identity of the cluster, made by bootstrap.
        cluster_id: Option<Uuid> = "", Any, FIXED;
        /// Seed from which token keys are derived, made by bootstrap. Given to its readers only.
        auth_secret_seed: Option<Arc<Secret<String>>> = "", Any, secret_for(&["api"]);
        /// Secret that the tokens for bytes between nodes follow from, made by bootstrap. Given to its readers only.
        transfer_secret: Option<Arc<Secret<String>>> = "", Any, secret_for(&["api", "transfers"]);
        /// Whether connections between nodes are encrypted.
        tls_mode: MeshTls = "off", Any, FIXED;

        // REST API.
        /// Minutes an access token is valid.
        api_token_duration: u64 = "15", Range(1.0, 60.0), LIVE;
        /// Seconds a request waits for work that may end soon.
        api_async_wait: Duration = "15", Range(0.0, 60.0), LIVE;
        /// Seconds in which a request starts to be answered.
        api_timeout: Duration = "30", Range(5.0, 300.0), LIVE;
        /// Host that clients reach the API at.
        api_advertised_host: String = "localhost", Any, LIVE;
        /// Path that clients reach the API under.
        api_advertised_base_path: String = "/", Any, FIXED;
        /// Schemes that clients may use.
        api_advertised_http_schemes: Vec<String> = "http", Any, LIVE;
        /// Networks of proxies whose forwarding headers are believed.
        api_trusted_proxies: Vec<IpNet> = "", Any, LIVE;
        /// Bytes of a JSON request body.
        api_max_json_bytes: u64 = "4194304", Range(1024.0, 67_108_864.0), LIVE;
        /// Bytes of one upload append.
        api_max_upload_chunk_bytes: u64 = "67108864", Range(4096.0, 1_073_741_824.0), LIVE;
        /// Requests per second of one key; 0 means no limit.
        api_rate_per_key: u32 = "200", Any, LIVE;
        /// Answer old clients the way they expect.
        api_legacy_clients: bool = "true", Any, LIVE;
        /// Characters of a key supplied by a user, at least.
        auth_min_key_length: u32 = "8", Range(1.0, 256.0), LIVE;
        /// Seconds an expired namespace key is kept before it is removed.
        namespace_key_reap_grace: Duration = "3600", Any, LIVE;
        /// Put stack traces into 500 answers.
        include_tracebacks: bool = "false", Any, LIVE;
        /// Seconds an immutable object may be cached.
        object_cache_ttl_immutable: Duration = "300", Range(0.0, 3600.0), LIVE;
        /// Seconds a mutable object may be cached.
        object_cache_ttl_mutable: Duration = "30", Range(0.0, 3600.0), LIVE;

        // Capacity and placement.
        /// Virtual processors promised per real thread.
        cpu_overcommit_ratio: f64 = "3.0", Range(0.1, 64.0), LIVE;
        /// Memory promised per real byte.
        ram_overcommit_ratio: f64 = "1.0", Range(0.1, 8.0), LIVE;
        /// Disk promised per real byte.
        scheduler_disk_overcommit: f64 = "5.0", Range(0.1, 100.0), LIVE;
        /// GiB assumed for a disk without size.
        scheduler_unsized_disk_gb: u64 = "10", Range(0.0, 10000.0), LIVE;
        /// Seconds a candidate list may be reused.
        scheduler_cache_timeout: Duration = "1", Range(0.0, 60.0), LIVE;
        /// Load per thread above which a node is avoided.
        scheduler_target_load: f64 = "0.75", Range(0.1, 10.0), LIVE;
        /// Load assumed per new virtual processor.
        scheduler_demand_per_vcpu: f64 = "0.6", Range(0.0, 10.0), LIVE;
        /// Seconds in which the load assumed of a new guest halves.
        scheduler_demand_half_life_seconds: Duration = "180", Range(10.0, 3600.0), LIVE;
        /// Weight of having the image already.
        scheduler_locality_weight: f64 = "1.0", Range(0.0, 10.0), LIVE;
        /// Seconds a reservation without an instance lives.
        reservation_lease_seconds: Duration = "120", Range(15.0, 3600.0), LIVE;
        /// Seconds the reservations of a batch live.
        batch_lease_seconds: Duration = "900", Range(15.0, 3600.0), LIVE;
        /// Nodes tried for one instance.
        placement_max_attempts: u32 = "3", Range(1.0, 10.0), LIVE;
        /// Users may name a node.
        allow_requested_placement: bool = "true", Any, LIVE;
        /// Whether capacity claims bind.
        claim_enforcement: ClaimEnforcement = "hard", Any, LIVE;
        /// Namespaces whose placement decisions are traced.
        scheduler_trace_namespaces: Vec<String> = "", Any, LIVE;

        // Nodes.
        /// Seconds without a check-in after which a node is missing.
        node_checkin_maximum: Duration = "120", AtLeast(30.0), LIVE;
        /// Seconds a node is missing before it is an error; 0 means never.
        node_missing_error_seconds: Duration = "86400", Any, LIVE;
        /// Seconds between metrics of a node.
        node_metrics_interval: Duration = "30", Range(5.0, 600.0), LIVE;
        /// Seconds after which the metrics of a node are not used.
        node_metrics_max_age: Duration = "90", Range(10.0, 3600.0), LIVE;
        /// Seconds between passes of the cleaner, and before deleted objects are removed.
        cleaner_delay: Duration = "3600", AtLeast(1.0), LIVE;

        // Operations.
        /// Seconds a worker keeps work without renewing.
        cluster_op_claim_lease: Duration = "120", Range(15.0, 3600.0), LIVE;
        /// Seconds after which an operation counts as stuck.
        cluster_op_stuck_threshold: Duration = "1800", AtLeast(60.0), LIVE;
        /// Deliveries of an operation before it is an error.
        cluster_op_max_attempts: u32 = "5", Range(1.0, 100.0), LIVE;
        /// Seconds that ended operations are kept.
        cluster_operation_target_retention: Duration = "604800", AtLeast(3600.0), LIVE;

        // Networks.
        /// Block of floating addresses.
        floating_network: Ipv4Net = "192.168.20.0/24", Any, FIXED;
        /// Next hop of namespaces; the first usable floating address when unset.
        floating_router: Option<Ipv4Addr> = "", Any, FIXED;
        /// Floating addresses or networks that are never given out.
        floating_exclude: Vec<String> = "", Any, FIXED;
        /// How traffic of guests leaves.
        egress_mode: EgressMode = "nat", Any, FIXED;
        /// How carriers announce floating addresses.
        advertise_mode: AdvertiseMode = "auto", Any, FIXED;
        /// Kernel routing table for announced addresses.
        advertise_table: u32 = "5300", AtLeast(1.0), FIXED;
        /// Kernel route protocol for announced addresses.
        advertise_proto: u8 = "99", AtLeast(1.0), FIXED;
        /// Networks that guests must not reach through egress.
        protected_cidrs: Vec<Ipv4Net> = "", Any, LIVE;
        /// Name servers given to guests and asked for them.
        dns_server: Vec<IpAddr> = "8.8.8.8", Any, LIVE;
        /// DNS suffix; unique per cluster.
        zone: String = "shakenfist", Any, FIXED;
        /// MTU of the network under the mesh.
        max_hypervisor_mtu: u32 = "1500", Range(1280.0, 9216.0), FIXED;
        /// UDP port of VXLAN.
        vxlan_udp_port: u16 = "4789", AtLeast(1.0), FIXED;
        /// First three bytes of generated MAC addresses.
        mac_prefix: String = "02:00:00", Any, FIXED;
        /// Port security of new interfaces.
        port_security_default: PortSecurity = "strict", Any, LIVE;
        /// Seconds before a freed address is given out again.
        ip_deletion_halo_duration: Duration = "300", Any, LIVE;
        /// Ports at a network's egress address kept for services of its guests. Consoles have their own.
        service_port_range: PortRange = "30000-60000", Any, FIXED;
        /// Seconds a carrier session lives.
        carrier_session_ttl: Duration = "15", Range(3.0, 600.0), FIXED;
        /// Seconds between renewals of a carrier session.
        carrier_session_renew: Duration = "5", Range(1.0, 300.0), FIXED;
        /// Seconds without renewal after which a carrier stops by itself.
        carrier_session_fence: Duration = "12", Range(2.0, 600.0), FIXED;
        /// Seconds of clock difference that carriers allow for.
        carrier_session_skew: Duration = "3", Range(0.0, 60.0), FIXED;
        /// Carriers stop when the database is lost.
        carrier_fence_on_db_loss: bool = "true", Any, FIXED;
        /// Seconds between full comparisons of networks with the kernel.
        network_reconcile_interval: Duration = "30", Range(5.0, 3600.0), LIVE;
        /// Queued maintenance above which no more is queued.
        maintain_queue_depth_threshold: u32 = "50", AtLeast(1.0), LIVE;
        /// Seconds between repairs of one network.
        maintain_reconcile_cooldown_seconds: Duration = "60", Any, LIVE;
        /// Failed repairs of one network before it is left alone.
        maintain_reconcile_circuit_k: u32 = "5", AtLeast(1.0), LIVE;
        /// Seconds a device without a network is left alone.
        maintain_stray_vxlan_grace_seconds: Duration = "300", Any, LIVE;

        // Instances.
        /// Seconds in which an instance must be created.
        instance_create_deadline: Duration = "3600", AtLeast(60.0), LIVE;
        /// Seconds between comparisons of instances with the hypervisor.
        instance_reconcile_interval: Duration = "60", Range(5.0, 3600.0), LIVE;
        /// GiB of one disk.
        instance_max_disk_gb: u64 = "65536", AtLeast(1.0), LIVE;
        /// Spare slots for hot-plugged devices.
        hotplug_spare_slots: u32 = "8", Range(0.0, 32.0), LIVE;
        /// Allow users to add QEMU options.
        allow_qemu_extras: bool = "true", Any, LIVE;
        /// Default bus of disks.
        disk_bus: DiskBus = "virtio", Any, LIVE;
        /// Offer the serial console over telnet.
        serial_telnet: bool = "true", Any, LIVE;
        /// Give out one-time passwords for graphical consoles.
        vdi_tickets: bool = "true", Any, LIVE;
        /// Channels of SPICE into the guest.
        spice_guest_integration: bool = "false", Any, LIVE;
        /// Allow graphical consoles without TLS on other networks than the mesh.
        console_allow_plaintext: bool = "false", Any, LIVE;
        /// Seconds between usage events of an instance.
        usage_event_frequency: Duration = "60", AtLeast(10.0), LIVE;

        // Blobs, artifacts, images.
        /// Copies of a blob.
        blob_replication_factor: u32 = "2", Range(1.0, 16.0), LIVE;
        /// Blob transfers of the cluster at a time.
        max_concurrent_blob_transfers: u32 = "20", Range(1.0, 1000.0), LIVE;
        /// Seconds between passes of the replicator.
        replicator_interval: Duration = "60", AtLeast(5.0), LIVE;
        /// Seconds an unused transcode is kept.
        blob_transcode_maximum_idle_time: Duration = "86400", AtLeast(60.0), LIVE;
        /// Seconds an unused image stays in the cache of a node.
        image_cache_idle: Duration = "86400", AtLeast(60.0), LIVE;
        /// Seconds between verifications of a blob.
        checksum_verification_frequency: Duration = "604800", AtLeast(3600.0), LIVE;
        /// Bytes per second read by verification.
        checksum_max_rate: u64 = "104857600", AtLeast(1.0), LIVE;
        /// Remove copies whose checksum is wrong.
        checksum_enforcement: bool = "true", Any, LIVE;
        /// Seconds that damaged copies are kept.
        quarantine_retention: Duration = "604800", Any, LIVE;
        /// Versions of an artifact kept by default.
        artifact_max_versions_default: u32 = "3", Range(1.0, 10000.0), LIVE;
        /// Compress snapshots.
        compress_snapshots: bool = "false", Any, LIVE;
        /// Snapshots refer to their base by default.
        snapshots_default_to_thin: bool = "false", Any, LIVE;
        /// Seconds a snapshot may take.
        snapshot_timeout: Duration = "3600", AtLeast(60.0), LIVE;
        /// Where images named by a short name are.
        image_download_url: String = "https://images.shakenfist.com", Any, LIVE;
        /// Seconds a fetch of an image may take.
        max_image_transfer_seconds: Duration = "1800", AtLeast(10.0), LIVE;
        /// Seconds without a byte after which a fetch is given up.
        image_fetch_idle_timeout: Duration = "60", AtLeast(1.0), LIVE;
        /// Bytes of an image as fetched.
        max_image_bytes: u64 = "274877906944", AtLeast(1.0), LIVE;
        /// Bytes of an image as the guest sees it.
        max_image_virtual_bytes: u64 = "17592186044416", AtLeast(1.0), LIVE;
        /// Fetches of a node at a time.
        image_fetch_concurrency: u32 = "4", Range(1.0, 64.0), LIVE;
        /// Private networks that images may be fetched from.
        image_fetch_allow: Vec<IpNet> = "", Any, LIVE;
        /// Ports besides 80 and 443 that images may be fetched from.
        image_fetch_ports: Vec<u16> = "", Any, LIVE;
        /// Host name patterns that images may be fetched from; empty means any.
        image_fetch_hosts: Vec<String> = "", Any, LIVE;
        /// Seconds an untouched upload is kept.
        upload_expiry: Duration = "86400", AtLeast(60.0), LIVE;
        /// Bytes of one upload.
        upload_max_bytes: u64 = "1099511627776", AtLeast(1.0), LIVE;

        // Events.
        /// Write a log line for each event.
        log_events_to_loki: bool = "true", Any, LIVE;
        /// Seconds that events of type `audit` are kept.
        max_audit_event_age: Retention = "7776000", Any, LIVE;
        /// Seconds that events of type `mutate` are kept.
        max_mutate_event_age: Retention = "7776000", Any, LIVE;
        /// Seconds that events of type `status` are kept.
        max_status_event_age: Retention = "604800", Any, LIVE;
        /// Seconds that events of type `usage` are kept.
        max_usage_event_age: Retention = "2592000", Any, LIVE;
        /// Seconds that events of type `resources` are kept.
        max_resources_event_age: Retention = "604800", Any, LIVE;
        /// Seconds that events of type `prune` are kept.
        max_prune_event_age: Retention = "2592000", Any, LIVE;
        /// Seconds that events of type `health` are kept.
        max_health_event_age: Retention = "7776000", Any, LIVE;
        /// Seconds that events of type `historic`, and of unknown types, are kept.
        max_historic_event_age: Retention = "7776000", Any, LIVE;
        /// Seconds that events of API requests are kept.
        max_api_request_event_age: Retention = "86400", Any, LIVE;
        /// Seconds that events of operations are kept.
        max_operation_event_age: Retention = "604800", Any, LIVE;
    }
}
