//! One filled message of each kind, for the snapshots.

use prost_types::Timestamp;
use sf_protos::artifacts::{Artifact, ArtifactVersion};
use sf_protos::blobs::{Blob, Hash, ImageFacts, Transcode, Upload};
use sf_protos::common::{MetadataEntry, ObjectRef, OperationHandle, StateInfo};
use sf_protos::events::Event;
use sf_protos::instances::{Disk, DiskSpec, Instance, InstancePort, VideoSpec};
use sf_protos::namespaces::Namespace;
use sf_protos::networks::{Address, Interface, Network};
use sf_protos::nodes::Node;
use sf_protos::operations::{Operation, OperationError};
use sf_protos::scheduler::{Amounts, NodeCapacity};

fn at(seconds: i64) -> Option<Timestamp> {
    Some(Timestamp { seconds, nanos: 250_000_000 })
}

fn state(state: &str) -> Option<StateInfo> {
    Some(StateInfo { state: state.into(), changed_at: at(1_700_000_000), message: None })
}

fn handle() -> OperationHandle {
    OperationHandle { op_type: "instance_create".into(), op_uuid: "op".into() }
}

fn metadata() -> Vec<MetadataEntry> {
    vec![MetadataEntry { key: "tags".into(), value_json: "[\"web\"]".into() }]
}

pub(super) fn interface() -> Interface {
    Interface {
        uuid: "interface".into(),
        network_uuid: "network".into(),
        instance_uuid: "instance".into(),
        macaddr: "02:00:00:00:00:01".into(),
        ipv4: Some("10.0.0.2".into()),
        model: "virtio".into(),
        state: state("created"),
        version: 1,
        ..Interface::default()
    }
}

pub(super) fn instance() -> Instance {
    Instance {
        uuid: "instance".into(),
        namespace: "t1".into(),
        name: "web-1".into(),
        state: state("created"),
        version: 1,
        cpus: 2,
        memory_mb: 1024,
        disk_spec: vec![DiskSpec { size_gb: Some(8), base: Some("debian:12".into()), ..DiskSpec::default() }],
        disks: vec![Disk {
            device: "vda".into(),
            bus: "virtio".into(),
            size_gb: Some(8),
            blob_uuid: Some("blob".into()),
            resolved: Some("image debian:12".into()),
            ..Disk::default()
        }],
        video: Some(VideoSpec { model: "cirrus".into(), memory_kib: 16384, vdi: "spice".into() }),
        configdrive: "openstack-disk".into(),
        machine_type: "pc".into(),
        side_channels: vec!["sf-agent".into(), "sf-agent2".into()],
        requested_node_name: Some("n1".into()),
        node_uuid: Some("node".into()),
        node_name: Some("n1".into()),
        power_state: "on".into(),
        ports: vec![InstancePort { kind: "console".into(), port: 30001 }],
        interfaces: vec![interface()],
        metadata: metadata(),
        last_operation: Some(handle()),
        ..Instance::default()
    }
}

pub(super) fn network() -> Network {
    Network {
        uuid: "network".into(),
        name: "lan".into(),
        namespace: Some("t1".into()),
        netblock: "10.0.0.0/24".into(),
        provide_dhcp: true,
        provide_nat: true,
        vxid: 77,
        floating_gateway: Some("192.168.20.5".into()),
        state: state("created"),
        version: 1,
        mtu: 1450,
        port_security: "strict".into(),
        generation: 4,
        carrier_node_name: Some("n1".into()),
        metadata: metadata(),
        last_operation: Some(handle()),
        ..Network::default()
    }
}

pub(super) fn address() -> Address {
    Address {
        address: "10.0.0.2".into(),
        kind: "instance".into(),
        user: Some(ObjectRef { object_type: "networkinterface".into(), object_id: "interface".into() }),
        when: at(1_700_000_000),
        comment: "web-1".into(),
    }
}

