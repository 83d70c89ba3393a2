//! What tests of instances have in common: a namespace, a network, requests, and calls as the gateway makes them.

use sf_model::{BlobId, InstanceId, InterfaceId, NetworkId, NodeId};
use sf_protos::common::{Caller, MetadataEntry, Selector};
use sf_protos::instances::interface_spec::Address;
use sf_protos::instances::{
    CreateInstanceReply, CreateInstanceRequest, Disk, DiskSpec, FinishDeleteRequest, GetInstanceRequest,
    Instance, InterfaceSpec, TransitionInstanceRequest, VideoSpec,
};
use sf_protos::scheduler::{AffinityRequest, Amounts};
use sf_store::instances::{self, Create};
use sf_store::{StoreError, StoreResult};

use crate::world::World;

pub(crate) const NAMESPACE: &str = "tenant";

/// Network, blob and everything else an instance refers to.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Surroundings {
    pub(crate) network: NetworkId,
    pub(crate) blob: BlobId,
}

impl World {
    /// A namespace with a /24 network that is in service, and an image.
    pub(crate) async fn surroundings(&self) -> Surroundings {
        let (network, blob) = (NetworkId::random(), BlobId::random());
        self.execute(&format!(
            "INSERT INTO namespaces (name, state, state_changed_at, created_at, version) \
             VALUES ('{NAMESPACE}', 'created', UTC_TIMESTAMP(6), UTC_TIMESTAMP(6), 1)"
        ))
        .await;
        self.execute(&format!(
            "INSERT INTO networks (uuid, namespace, name, netblock_address, netblock_prefix, provide_dhcp, provide_nat, \
             provide_dns, vxid, live_vxid, port_security, generation, generation_changed_at, state, state_changed_at, \
             created_at, version) VALUES ('{network}', '{NAMESPACE}', 'net', '10.0.0.0', 24, TRUE, TRUE, FALSE, 20, 20, \
             'strict', 1, UTC_TIMESTAMP(6), 'created', UTC_TIMESTAMP(6), UTC_TIMESTAMP(6), 1)"
        ))
        .await;
        self.execute(&format!(
            "INSERT INTO blobs (uuid, size, virtual_size, state, state_changed_at, created_at, version) \
             VALUES ('{blob}', 1000, 3221225472, 'created', UTC_TIMESTAMP(6), UTC_TIMESTAMP(6), 1)"
        ))
        .await;
        // Something besides the instances keeps the image.
        self.execute(&format!(
            "INSERT INTO blob_references (blob_uuid, kind, holder_uuid, holder_key, created_at) \
             VALUES ('{blob}', 'artifact_index', UUID(), '1', UTC_TIMESTAMP(6))"
        ))
        .await;
        Surroundings { network, blob }
    }

    /// Creates on the first candidate, as one attempt of the gateway.
    pub(crate) async fn create(&self, request: CreateInstanceRequest) -> StoreResult<CreateInstanceReply> {
        let create = Create::parse(request)?;
        let node = create.candidates[0];
        self.run(move |conn, ctx| {
            let create = create.clone();
            Box::pin(async move { instances::create_on(conn, ctx, &create, node).await })
        })
        .await
    }

    /// The view of an instance.
    pub(crate) async fn view(&self, instance: InstanceId) -> Instance {
        let request = GetInstanceRequest { caller: system(), selector: selector(&instance.to_string()) };
        let reply = self
            .run(move |conn, _| {
                let request = request.clone();
                Box::pin(async move { instances::get(conn, &request).await })
            })
            .await;
        reply.unwrap().instance.unwrap()
    }

    /// The state of an instance.
    pub(crate) async fn state(&self, instance: InstanceId) -> String {
        self.view(instance).await.state.unwrap().state
    }

    /// One transition, as the worker of the first placement asks for it.
    pub(crate) async fn transition(&self, instance: InstanceId, from: &str, to: &str) -> StoreResult<()> {
        let request = TransitionInstanceRequest {
            context: None,
            instance_uuid: instance.to_string(),
            expected: vec![from.to_owned()],
            placement_seq: 1,
            to: to.to_owned(),
            message: Some("because".into()),
        };
        self.run(move |conn, ctx| {
            let request = request.clone();
            Box::pin(async move { instances::transition(conn, ctx, &request).await.map(|_| ()) })
        })
        .await
    }

    /// The user's delete.
    pub(crate) async fn delete(&self, instance: InstanceId) -> StoreResult<Instance> {
        let request = sf_protos::instances::DeleteInstanceRequest {
            context: None,
            caller: system(),
            selector: selector(&instance.to_string()),
        };
        self.run(move |conn, ctx| {
            let request = request.clone();
            Box::pin(async move { instances::delete(conn, ctx, &request).await })
        })
        .await
        .map(|reply| reply.instance.unwrap())
    }

    /// The worker has removed everything.
    pub(crate) async fn finish(&self, instance: InstanceId) -> StoreResult<Vec<String>> {
        let request = FinishDeleteRequest { context: None, instance_uuid: instance.to_string() };
        self.run(move |conn, ctx| {
            let request = request.clone();
            Box::pin(async move { instances::finish_delete(conn, ctx, &request).await })
        })
        .await
        .map(|reply| reply.network_uuids)
    }

