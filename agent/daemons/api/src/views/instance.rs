//! Instances (`rest-api.md` §2.1).

use serde::Serialize;
use serde_json::{Map, Value};
use sf_protos::instances::{DiskSpec, Instance};

use super::{InterfaceView, OpRef, message, metadata, op_ref, state};

/// An instance.
#[derive(Debug, Serialize)]
pub struct InstanceView {
    uuid: String,
    state: String,
    metadata: Map<String, Value>,
    version: u32,
    name: String,
    namespace: String,
    cpus: u32,
    memory: u64,
    disk_spec: Vec<DiskSpecView>,
    disks: Vec<DiskView>,
    ssh_key: Option<String>,
    user_data: Option<String>,
    video: VideoView,
    uefi: bool,
    secure_boot: bool,
    configdrive: String,
    nvram_template: Option<String>,
    machine_type: String,
    side_channels: Vec<String>,
    agent_state: String,
    agent_start_time: Option<f64>,
    agent_system_boot_time: Option<f64>,
    error_message: Option<String>,
    node: Option<String>,
    node_uuid: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    requested_placement: Option<String>,
    console_port: Option<u32>,
    vdi_port: Option<u32>,
    vdi_tls_port: Option<u32>,
    power_state: String,
    interfaces: Vec<InterfaceView>,
    agent_operations_queue: Vec<Value>,
    has_pending_operations: bool,
    last_cluster_operation: Option<OpRef>,
}

/// A disk as asked for: exactly these four keys, compared for equality by clients.
#[derive(Debug, Serialize)]
struct DiskSpecView {
    size: Option<u64>,
    base: Option<String>,
    bus: Option<String>,
    r#type: Option<String>,
}

#[derive(Debug, Serialize)]
struct DiskView {
    device: String,
    bus: String,
    size: Option<u64>,
    blob_uuid: Option<String>,
    resolved: Option<String>,
    snapshot_ignores: bool,
}

#[derive(Debug, Default, Serialize)]
struct VideoView {
    model: String,
    memory: u32,
    vdi: String,
}

impl From<Instance> for InstanceView {
    fn from(instance: Instance) -> Self {
        let port = |kind: &str| instance.ports.iter().find(|port| port.kind == kind).map(|port| port.port);
        let (console_port, vdi_port, vdi_tls_port) = (port("console"), port("vdi"), port("vdi_tls"));
        let mut interfaces = instance.interfaces;
        interfaces.sort_by_key(|interface| interface.order);
        let video = instance.video.unwrap_or_default();
        Self {
            uuid: instance.uuid,
            state: state(instance.state.as_ref()),
            metadata: metadata(&instance.metadata),
            version: instance.version,
            name: instance.name,
            namespace: instance.namespace,
            cpus: instance.cpus,
            memory: instance.memory_mb,
            disk_spec: instance.disk_spec.into_iter().map(disk_spec).collect(),
            disks: instance.disks.into_iter().map(disk).collect(),
            ssh_key: instance.ssh_key,
            user_data: instance.user_data,
            video: VideoView { model: video.model, memory: video.memory_kib, vdi: video.vdi },
            uefi: instance.uefi,
            secure_boot: instance.secure_boot,
            configdrive: instance.configdrive,
            nvram_template: instance.nvram_blob_uuid,
            machine_type: instance.machine_type,
            side_channels: instance.side_channels,
            agent_state: agent_state(instance.agent_state),
            agent_start_time: None,
            agent_system_boot_time: None,
            error_message: message(instance.state.as_ref()),
            node: instance.node_name,
            node_uuid: instance.node_uuid,
            requested_placement: instance.requested_node_name,
            console_port,
            vdi_port,
            vdi_tls_port,
            power_state: instance.power_state,
            interfaces: interfaces.into_iter().map(InterfaceView::from).collect(),
            agent_operations_queue: Vec::new(),
            has_pending_operations: instance.has_pending_operations,
            last_cluster_operation: op_ref(instance.last_operation.as_ref()),
        }
    }
}

/// Clients call string methods on it, so it is never empty or null.
fn agent_state(stored: String) -> String {
    if stored.is_empty() { "not ready (no contact)".to_owned() } else { stored }
}

fn disk_spec(spec: DiskSpec) -> DiskSpecView {
    DiskSpecView { size: spec.size_gb, base: spec.base, bus: spec.bus, r#type: spec.r#type }
}

fn disk(disk: sf_protos::instances::Disk) -> DiskView {
    DiskView {
        device: disk.device,
        bus: disk.bus,
        size: disk.size_gb,
        blob_uuid: disk.blob_uuid,
        resolved: disk.resolved,
        snapshot_ignores: disk.snapshot_ignores,
    }
}

#[cfg(test)]
mod tests {
    use super::super::samples;
    use super::*;

    #[test]
    fn an_instance_looks_like_this() {
        insta::assert_json_snapshot!(InstanceView::from(samples::instance()));
    }

    #[test]
    fn every_field_is_there_when_nothing_is_known() {
        insta::assert_json_snapshot!(InstanceView::from(Instance::default()));
    }
}
