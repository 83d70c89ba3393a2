//! The database tier as the command line reaches it.

use std::time::{Duration, Instant};

use serde_json::json;
use sf_config::NodeConfig;
use sf_gateway::{Caller, Gateway, GatewayOptions, HealthError, probe};

use crate::answer::{Answer, table};
use crate::failure::{Exit, Failure};

/// Time for one question, and between two.
const ATTEMPT: Duration = Duration::from_secs(1);
const PAUSE: Duration = Duration::from_millis(200);

/// A client that calls as `ctl`.
pub(crate) fn client(config: &NodeConfig) -> Result<Gateway, Failure> {
    let caller = Caller {
        daemon: "ctl".to_owned(),
        node: config.node_name.clone(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
    };
    Gateway::new(GatewayOptions { endpoints: config.gateway_endpoints(), caller })
        .map_err(|error| Failure::new(Exit::Config, error))
}

/// `gateway-health`: succeeds as soon as the named gateway, or every configured one, serves.
pub(crate) async fn health(
    host: Option<String>,
    timeout: Duration,
    config: impl FnOnce() -> Result<NodeConfig, Failure>,
) -> Result<Answer, Failure> {
    let endpoints = match host {
        None => config()?.gateway_endpoints(),
        Some(host) => {
            let port = config().map_or(13005, |c| c.mariadb_gateway_port);
            vec![sf_config::split_endpoint(&host, port)]
        }
    };
    let deadline = Instant::now() + timeout;
    let mut rows = Vec::new();
    let mut failed = None;
    for (host, port) in &endpoints {
        let outcome = until_serving(host, *port, deadline).await;
        let state = outcome.as_ref().map_or_else(ToString::to_string, |()| "SERVING".to_owned());
        rows.push((format!("{host}:{port}"), state));
        failed = failed.or(outcome.err());
    }
    if let Some(error) = failed {
        let exit = if matches!(error, HealthError::NotServing) { Exit::Unhealthy } else { Exit::Unreachable };
        let lines: Vec<String> =
            rows.iter().map(|(endpoint, state)| format!("{endpoint}: {state}")).collect();
        return Err(Failure::say(exit, lines.join("\n")));
    }
    let values: Vec<_> =
        rows.iter().map(|(endpoint, state)| json!({ "endpoint": endpoint, "state": state })).collect();
    let lines = rows.into_iter().map(|(endpoint, state)| vec![endpoint, state]);
    Ok(Answer::new(json!({ "gateways": values }), table(&["gateway", "state"], lines)))
}

/// Asks until the gateway serves or time is up; the last answer.
pub(crate) async fn until_serving(host: &str, port: u16, deadline: Instant) -> Result<(), HealthError> {
    loop {
        let outcome = probe(host, port, ATTEMPT).await;
        if outcome.is_ok() || Instant::now() + PAUSE >= deadline {
            return outcome;
        }
        tokio::time::sleep(PAUSE).await;
    }
}
