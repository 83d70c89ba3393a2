//! The table of calls: each path, bound to the store function that does it.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Instant;

use axum::Router;
use axum::body::Body;
use axum::routing::post;
use prost::Message;
use sf_protos::{CALLS, Rpc};
use tonic::server::{Grpc, UnaryService};
use tonic::{Request, Response, Status};
use tonic_prost::ProstCodec;

use crate::caller::Caller;
use crate::runner::{self, Lane, Work};
use crate::state::Gateway;
use crate::status;

/// Largest message in either direction, bytes (`database-tier.md` §6).
const MAX_MESSAGE: usize = 4 * 1024 * 1024;

/// Calls that keep leases alive and must not queue behind anything.
const LEASE_CALLS: [&str; 6] =
    ["RefreshLocks", "RenewClaims", "RenewRenderClaims", "RenewCarrierSession", "RenewLeases", "CheckIn"];

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
        self.bind_with::<R, _, _>(move |gateway, caller, request| async move {
            runner::run(&gateway, lane, &caller, request, work).await
        })
    }

    /// Binds a call that does more than one store function: the long polls.
    pub(crate) fn bind_with<R, F, H>(mut self, handle: H) -> Self
    where
        R: Rpc,
        F: Future<Output = Result<R::Reply, Status>> + Send + 'static,
        H: Fn(Arc<Gateway>, Caller, R) -> F + Clone + Send + Sync + 'static,
    {
        let gateway = self.gateway.clone();
        let route = post(move |request: http::Request<Body>| {
            let service = Bound::<R, H> { gateway, handle, call: std::marker::PhantomData };
            async move {
                let caller = Caller::read(request.headers());
                let mut grpc = Grpc::new(ProstCodec::<R::Reply, R>::default())
                    .max_decoding_message_size(MAX_MESSAGE)
                    .max_encoding_message_size(MAX_MESSAGE);
                let response = grpc.unary(service.with(caller), request).await;
                Ok::<_, Infallible>(response)
            }
        });
        let fresh = self.bound.insert(R::CALL.path);
        debug_assert!(fresh, "{} is bound twice", R::CALL.path);
        self.router = self.router.route(R::CALL.path, route);
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

struct Bound<R, H> {
    gateway: Arc<Gateway>,
    handle: H,
    call: std::marker::PhantomData<fn(R)>,
}

impl<R, H> Bound<R, H> {
    fn with(self, caller: Caller) -> Answering<R, H> {
        Answering { bound: self, caller }
    }
}

/// One call being answered.
struct Answering<R, H> {
    bound: Bound<R, H>,
    caller: Caller,
}

impl<R, F, H> UnaryService<R> for Answering<R, H>
where
    R: Rpc,
    F: Future<Output = Result<R::Reply, Status>> + Send + 'static,
    H: Fn(Arc<Gateway>, Caller, R) -> F + Clone + Send + Sync + 'static,
{
    type Response = R::Reply;
    type Future = futures::future::BoxFuture<'static, Result<Response<R::Reply>, Status>>;

    fn call(&mut self, request: Request<R>) -> Self::Future {
        let (gateway, caller, handle) =
            (self.bound.gateway.clone(), self.caller.clone(), self.bound.handle.clone());
        Box::pin(async move {
            let operation = R::CALL.method;
            let daemon = caller.label();
            metrics::counter!("database_requests_total", "operation" => operation, "caller_daemon" => daemon)
                .increment(1);
            let began = Instant::now();
            let outcome = match caller.may(&R::CALL) {
                Ok(()) if gateway.is_draining() && waits(operation) => Err(status::draining()),
                Ok(()) => handle(gateway, caller, request.into_inner()).await,
                Err(refusal) => Err(refusal),
            };
            metrics::histogram!("database_request_seconds", "operation" => operation)
                .record(began.elapsed().as_secs_f64());
            match outcome {
                Ok(reply) => {
                    #[expect(clippy::cast_precision_loss, reason = "replies are at most 4 MiB")]
                    let bytes = reply.encoded_len() as f64;
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
