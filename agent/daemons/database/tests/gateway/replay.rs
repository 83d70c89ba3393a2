//! A repeated mutation gets the reply of the first attempt and has one effect.

use prost::Message;
use sf_gateway::CallClass;
use sf_model::operation::OperationArgs;
use sf_model::{ClaimToken, IncarnationId, InstanceId, KeyId, NetworkId, NodeId, OperationId};
use sf_protos::Rpc;
use sf_protos::common::{Caller, MutationContext, Selector};
use sf_protos::config::{SetClusterConfigRequest, UnsetClusterConfigRequest};
use sf_protos::maintenance::{ClaimTaskRequest, FinishTaskRequest};
use sf_protos::metadata::SetMetadataKeyRequest;
use sf_protos::namespaces::{CreateNamespaceRequest, NewKey};
use sf_protos::networks::{CreateNetworkRequest, DeleteNetworkRequest};
use sf_protos::nodes::{DeleteNodeRequest, SetNodeErrorRequest, SetNodeSchedulableRequest};
use sf_protos::operations::{
    CompleteOperationRequest, DeferOperationRequest, DequeueWorkRequest, EnqueueOperationsRequest,
    NewOperation, ReapExpiredClaimsRequest, StartOperationRequest,
};

use crate::tier::{World, registration};

/// Everything a repeated mutation must not add to.
const TABLES: [&str; 10] = [
    "events",
    "event_objects",
    "cluster_operations",
    "work_queue",
    "networks",
    "network_render_requests",
    "resource_pool_allocations",
    "namespaces",
    "namespace_keys",
    "cluster_config",
];

impl World {
    async fn census(&self) -> Vec<u64> {
        let mut counts = Vec::new();
        for table in TABLES {
            counts.push(self.count(table).await);
        }
        counts
    }

    /// Makes a call, repeats it twice at once, and compares.
    async fn thrice<R: Rpc>(&self, daemon: &str, context: Option<MutationContext>, request: R) -> R::Reply {
        let client = self.client(daemon);
        let context = context.unwrap_or_else(|| client.mutation());
        let mut request = request;
        request.fill_context(|| context.clone());
        let name = R::CALL.method;
        let first = client.call(CallClass::Interactive, request.clone()).await;
        let first = first.unwrap_or_else(|error| panic!("{name}: {error}"));
        let after = self.census().await;
        let again = tokio::join!(
            client.call(CallClass::Interactive, request.clone()),
            client.call(CallClass::Interactive, request)
        );
        for reply in [again.0, again.1] {
            let reply = reply.unwrap_or_else(|error| panic!("{name} repeated: {error}"));
            assert_eq!(reply.encode_to_vec(), first.encode_to_vec(), "{name}: another reply");
        }
        assert_eq!(self.census().await, after, "{name}: a second effect");
        let remembered = format!("mutation_log WHERE mutation_id = '{}'", context.mutation_id);
        assert_eq!(self.count(&remembered).await, 1, "{name}");
        first
    }
}

fn system() -> Option<Caller> {
    Some(Caller { namespace: "system".into() })
}

