//! The walk of a create over its candidates, and the reconciler as the leader calls it.

use sf_daemon_database::testing::metrics;
use sf_gateway::DbError;
use sf_model::{InstanceId, NodeId};
use sf_protos::common::Caller;
use sf_protos::instances::{
    CandidateRefusal, CreateInstanceReply, CreateInstanceRequest, Disk, DiskSpec, VideoSpec,
};
use sf_protos::nodes::CheckInRequest;
use sf_protos::scheduler::{Amounts, GetCapacityRequest, ReconcileCapacityRequest};

use crate::tier::{World, registration};

impl World {
    /// A second hypervisor, and a namespace; both nodes have published.
    async fn two_nodes(&self) -> NodeId {
        let second = NodeId::random();
        self.call_as(second, "resources", registration(second, "n2.test")).await.unwrap();
        for (node, name) in [(self.node, "n1.test"), (second, "n2.test")] {
            let check_in = CheckInRequest {
                node_uuid: node.to_string(),
                name: name.into(),
                release: "0.1.0".into(),
                metrics: Some(metrics()),
                ..CheckInRequest::default()
            };
            self.call_as(node, "resources", check_in).await.unwrap();
        }
        self.execute(
            "INSERT INTO namespaces (name, state, state_changed_at, created_at, version) \
             VALUES ('tenant', 'created', UTC_TIMESTAMP(6), UTC_TIMESTAMP(6), 1)",
        )
        .await;
        second
    }

    async fn create(&self, request: &CreateInstanceRequest) -> Result<CreateInstanceReply, DbError> {
        self.call("api", request.clone()).await
    }
}

fn request(cpus: u32, candidates: &[NodeId]) -> CreateInstanceRequest {
    CreateInstanceRequest {
        caller: Some(Caller { namespace: "tenant".into() }),
        instance_uuid: InstanceId::random().to_string(),
        namespace: "tenant".into(),
        name: "web".into(),
        cpus,
        memory_mb: 64,
        disk_spec: vec![DiskSpec { size_gb: Some(1), ..DiskSpec::default() }],
        disks: vec![Disk {
            device: "vda".into(),
            bus: "virtio".into(),
            present_as: "disk".into(),
            size_gb: Some(1),
            format: "qcow2".into(),
            ..Disk::default()
        }],
        video: Some(VideoSpec { model: "cirrus".into(), memory_kib: 16384, vdi: "spice".into() }),
        configdrive: "none".into(),
        candidate_node_uuids: candidates.iter().map(ToString::to_string).collect(),
        charge: Some(Amounts { cpus: cpus.into(), memory_mb: 64, disk_gb: 1 }),
        request_hash: "ab".repeat(32),
        ..CreateInstanceRequest::default()
    }
}

fn refused(node: NodeId, requested: i64, limit: i64) -> CandidateRefusal {
    CandidateRefusal {
        node_uuid: node.to_string(),
        stage: "node".into(),
        dimension: "cpus".into(),
        requested,
        used: 0,
        limit,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_create_walks_its_candidates() {
    let Some(world) = World::start().await else { return };
    let second = world.two_nodes().await;
    let first = world.node;
    world.execute(&format!("UPDATE node_capacity SET limit_cpus = 1 WHERE node_uuid = '{first}'")).await;

    let asked = request(2, &[first, second]);
    let reply = world.create(&asked).await.unwrap();
    assert_eq!(reply.instance.unwrap().node_uuid, Some(second.to_string()));
    assert_eq!(reply.refusals, [refused(first, 2, 1)]);
    assert_eq!(reply.admitted.unwrap().used.unwrap().cpus, 2);

    // The reply was lost: another call with the same identity and content finds what was made.
    let again = world.create(&asked).await.unwrap();
    assert_eq!(again.instance.unwrap().uuid, asked.instance_uuid);
    let other = CreateInstanceRequest { request_hash: "cd".repeat(32), ..asked };
    assert!(matches!(world.create(&other).await, Err(DbError::Conflict { .. })));
    assert_eq!(world.count("instances").await, 1);
    assert_eq!(world.count("placement_reservations").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_create_that_everybody_refuses_writes_nothing() {
    let Some(world) = World::start().await else { return };
    let second = world.two_nodes().await;
    let events = world.count("events").await;
    let reply = world.create(&request(100, &[world.node, second])).await.unwrap();
    assert_eq!((reply.instance, reply.r#final), (None, false));
    assert_eq!(reply.refusals, [refused(world.node, 100, 18), refused(second, 100, 18)]);
    for table in [
        "instances",
        "placement_reservations",
        "cluster_operations",
        "mutation_log WHERE rpc = 'CreateInstance'",
    ] {
        assert_eq!(world.count(table).await, 0, "{table}");
    }
    assert_eq!(world.count("events").await, events);

    world.execute("UPDATE cluster_capacity SET claimed_cpus = total_cpus").await;
    let reply = world.create(&request(1, &[world.node, second])).await.unwrap();
    assert!(reply.r#final && reply.refusals.len() == 1 && reply.refusals[0].stage == "cluster", "{reply:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_leader_reconciles() {
    let Some(world) = World::start().await else { return };
    let second = world.two_nodes().await;
    world.create(&request(2, &[second])).await.unwrap();
    let fence = world.lead().await;
    let reconcile = || async {
        let request = ReconcileCapacityRequest { context: world.signed(&fence) };
        world.call("cluster", request).await.unwrap()
    };
    let clean = reconcile().await;
    assert_eq!((clean.drift.len(), clean.orphans_released, clean.orphans_inserted), (0, 0, 0));
    world.execute(&format!("UPDATE node_capacity SET used_cpus = 7 WHERE node_uuid = '{second}'")).await;
    let found = reconcile().await.drift;
    assert_eq!((found.len(), found[0].old, found[0].new), (1, 7, 2));
    let snapshot = world.call("api", GetCapacityRequest::default()).await.unwrap();
    let used: i64 = snapshot.nodes.iter().map(|node| node.used.unwrap().cpus).sum();
    assert_eq!((snapshot.nodes.len(), used), (2, 2));
}
