//! The client against real gRPC servers with faults: retries go elsewhere, deadlines are told, repeated attempts are
//! recognisable, and nothing but an answer counts as an answer.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test may fail loudly")]

use std::collections::{BTreeSet, HashMap};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use prost::Message;
use sf_events::{BatchSink, SinkError};
use sf_gateway::{CallClass, Caller, DbError, ERROR_INFO_KEY, Gateway, GatewayOptions, HealthError, probe};
use sf_protos::common::ErrorInfo;
use sf_protos::config as pb;
use sf_protos::config::config_service_server::{ConfigService, ConfigServiceServer};
use sf_runtime::{RequestContext, context};
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::metadata::MetadataValue;
use tonic::{Code, Request, Response, Status};

#[derive(Clone, Copy)]
enum Fault {
    Status(Code, &'static str),
    Bare(Code),
    Hang,
}

#[derive(Clone, Default)]
struct Tier {
    fault: Arc<Mutex<Option<Fault>>>,
    seen: Arc<Mutex<Vec<Seen>>>,
}

#[derive(Clone, Default)]
struct Seen {
    headers: HashMap<String, String>,
    mutation_id: String,
}

impl Tier {
    fn failing(fault: Fault) -> Self {
        let tier = Self::default();
        *tier.fault.lock().unwrap() = Some(fault);
        tier
    }

    fn calls(&self) -> usize {
        self.seen.lock().unwrap().len()
    }

    async fn answer<T>(&self, request: Request<T>, mutation_id: impl Fn(&T) -> String) -> Result<(), Status> {
        let header =
            |name: &str| request.metadata().get(name).and_then(|v| v.to_str().ok()).map(str::to_owned);
        let names =
            ["grpc-timeout", "caller-daemon", "caller-node", "caller-version", "x-request-id", "traceparent"];
        let headers = names.into_iter().filter_map(|name| Some((name.to_owned(), header(name)?))).collect();
        let mutation_id = mutation_id(request.get_ref());
        self.seen.lock().unwrap().push(Seen { headers, mutation_id });
        let fault = *self.fault.lock().unwrap();
        match fault {
            None => Ok(()),
            Some(Fault::Bare(code)) => Err(Status::new(code, "bare")),
            Some(Fault::Status(code, reason)) => Err(explained(code, reason)),
            Some(Fault::Hang) => std::future::pending().await,
        }
    }
}

fn explained(code: Code, reason: &str) -> Status {
    let info = ErrorInfo { reason: reason.to_owned(), ..ErrorInfo::default() };
    let mut status = Status::new(code, reason);
    status.metadata_mut().insert_bin(ERROR_INFO_KEY, MetadataValue::from_bytes(&info.encode_to_vec()));
    status
}

#[tonic::async_trait]
impl ConfigService for Tier {
    async fn get_cluster_config(
        &self,
        _: Request<pb::GetClusterConfigRequest>,
    ) -> Result<Response<pb::GetClusterConfigReply>, Status> {
        Err(Status::unimplemented("not used here"))
    }

    async fn set_cluster_config(
        &self,
        request: Request<pb::SetClusterConfigRequest>,
    ) -> Result<Response<pb::SetClusterConfigReply>, Status> {
        self.answer(request, |r| r.context.clone().unwrap_or_default().mutation_id).await?;
        Ok(Response::new(pb::SetClusterConfigReply::default()))
    }

    async fn unset_cluster_config(
        &self,
        _: Request<pb::UnsetClusterConfigRequest>,
    ) -> Result<Response<pb::UnsetClusterConfigReply>, Status> {
        Err(Status::unimplemented("not used here"))
    }

    async fn get_cluster_version(
        &self,
        request: Request<pb::GetClusterVersionRequest>,
    ) -> Result<Response<pb::GetClusterVersionReply>, Status> {
        self.answer(request, |_| String::new()).await?;
        Ok(Response::new(pb::GetClusterVersionReply { release: "0.1".into(), ..Default::default() }))
    }
}

/// Serves a tier on a free port; `serving` is what it says of its health.
async fn serve(tier: &Tier, serving: bool) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (reporter, health) = tonic_health::server::health_reporter();
    let state =
        if serving { tonic_health::ServingStatus::Serving } else { tonic_health::ServingStatus::NotServing };
    reporter.set_service_status("", state).await;
    let server = tonic::transport::Server::builder()
        .add_service(health)
        .add_service(ConfigServiceServer::new(tier.clone()));
    tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
    address
}

fn client(addresses: &[SocketAddr]) -> Gateway {
    let endpoints = addresses.iter().map(|a| (a.ip().to_string(), a.port())).collect();
    let caller = Caller { daemon: "api".into(), node: "nöde 1".into(), version: "0.1.0".into() };
    Gateway::new(GatewayOptions { endpoints, caller }).unwrap()
}

async fn version(gateway: &Gateway, class: CallClass) -> Result<String, DbError> {
    gateway.call(class, pb::GetClusterVersionRequest {}).await.map(|reply| reply.release)
}

/// A port on which nobody listens.
async fn closed() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap()
}

#[tokio::test]
async fn a_call_moves_on_when_a_gateway_is_gone() {
    let tier = Tier::default();
    let gateway = client(&[closed().await, serve(&tier, true).await]);
    for _ in 0..10 {
        assert_eq!(version(&gateway, CallClass::Interactive).await.unwrap(), "0.1");
    }
    assert_eq!(tier.calls(), 10);
}

