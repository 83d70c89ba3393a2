//! Renders that wait for each other, against a real tier and a worker that refuses what is older, as the real one does.

use std::os::unix::net::UnixListener;
use std::path::Path;
use std::sync::Arc;

use sf_daemon_database::testing::{LocalTier, registration, until};
use sf_model::DaemonName;
use sf_netstate::wire;
use sf_protos::common::Caller;
use sf_protos::namespaces::CreateNamespaceRequest;
use sf_protos::net_privexec::request::Call;
use sf_protos::net_privexec::response::Outcome;
use sf_protos::net_privexec::{Failure, Request, Response};
use sf_protos::networks::{CreateNetworkRequest, RenewCarrierSessionRequest};
use sf_store::sql::sql;
use sf_store::testing::TestDatabase;

use super::*;

/// A node that carries one network.
struct World {
    state: State,
    network: NetworkId,
    database: TestDatabase,
    _tier: LocalTier,
    _directory: tempfile::TempDir,
}

impl World {
    async fn start() -> Option<Self> {
        let database = TestDatabase::start().await?;
        let tier = LocalTier::start(&database).await;
        let directory = tempfile::tempdir().unwrap();
        let socket = directory.path().join("net-privexec.sock");
        work(&socket);
        let keys = [("net_privexec_socket", socket.to_str().unwrap())];
        let context = tier.context(DaemonName::Net, directory.path(), &keys);
        let node = context.node.uuid;
        let register = registration(node, &context.node.name, &["net"]);
        tier.client("resources", node).call(CallClass::Interactive, register).await.unwrap();
        let session =
            RenewCarrierSessionRequest { node_uuid: node.to_string(), eligible: true, session_epoch: 0 };
        context.gateway.call(CallClass::Lease, session).await.unwrap();
        let network = NetworkId::random();
        let api = tier.client("api", node);
        let namespace =
            CreateNamespaceRequest { context: Some(api.mutation()), name: "ns".into(), key: None };
        api.call(CallClass::Interactive, namespace).await.unwrap();
        let create = CreateNetworkRequest {
            context: Some(api.mutation()),
            caller: Some(Caller { namespace: "system".into() }),
            network_uuid: network.to_string(),
            namespace: "ns".into(),
            name: "net".into(),
            netblock: "10.1.0.0/24".into(),
            ..CreateNetworkRequest::default()
        };
        api.call(CallClass::Interactive, create).await.unwrap();
        let state = State::new(context);
        Some(Self { state, network, database, _tier: tier, _directory: directory })
    }

    /// Renders while another render has the turn and, in it, applies what was committed only after this one was asked
    /// for. Returns what both came to.
    async fn overtaken(&self, known: Option<u64>) -> (u64, Result<u64, NetError>) {
        let (state, network) = (self.state.clone(), self.network);
        let turn = state.turn(network);
        let held = turn.clone().lock_owned().await;
        let others = Arc::strong_count(&turn);
        let late = tokio::spawn({
            let state = state.clone();
            async move { newest(&state, network, known, Reason::Asked).await }
        });
        until("the other waits for its turn", async || Arc::strong_count(&turn) > others).await;
        let bump = "UPDATE networks SET generation = generation + 1 WHERE uuid = ?";
        sql(bump).bind(network).run(&mut self.database.conn().await).await.unwrap();
        let intent = fetch(&state, network).await.unwrap();
        let first = rendered(&state, network, intent, Reason::Asked).await.unwrap();
        drop(held);
        let late = late.await.unwrap();
        (first.generation, late.map(|rendered| rendered.generation))
    }
}

/// Answers renders like the privileged worker: one that is older than the last is refused.
fn work(socket: &Path) {
    let listener = UnixListener::bind(socket).unwrap();
    std::thread::spawn(move || {
        let mut applied = 0;
        for stream in listener.incoming() {
            let stream = stream.unwrap();
            let Ok(Some((request, _))) = wire::receive::<Request>(&stream) else { continue };
            let generation = match request.call {
                Some(Call::RenderNetwork(call)) => call.intent.unwrap().generation,
                _ => applied,
            };
            let outcome = if generation < applied {
                let message = format!("generation {generation} is older than {applied}");
                Outcome::Failure(Failure {
                    code: "network.render_failed".into(),
                    message,
                    ..Failure::default()
                })
            } else {
                applied = generation;
                Outcome::Render(RenderReply::default())
            };
            let _ = wire::send(&stream, &Response { outcome: Some(outcome) }, &[]);
        }
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn a_render_that_is_overtaken_renders_what_is_newest_by_then() {
    let Some(world) = World::start().await else { return };
    let (first, late) = world.overtaken(None).await;
    assert_eq!(late.unwrap(), first);
    // The pass found nothing newer than what was rendered last.
    let (second, late) = world.overtaken(Some(first)).await;
    assert_eq!((second, late.unwrap()), (first + 1, second));
}
