//! The client itself.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use prost::Message;
use rand::Rng;
use sf_protos::common::MutationContext;
use sf_protos::{Call, Rpc};
use tonic::{Code, Status};

use crate::attempt;
use crate::caller::Caller;
use crate::class::CallClass;
use crate::endpoint::Endpoint;
use crate::error::DbError;
use crate::health;
use crate::names;
use crate::picker::Picker;

/// An attempt shorter than this cannot succeed and is not made.
const LEAST_ATTEMPT: Duration = Duration::from_millis(20);

/// How to reach the database tier.
#[derive(Debug, Clone)]
pub struct GatewayOptions {
    /// Gateways as host and port.
    pub endpoints: Vec<(String, u16)>,
    /// Who calls.
    pub caller: Caller,
}

/// The client of the database tier. Cheap to clone; all clones share connections and health.
#[derive(Clone)]
pub struct Gateway {
    inner: Arc<Inner>,
}

struct Inner {
    picker: Picker,
    caller: Caller,
}

impl Gateway {
    /// A client. Nothing is connected until the first call; health is checked from now on, for as long as a clone of
    /// the client lives. Must be called within a runtime.
    ///
    /// # Errors
    /// An endpoint is not a host and port.
    pub fn new(options: GatewayOptions) -> Result<Self, tonic::transport::Error> {
        let endpoints: Vec<Arc<Endpoint>> = options
            .endpoints
            .iter()
            .map(|(host, port)| Endpoint::new(host, *port, names::system()).map(Arc::new))
            .collect::<Result<_, _>>()?;
        endpoints.iter().for_each(health::watch);
        endpoints.iter().for_each(names::watch);
        let start = rand::rng().random_range(0..endpoints.len().max(1));
        Ok(Self { inner: Arc::new(Inner { picker: Picker::new(endpoints, start), caller: options.caller }) })
    }

    /// Makes a call and tries again elsewhere while that may help and the budget of `class` lasts.
    ///
    /// # Errors
    /// See [`DbError`].
    pub async fn call<R: Rpc>(&self, class: CallClass, request: R) -> Result<R::Reply, DbError> {
        self.call_status(class, request).await.map_err(|status| DbError::from_status(R::CALL.method, &status))
    }

    /// As [`Gateway::call`], with the status of the last attempt as the error.
    pub(crate) async fn call_status<R: Rpc>(
        &self,
        class: CallClass,
        mut request: R,
    ) -> Result<R::Reply, Status> {
        // Once per logical call: the gateway recognises a repeated attempt by it.
        request.fill_context(|| self.mutation());
        let began = Instant::now();
        let outcome = self.exchange(class, R::CALL, request.encode_to_vec().into(), began).await;
        let outcome = outcome.and_then(|reply| {
            R::Reply::decode(reply)
                .map_err(|error| Status::internal(format!("the reply cannot be read: {error}")))
        });
        measure(R::CALL.method, began, outcome.as_ref().err());
        outcome
    }

    /// The same for any call, with messages as they travel. Boxed, so that no caller compiles what is within.
    fn exchange(
        &self,
        class: CallClass,
        call: Call,
        request: Bytes,
        began: Instant,
    ) -> BoxFuture<'_, Result<Bytes, Status>> {
        async move { self.attempts(class, &call, &request, began + class.total()).await }.boxed()
    }

    async fn attempts(
        &self,
        class: CallClass,
        call: &Call,
        request: &Bytes,
        deadline: Instant,
    ) -> Result<Bytes, Status> {
        let mut previous: Option<Arc<Endpoint>> = None;
        let mut number = 0;
        loop {
            let name = previous.as_ref().map(|e| e.name.as_str());
            let endpoint = self
                .inner
                .picker
                .pick(name)
                .ok_or_else(|| Status::unavailable("no gateway is configured"))?;
            let limit = class.attempt().min(deadline.saturating_duration_since(Instant::now()));
            let status =
                match attempt::send(&endpoint, &self.inner.caller, call, request.clone(), limit).await {
                    Ok(reply) => return Ok(reply),
                    Err(status) => status,
                };
            if !class.retries() || !attempt::may_retry(&status) {
                return Err(status);
            }
            number += 1;
            let pause = attempt::pause(number, &status);
            if Instant::now() + pause + LEAST_ATTEMPT >= deadline {
                return Err(status);
            }
            tokio::time::sleep(pause).await;
            previous = Some(endpoint);
        }
    }

    /// A context for one mutation, to which a fence or events may be added. Requests without one get one by themselves.
    pub fn mutation(&self) -> MutationContext {
        self.inner.caller.mutation()
    }

    /// Who calls.
    pub fn caller(&self) -> &Caller {
        &self.inner.caller
    }

    /// Whether at least one gateway said within `age` that it serves.
    pub fn is_serving(&self, age: Duration) -> bool {
        let fresh = |endpoint: &Arc<Endpoint>| endpoint.last_serving().is_some_and(|at| at.elapsed() <= age);
        self.inner.picker.endpoints().iter().any(fresh)
    }
}

/// Counts how a call ended.
fn measure(operation: &'static str, began: Instant, failure: Option<&Status>) {
    let result = attempt::label(failure.map_or(Code::Ok, Status::code));
    metrics::counter!("databaseclient_requests_total", "operation" => operation, "result" => result)
        .increment(1);
    metrics::histogram!("databaseclient_request_seconds", "operation" => operation)
        .record(began.elapsed().as_secs_f64());
    if let Some(status) = failure {
        tracing::debug!(operation, code = ?status.code(), message = status.message(), "gateway call failed");
    }
}