pub(super) fn artifact() -> Artifact {
    let version = |index: u32| ArtifactVersion {
        index,
        blob_uuid: format!("blob{index}"),
        size: 100,
        reference_count: 1,
        depends_on: None,
        instance_uuids: vec!["instance".into()],
        created_at: at(1_700_000_000),
        blob_state: "created".into(),
    };
    Artifact {
        uuid: "artifact".into(),
        artifact_type: "image".into(),
        source_url: "debian:12".into(),
        name: "debian:12".into(),
        namespace: "t1".into(),
        max_versions: 3,
        state: state("created"),
        version: 1,
        versions: vec![version(2), version(3)],
        ..Artifact::default()
    }
}

pub(super) fn blob() -> Blob {
    Blob {
        uuid: "blob".into(),
        size: 100,
        state: state("created"),
        version: 1,
        modified: at(1_700_000_000),
        fetched_at: at(1_700_000_001),
        facts: Some(ImageFacts {
            format: Some("qcow2".into()),
            mime_type: Some("application/x-qemu-disk".into()),
            virtual_size: Some(1 << 30),
            cluster_size: Some(65536),
            info_json: Some("{\"compat\":\"1.1\",\"inner\":1}".into()),
            safety: "safe".into(),
            safety_reason: None,
        }),
        hashes: vec![Hash { algorithm: "sha512".into(), value: "ab".into() }],
        locations: vec!["n1".into()],
        reference_count: 1,
        transcodes: vec![Transcode { style: "gunzip".into(), blob_uuid: "other".into() }],
        ..Blob::default()
    }
}

pub(super) fn event() -> Event {
    Event {
        event_uuid: "event".into(),
        event_type: "audit".into(),
        timestamp: at(1_700_000_000),
        fqdn: "n1".into(),
        daemon: "sf-api".into(),
        duration: Some(0.0),
        message: "created".into(),
        extra_json: Some("{\"a\":1}".into()),
        request_id: Some("r".into()),
        ..Event::default()
    }
}

pub(super) fn namespace() -> Namespace {
    Namespace {
        name: "t1".into(),
        state: state("created"),
        version: 1,
        keys: vec!["deploy".into()],
        trusted: vec!["system".into()],
        ..Namespace::default()
    }
}

pub(super) fn node() -> Node {
    Node {
        uuid: "node".into(),
        name: "n1".into(),
        mesh_ip: "10.1.0.1".into(),
        release: "0.1.0".into(),
        state: state("created"),
        last_seen: at(1_700_000_000),
        is_hypervisor: true,
        is_network_node: true,
        schedulable: true,
        degraded_daemons: vec!["net".into()],
        version: 1,
        ..Node::default()
    }
}

pub(super) fn operation() -> Operation {
    Operation {
        uuid: "op".into(),
        operation_type: "artifact_fetch".into(),
        state: "error".into(),
        namespace: Some("t1".into()),
        tasks: vec!["artifact_fetch".into()],
        created_at: at(1_700_000_000),
        updated_at: at(1_700_000_001),
        targets: vec![ObjectRef { object_type: "artifact".into(), object_id: "artifact".into() }],
        depends_on: vec![handle()],
        request_id: Some("r".into()),
        error: Some(OperationError { code: "fetch".into(), message: "no such host".into() }),
        node_uuid: Some("node".into()),
        arguments_json: "{\"type\":\"artifact_fetch\",\"url\":\"http://x/y\"}".into(),
    }
}

pub(super) fn upload() -> Upload {
    Upload {
        uuid: "upload".into(),
        namespace: "t1".into(),
        node_name: "n1".into(),
        state: state("committing"),
        created_at: at(1_700_000_000),
        ..Upload::default()
    }
}

pub(super) fn capacity() -> NodeCapacity {
    NodeCapacity {
        node_uuid: "node".into(),
        name: "n1".into(),
        sized: true,
        open: true,
        limit: Some(Amounts { cpus: 24, memory_mb: 16000, disk_gb: 500 }),
        used: Some(Amounts { cpus: 4, memory_mb: 4000, disk_gb: 50 }),
        disk_headroom_gb: 100,
        used_instances: 2,
        metrics_age_seconds: 3.0,
        cpu_schedulable: 8,
        cpu_max_per_instance: 8,
        memory_available_mb: 12000,
        memory_reserved_mb: 2048,
        cpu_total_instance_vcpus: 5,
        state: "created".into(),
        schedulable: true,
        ..NodeCapacity::default()
    }
}
