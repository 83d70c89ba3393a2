//! Asking gateways whether they serve.

use std::sync::{Arc, Weak};
use std::time::Duration;

use rand::Rng;
use tonic::transport::Channel;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

use crate::endpoint::{self, Endpoint, State};

/// Time between checks of a healthy gateway, and the longest between checks of another.
const INTERVAL: Duration = Duration::from_secs(5);
const FIRST_BACKOFF: Duration = Duration::from_millis(500);
const LIMIT: Duration = Duration::from_secs(1);

/// Why a gateway does not count as healthy.
#[derive(Debug, thiserror::Error)]
pub enum HealthError {
    /// The address makes no sense.
    #[error("not a gateway address: {0}")]
    Address(#[from] tonic::transport::Error),
    /// No answer in time.
    #[error("no answer within {0:?}")]
    Silent(Duration),
    /// The gateway cannot be asked.
    #[error("the gateway cannot be asked: {0}")]
    Unreachable(String),
    /// The gateway answers that it does not serve: MariaDB is unreachable or read-only, or it is ending.
    #[error("the gateway answers but does not serve: it has no writable database, or it is about to end")]
    NotServing,
}

/// Asks one gateway once.
///
/// # Errors
/// Anything but "serving" within `limit`.
pub async fn probe(host: &str, port: u16, limit: Duration) -> Result<(), HealthError> {
    check(endpoint::transport(host, port)?.connect_lazy(), limit).await
}

/// Checks an endpoint for as long as somebody holds it.
pub(crate) fn watch(endpoint: &Arc<Endpoint>) {
    let endpoint = Arc::downgrade(endpoint);
    tokio::spawn(async move {
        // A random start keeps many clients out of step.
        let mut pause = Duration::from_millis(rand::rng().random_range(0..500));
        loop {
            tokio::time::sleep(pause).await;
            let Some(next) = check_once(&endpoint, pause).await else { return };
            pause = next;
        }
    });
}

/// One check; the time until the next. `None` when the endpoint is gone.
async fn check_once(endpoint: &Weak<Endpoint>, before: Duration) -> Option<Duration> {
    let endpoint = endpoint.upgrade()?;
    match check(endpoint.channel(), LIMIT).await {
        Ok(()) => {
            endpoint.served_now();
            endpoint.set_state(State::Ready);
            Some(INTERVAL)
        }
        Err(error) => {
            tracing::debug!(endpoint = %endpoint.name, %error, "gateway check failed");
            if endpoint.state() == State::Ready {
                endpoint.set_state(State::Suspect);
                return Some(FIRST_BACKOFF);
            }
            Some((before * 2).clamp(FIRST_BACKOFF, INTERVAL))
        }
    }
}

pub(crate) async fn check(channel: Channel, limit: Duration) -> Result<(), HealthError> {
    let mut client = HealthClient::new(channel);
    let mut request = tonic::Request::new(HealthCheckRequest { service: String::new() });
    request.set_timeout(limit);
    let reply = tokio::time::timeout(limit, client.check(request))
        .await
        .map_err(|_| HealthError::Silent(limit))?
        .map_err(|status| HealthError::Unreachable(status.message().to_owned()))?;
    if reply.into_inner().status() == ServingStatus::Serving { Ok(()) } else { Err(HealthError::NotServing) }
}
