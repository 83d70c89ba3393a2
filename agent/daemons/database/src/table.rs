//! The table of calls: each path, bound to the store function that does it.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Instant;

use axum::Router;
use axum::body::Body;
use axum::routing::post;
use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use prost::Message;
use sf_protos::{CALLS, Call, Encoded, MAX_MESSAGE, Rpc};
use tonic::server::{Grpc, UnaryService};
use tonic::{Request, Response, Status};

use crate::caller::Caller;
use crate::runner::{self, Lane, Order, Work};
use crate::state::Gateway;
use crate::status;

/// Calls that keep leases alive and must not queue behind anything.
const LEASE_CALLS: [&str; 6] =
    ["RefreshLocks", "RenewClaims", "RenewRenderClaims", "RenewCarrierSession", "RenewLeases", "CheckIn"];

/// What answers a call: messages as they travel. The many types of messages end here, so that what serves them is compiled
/// once and not once for each of them.
type Handler =
    Arc<dyn Fn(Arc<Gateway>, Caller, Bytes) -> BoxFuture<'static, Result<Bytes, Status>> + Send + Sync>;

/// A table under construction.
pub(crate) struct Table {
    gateway: Arc<Gateway>,
    router: Router,
    bound: BTreeSet<&'static str>,
}

impl Table {
    /// An empty table.
    pub(crate) fn new(gateway: Arc<Gateway>) -> Self {
        Self { gateway, router: Router::new(), bound: BTreeSet::new() }
    }

    /// Binds a call to a store function; its kind, callers and scope stand in its proto file.
    pub(crate) fn bind<R: Rpc>(self, work: Work<R>) -> Self {
        let lane = if LEASE_CALLS.contains(&R::CALL.method) { Lane::Lease } else { Lane::Ordinary };
        let handler = move |gateway, caller, message| {
            async move {
                let order = Order::of(&caller, request::<R>(message)?, work)?;
                runner::run(&gateway, lane, &caller, order).await
            }
            .boxed()
        };
        self.insert(R::CALL, Arc::new(handler))
    }

    /// Binds a call that does more than one store function: the long polls.
    pub(crate) fn bind_with<R, F, H>(self, handle: H) -> Self
    where
        R: Rpc,
        F: Future<Output = Result<R::Reply, Status>> + Send + 'static,
        H: Fn(Arc<Gateway>, Caller, R) -> F + Clone + Send + Sync + 'static,
    {
        let handler = move |gateway, caller: Caller, message| {
            let handle = handle.clone();
            async move {
                let request = request::<R>(message)?;
                caller.owns(&request)?;
                let reply = handle(gateway, caller, request).await?;
                Ok(Bytes::from(reply.encode_to_vec()))
            }
            .boxed()
        };
        self.insert(R::CALL, Arc::new(handler))
    }

    fn insert(mut self, call: Call, handler: Handler) -> Self {
        let gateway = self.gateway.clone();
        let route = post(move |request: http::Request<Body>| {
            let caller = Caller::read(request.headers());
            let answering = Answering { call, gateway: gateway.clone(), caller, handler: handler.clone() };
            async move {
                let mut grpc = Grpc::new(Encoded)
                    .max_decoding_message_size(MAX_MESSAGE)
                    .max_encoding_message_size(MAX_MESSAGE);
                Ok::<_, Infallible>(grpc.unary(answering, request).await)
            }
        });
        let fresh = self.bound.insert(call.path);
        debug_assert!(fresh, "{} is bound twice", call.path);
        self.router = self.router.route(call.path, route);
        self
    }

    /// Calls of the protos that nothing is bound to.
    pub(crate) fn unbound(&self) -> Vec<&'static str> {
        CALLS.iter().map(|call| call.path).filter(|path| !self.bound.contains(path)).collect()
    }

    /// The finished routes.
    pub(crate) fn into_router(self) -> Router {
        self.router
    }
}

fn request<R: Rpc>(message: Bytes) -> Result<R, Status> {
    R::decode(message)
        .map_err(|error| Status::internal(format!("{}: the request cannot be read: {error}", R::CALL.method)))
}

/// One call being answered.
struct Answering {
    call: Call,
    gateway: Arc<Gateway>,
    caller: Caller,
    handler: Handler,
}

impl UnaryService<Bytes> for Answering {
    type Response = Bytes;
    type Future = BoxFuture<'static, Result<Response<Bytes>, Status>>;

    fn call(&mut self, request: Request<Bytes>) -> Self::Future {
        let (call, gateway, caller) = (self.call, self.gateway.clone(), self.caller.clone());
        let handler = self.handler.clone();
        Box::pin(async move {
            let operation = call.method;
            let daemon = caller.label();
            metrics::counter!("database_requests_total", "operation" => operation, "caller_daemon" => daemon)
                .increment(1);
            let began = Instant::now();
            let outcome = match caller.may(&call) {
                Ok(()) if gateway.is_draining() && waits(operation) => Err(status::draining()),
                Ok(()) => handler(gateway, caller, request.into_inner()).await,
                Err(refusal) => Err(refusal),
            };
            metrics::histogram!("database_request_seconds", "operation" => operation)
                .record(began.elapsed().as_secs_f64());
            match outcome {
                Ok(reply) => {
                    #[expect(clippy::cast_precision_loss, reason = "replies are at most 4 MiB")]
                    let bytes = reply.len() as f64;
                    metrics::histogram!("database_reply_bytes", "operation" => operation).record(bytes);
                    Ok(Response::new(reply))
                }
                Err(refusal) => {
                    count_error(operation, &refusal);
                    Err(refusal)
                }
            }
        })
    }
}

/// Long polls are not begun by a gateway that is about to end.
fn waits(operation: &str) -> bool {
    matches!(operation, "DequeueWork" | "ClaimRenders" | "WaitOperations")
}

fn count_error(operation: &'static str, refusal: &Status) {
    let code = format!("{:?}", refusal.code());
    let reason = status::reason_of(refusal);
    tracing::debug!(operation, code, reason, message = refusal.message(), "call refused");
    metrics::counter!("database_request_errors_total", "operation" => operation, "code" => code, "reason" => reason)
        .increment(1);
}