    /// Sets the state without asking anybody.
    pub(crate) async fn force_state(&self, instance: InstanceId, state: &str) {
        self.execute(&format!("UPDATE instances SET state = '{state}' WHERE uuid = '{instance}'")).await;
    }

    /// Every table that a create or a delete writes to, with its number of rows.
    pub(crate) async fn census(&self) -> Vec<(&'static str, i64)> {
        let mut counts = Vec::new();
        for (table, condition) in [
            ("instances", "TRUE"),
            ("instance_disks", "TRUE"),
            ("instance_ports", "TRUE"),
            ("instance_side_channels", "TRUE"),
            ("instance_affinity", "TRUE"),
            ("instance_renders", "TRUE"),
            ("network_interfaces", "TRUE"),
            ("network_render_requests", "TRUE"),
            ("resource_pool_allocations", "TRUE"),
            ("placement_reservations", "TRUE"),
            ("reservation_tags", "TRUE"),
            ("object_metadata", "TRUE"),
            ("blob_references", "kind = 'disk'"),
            ("artifacts", "TRUE"),
            ("cluster_operations", "TRUE"),
            ("cluster_operation_targets", "TRUE"),
            ("cluster_operation_dependencies", "TRUE"),
            ("work_queue", "TRUE"),
            ("events", "TRUE"),
        ] {
            counts
                .push((table, self.number(&format!("SELECT COUNT(*) FROM {table} WHERE {condition}")).await));
        }
        counts
    }
}

/// A request for one vCPU, 128 MiB, one disk of 8 GiB over the image and one interface.
pub(crate) fn request(node: NodeId, around: Surroundings) -> CreateInstanceRequest {
    CreateInstanceRequest {
        context: None,
        caller: system(),
        instance_uuid: InstanceId::random().to_string(),
        namespace: NAMESPACE.into(),
        name: "web".into(),
        cpus: 1,
        memory_mb: 128,
        disk_spec: vec![DiskSpec {
            size_gb: Some(8),
            base: Some(format!("sf://blob/{}", around.blob)),
            bus: None,
            r#type: Some("disk".into()),
        }],
        disks: vec![
            Disk {
                position: 0,
                device: "vda".into(),
                bus: "virtio".into(),
                present_as: "disk".into(),
                size_gb: Some(8),
                base: Some(format!("sf://blob/{}", around.blob)),
                blob_uuid: Some(around.blob.to_string()),
                format: "qcow2".into(),
                resolved: Some("the blob".into()),
                ..Disk::default()
            },
            Disk {
                position: 1,
                device: "vdb".into(),
                bus: "virtio".into(),
                present_as: "disk".into(),
                format: "raw".into(),
                snapshot_ignores: true,
                is_configdrive: true,
                ..Disk::default()
            },
        ],
        interfaces: vec![interface("net", Address::Allocate(true))],
        ssh_key: Some("ssh-ed25519 AAAA".into()),
        user_data: Some("I2Nsb3VkLWNvbmZpZwo=".into()),
        video: Some(VideoSpec { model: "cirrus".into(), memory_kib: 16384, vdi: "spice".into() }),
        configdrive: "openstack-disk".into(),
        side_channels: vec!["sf-agent".into(), "sf-agent2".into()],
        metadata: vec![MetadataEntry { key: "tags".into(), value_json: r#"["web"]"#.into() }],
        tags: vec!["web".into()],
        affinity: Some(AffinityRequest { prefer_without: vec!["web".into()], ..Default::default() }),
        candidate_node_uuids: vec![node.to_string()],
        charge: Some(Amounts { cpus: 1, memory_mb: 128, disk_gb: 9 }),
        request_hash: "ab".repeat(32),
        ..CreateInstanceRequest::default()
    }
}

pub(crate) fn interface(network: &str, address: Address) -> InterfaceSpec {
    InterfaceSpec {
        interface_uuid: InterfaceId::random().to_string(),
        network_reference: network.into(),
        address: Some(address),
        macaddress: None,
        model: "virtio".into(),
        float: false,
    }
}

pub(crate) fn id(request: &CreateInstanceRequest) -> InstanceId {
    request.instance_uuid.parse().unwrap()
}

pub(crate) fn system() -> Option<Caller> {
    Some(Caller { namespace: "system".into() })
}

pub(crate) fn selector(reference: &str) -> Option<Selector> {
    Some(Selector { reference: reference.into(), namespace: None })
}

/// The reason word of a refused call.
pub(crate) fn reason<T>(result: &StoreResult<T>) -> &'static str {
    match result {
        Ok(_) => "success",
        Err(StoreError::Precondition { reason, .. } | StoreError::Capacity { reason, .. }) => reason,
        Err(StoreError::Missing { .. }) => "missing",
        Err(StoreError::Exists { .. }) => "exists",
        Err(StoreError::Invalid(_)) => "invalid",
        Err(_) => "other",
    }
}