fn delete_instance(node: NodeId) -> NewOperation {
    let args = OperationArgs::InstanceDelete { instance: InstanceId::random() };
    NewOperation {
        uuid: OperationId::ordered().to_string(),
        node_uuid: node.to_string(),
        namespace: Some("ns".into()),
        priority: 1,
        arguments_json: serde_json::to_string(&args).unwrap(),
        ..NewOperation::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_kind_of_mutation_is_replayed() {
    let Some(world) = World::start().await else { return };
    let node = world.node.to_string();
    let key = NewKey {
        key_uuid: KeyId::random().to_string(),
        key_name: "k".into(),
        kind: "generated".into(),
        verifier: "a".repeat(64),
        nonce: "0".repeat(32),
        scopes: vec!["*".into()],
        expires_at: None,
    };
    for name in ["system", "ns"] {
        let key = (name == "ns").then(|| key.clone());
        world.thrice("api", None, CreateNamespaceRequest { context: None, name: name.into(), key }).await;
    }
    let values = [("CLEANER_DELAY".to_owned(), "77".to_owned())].into();
    let set = SetClusterConfigRequest { context: None, values, check_only: false, purge: false };
    assert_eq!(world.thrice("ctl", None, set).await.changed, ["CLEANER_DELAY"]);
    let unset = UnsetClusterConfigRequest { context: None, keys: vec!["cleaner_delay".into()] };
    assert_eq!(world.thrice("ctl", None, unset).await.changed, ["CLEANER_DELAY"]);
    world.thrice("api", None, registration(world.node, "n1.test")).await;
    let cordon = SetNodeSchedulableRequest {
        context: None,
        reference: node.clone(),
        schedulable: false,
        draining: None,
    };
    world.thrice("api", None, cordon).await;

    let network = NetworkId::random().to_string();
    let create = CreateNetworkRequest {
        context: None,
        caller: system(),
        network_uuid: network.clone(),
        namespace: "ns".into(),
        name: "net".into(),
        netblock: "10.1.0.0/24".into(),
        provide_dhcp: true,
        provide_nat: true,
        provide_dns: false,
    };
    world.thrice("api", None, create).await;
    let selector = || Some(Selector { reference: network.clone(), namespace: None });
    let metadata = SetMetadataKeyRequest {
        context: None,
        caller: system(),
        object_type: "network".into(),
        selector: selector(),
        key: "colour".into(),
        value_json: "\"blue\"".into(),
    };
    world.thrice("api", None, metadata).await;
    let delete =
        DeleteNetworkRequest { caller: system(), selector: selector(), ..DeleteNetworkRequest::default() };
    world.thrice("api", None, delete).await;

    let operations = vec![delete_instance(world.node), delete_instance(world.node)];
    let enqueue = EnqueueOperationsRequest { context: None, operations };
    assert_eq!(world.thrice("queues", None, enqueue).await.operations.len(), 2);
    let token = ClaimToken::random().to_string();
    let dequeue = DequeueWorkRequest {
        node_uuid: node.clone(),
        daemon: "queues".into(),
        incarnation: IncarnationId::random().to_string(),
        claim_token: token.clone(),
        limit: 2,
        wait_ms: 0,
    };
    let work = world.call("queues", dequeue.clone()).await.unwrap().work;
    let same = world.call("queues", dequeue).await.unwrap().work;
    assert_eq!((work.len(), same.len()), (2, 2), "a claim is repeated by its token");
    let (one, other) = (work[0].operation_uuid.clone(), work[1].operation_uuid.clone());
    let start =
        StartOperationRequest { context: None, operation_uuid: one.clone(), claim_token: token.clone() };
    assert!(world.thrice("queues", None, start).await.execute);
    let complete = CompleteOperationRequest {
        context: None,
        operation_uuid: one,
        claim_token: token.clone(),
        follow_ups: vec![delete_instance(world.node)],
    };
    world.thrice("queues", None, complete).await;
    let defer = DeferOperationRequest {
        context: None,
        operation_uuid: other,
        claim_token: token,
        delay_ms: None,
        reason: "busy".into(),
    };
    assert_eq!(world.thrice("queues", None, defer).await.delay_ms, 100);

    let fence = world.lead().await;
    let known = [("reap-claims".to_owned(), 15)].into();
    world.execute("INSERT INTO maintenance_runs (task, period_s, next_due) VALUES ('reap-claims', 15, UTC_TIMESTAMP(6))").await;
    let claim = ClaimTaskRequest { context: None, known };
    let claimed = world.thrice("cluster", world.signed(&fence), claim).await;
    assert_eq!(claimed.task.as_deref(), Some("reap-claims"));
    let reap = ReapExpiredClaimsRequest { context: None };
    world.thrice("cluster", world.signed(&fence), reap).await;
    let finish =
        FinishTaskRequest { task: "reap-claims".into(), duration_ms: 5, ..FinishTaskRequest::default() };
    world.thrice("cluster", world.signed(&fence), finish).await;

    let error =
        SetNodeErrorRequest { node_uuid: node.clone(), message: "broken".into(), ..Default::default() };
    world.thrice("resources", None, error).await;
    world
        .thrice(
            "ctl",
            None,
            DeleteNodeRequest { context: None, reference: node, force: true, planned: false },
        )
        .await;
}

#[tokio::test]
async fn one_id_is_one_call() {
    let Some(world) = World::start().await else { return };
    let context = Some(world.client("api").mutation());
    let name = "ns".to_owned();
    world.call("api", CreateNamespaceRequest { context: context.clone(), name, key: None }).await.unwrap();
    let other = SetNodeSchedulableRequest {
        context,
        reference: world.node.to_string(),
        schedulable: false,
        draining: None,
    };
    assert!(world.call("api", other).await.is_err(), "the reply of another call is no answer");
}