#[tokio::test]
async fn calls_are_spread_over_healthy_gateways() {
    let (one, two) = (Tier::default(), Tier::default());
    let gateway = client(&[serve(&one, true).await, serve(&two, true).await]);
    for _ in 0..20 {
        version(&gateway, CallClass::Interactive).await.unwrap();
    }
    assert_eq!((one.calls(), two.calls()), (10, 10));
}

#[tokio::test]
async fn a_gateway_that_does_not_serve_is_avoided_but_better_than_none() {
    let (well, ill) = (Tier::default(), Tier::default());
    let gateway = client(&[serve(&ill, false).await, serve(&well, true).await]);
    let deadline = Instant::now() + Duration::from_secs(30);
    // The check of the ill one is known when calls stop reaching it.
    loop {
        let before = ill.calls();
        for _ in 0..4 {
            version(&gateway, CallClass::Interactive).await.unwrap();
        }
        if ill.calls() == before {
            break;
        }
        assert!(Instant::now() < deadline, "calls keep reaching a gateway that does not serve");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let alone = client(&[serve(&Tier::default(), false).await]);
    assert!(version(&alone, CallClass::Interactive).await.is_ok());
    assert!(!alone.is_serving(Duration::from_secs(60)));
}

#[tokio::test]
async fn every_attempt_of_a_mutation_carries_the_same_identity() {
    let tier = Tier::failing(Fault::Status(Code::Unavailable, "database-unreachable"));
    let gateway = client(&[serve(&tier, true).await]);
    let error = gateway.call(CallClass::Lease, pb::SetClusterConfigRequest::default()).await.unwrap_err();
    assert!(error.is_transient());
    let seen = tier.seen.lock().unwrap().clone();
    let ids: BTreeSet<&str> = seen.iter().map(|s| s.mutation_id.as_str()).collect();
    assert!(seen.len() > 1, "it was tried again");
    assert_eq!(ids.len(), 1);
    assert!(!ids.contains(""));
}

#[tokio::test]
async fn deadline_and_origin_are_told() {
    let tier = Tier::default();
    let gateway = client(&[serve(&tier, true).await]);
    let context = RequestContext::new(Some("req-1".into()), None);
    context::scope(context.clone(), version(&gateway, CallClass::Lease)).await.unwrap();
    let headers = tier.seen.lock().unwrap()[0].headers.clone();
    assert!(headers["grpc-timeout"].ends_with(['m', 'u', 'n', 'S']), "{}", headers["grpc-timeout"]);
    assert_eq!((headers["caller-daemon"].as_str(), headers["x-request-id"].as_str()), ("api", "req-1"));
    assert_eq!(headers["caller-node"], "n?de?1");
    let sent = &headers["traceparent"];
    assert!(sent.contains(context.trace_id.as_deref().unwrap()), "the trace goes on");
    assert_ne!(Some(sent.as_str()), context.traceparent.as_deref(), "in a span of its own");
}

#[tokio::test]
async fn a_hung_gateway_costs_one_attempt() {
    let (hung, well) = (Tier::failing(Fault::Hang), Tier::default());
    let gateway = client(&[serve(&hung, true).await, serve(&well, true).await]);
    for _ in 0..4 {
        version(&gateway, CallClass::Lease).await.unwrap();
    }
    assert!(well.calls() >= 3);
}

#[tokio::test]
async fn answers_are_not_retried_and_statuses_of_strangers_are_no_answers() {
    let full = Tier::failing(Fault::Status(Code::ResourceExhausted, "capacity"));
    let error = version(&client(&[serve(&full, true).await]), CallClass::Lease).await.unwrap_err();
    assert!(matches!(error, DbError::NoCapacity { ref reason, .. } if reason == "capacity"), "{error}");
    assert_eq!(full.calls(), 1);

    let stranger = Tier::failing(Fault::Bare(Code::NotFound));
    let error = version(&client(&[serve(&stranger, true).await]), CallClass::Lease).await.unwrap_err();
    assert!(error.is_transient(), "{error}");
    assert!(stranger.calls() > 1);

    let gateway = client(&[serve(&Tier::default(), true).await]);
    let error = gateway.call(CallClass::Lease, pb::GetClusterConfigRequest::default()).await.unwrap_err();
    assert!(matches!(error, DbError::GatewayTooOld { operation: "GetClusterConfig" }), "{error}");
}

#[tokio::test]
async fn the_event_sink_tries_once_and_keeps_events_of_an_absent_tier() {
    let error = client(&[closed().await]).record_batch(Vec::new()).await.unwrap_err();
    assert!(matches!(error, SinkError::Retry(_)), "{error}");
}

#[tokio::test]
async fn a_probe_tells_serving_from_not_and_from_silence() {
    let ask = async |a: SocketAddr| probe(&a.ip().to_string(), a.port(), Duration::from_secs(5)).await;
    assert!(ask(serve(&Tier::default(), true).await).await.is_ok());
    assert!(matches!(ask(serve(&Tier::default(), false).await).await, Err(HealthError::NotServing)));
    assert!(matches!(ask(closed().await).await, Err(HealthError::Unreachable(_))));
}
