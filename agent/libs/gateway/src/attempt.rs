//! One attempt of a call at one gateway, and what its failure means for the next.

use std::time::Duration;

use bytes::Bytes;
use http::uri::PathAndQuery;
use rand::Rng;
use sf_protos::{Call, Encoded, MAX_MESSAGE};
use tonic::client::Grpc;
use tonic::{Code, Status};

use crate::caller::Caller;
use crate::endpoint::{Endpoint, State};
use crate::error::{DRAINING, OVERLOADED, RETRY_AFTER_KEY, error_info, is_transport};

const FIRST_BACKOFF: Duration = Duration::from_millis(50);
const MAX_BACKOFF: Duration = Duration::from_secs(1);

/// Sends `request` to `endpoint` with a deadline that the gateway is told.
pub(crate) async fn send(
    endpoint: &Endpoint,
    caller: &Caller,
    call: &Call,
    request: Bytes,
    limit: Duration,
) -> Result<Bytes, Status> {
    let answer = tokio::time::timeout(limit, unary(endpoint, caller, call, request, limit)).await;
    let outcome = answer.unwrap_or_else(|_| {
        Err(Status::deadline_exceeded(format!("{} did not answer in {limit:?}", endpoint.name)))
    });
    let result = outcome.as_ref().err().map_or(Code::Ok, Status::code);
    metrics::counter!("databaseclient_attempts_total", "endpoint" => endpoint.name.clone(), "result" => label(result))
        .increment(1);
    if let Err(status) = &outcome {
        suspect(endpoint, status);
    }
    outcome
}

async fn unary(
    endpoint: &Endpoint,
    caller: &Caller,
    call: &Call,
    message: Bytes,
    limit: Duration,
) -> Result<Bytes, Status> {
    let mut client = Grpc::new(endpoint.channel())
        .max_encoding_message_size(MAX_MESSAGE)
        .max_decoding_message_size(MAX_MESSAGE);
    client.ready().await.map_err(|e| Status::unavailable(format!("{}: {e}", endpoint.name)))?;
    let mut request = tonic::Request::new(message);
    request.set_timeout(limit);
    caller.write(request.metadata_mut());
    let path = PathAndQuery::from_static(call.path);
    client.unary(request, path, Encoded).await.map(tonic::Response::into_inner)
}

/// Whether another attempt may end better.
pub(crate) fn may_retry(status: &Status) -> bool {
    let info = error_info(status);
    match status.code() {
        Code::Unavailable | Code::Aborted | Code::DeadlineExceeded | Code::Cancelled => true,
        Code::ResourceExhausted => info.is_some_and(|i| i.reason == OVERLOADED),
        // Not said by a gateway: some other server, a proxy, or a broken connection.
        Code::NotFound | Code::Unimplemented => info.is_none(),
        Code::Unknown | Code::Internal => info.is_none() && is_transport(status),
        _ => false,
    }
}

/// The pause before attempt `number` (from 1), never shorter than an overloaded gateway asks for.
pub(crate) fn pause(number: u32, status: &Status) -> Duration {
    let ceiling = FIRST_BACKOFF.saturating_mul(2_u32.saturating_pow(number.min(10))).min(MAX_BACKOFF);
    let jittered = ceiling.mul_f64(rand::rng().random_range(0.0..1.0));
    let asked = status.metadata().get(RETRY_AFTER_KEY).and_then(|v| v.to_str().ok()?.parse().ok());
    asked.map_or(jittered, |millis| jittered.max(Duration::from_millis(millis).min(MAX_BACKOFF)))
}

fn suspect(endpoint: &Endpoint, status: &Status) {
    let reason = error_info(status).map(|i| i.reason);
    match (status.code(), reason.as_deref()) {
        (Code::Unavailable, Some(DRAINING)) => endpoint.set_state(State::Draining),
        (Code::Unavailable | Code::DeadlineExceeded, _) => endpoint.set_state(State::Suspect),
        (Code::Unknown | Code::Internal | Code::Cancelled, None) if is_transport(status) => {
            endpoint.set_state(State::Suspect);
        }
        _ => {}
    }
}

/// The name of a code as metrics carry it.
pub(crate) fn label(code: Code) -> &'static str {
    match code {
        Code::Ok => "ok",
        Code::Cancelled => "cancelled",
        Code::Unknown => "unknown",
        Code::InvalidArgument => "invalid_argument",
        Code::DeadlineExceeded => "deadline_exceeded",
        Code::NotFound => "not_found",
        Code::AlreadyExists => "already_exists",
        Code::PermissionDenied => "permission_denied",
        Code::ResourceExhausted => "resource_exhausted",
        Code::FailedPrecondition => "failed_precondition",
        Code::Aborted => "aborted",
        Code::OutOfRange => "out_of_range",
        Code::Unimplemented => "unimplemented",
        Code::Internal => "internal",
        Code::Unavailable => "unavailable",
        Code::DataLoss => "data_loss",
        Code::Unauthenticated => "unauthenticated",
    }
}
