//! `cluster status`: what the cluster says of itself.

use std::time::{Duration, Instant};

use clap::Subcommand;
use serde_json::{Value, json};
use sf_config::NodeConfig;
use sf_gateway::CallClass;
use sf_protos::config::{GetClusterConfigRequest, GetClusterVersionRequest};
use sf_protos::convert::unix_seconds;
use sf_protos::rollout::{ListRollFailuresRequest, RollFailure};

use super::{gateway, node};
use crate::answer::{Answer, table};
use crate::failure::Failure;

/// Time for a gateway to say whether it serves.
const PATIENCE: Duration = Duration::from_secs(2);

#[derive(Debug, Subcommand)]
pub(crate) enum ClusterCommand {
    /// Release, gateways, nodes, and rolls that failed.
    Status,
}

pub(crate) async fn execute(command: ClusterCommand, config: &NodeConfig) -> Result<Answer, Failure> {
    let ClusterCommand::Status = command;
    let client = gateway::client(config)?;
    let version = client.call(CallClass::Interactive, GetClusterVersionRequest {}).await?;
    let identity = GetClusterConfigRequest { daemon: "ctl".to_owned() };
    let identity = client.call(CallClass::Interactive, identity).await?.cluster_id;
    let nodes = node::list(&client).await?;
    let failures = client.call(CallClass::Interactive, ListRollFailuresRequest {}).await?.failures;
    let mut gateways = Vec::new();
    for (host, port) in config.gateway_endpoints() {
        let state = match gateway::until_serving(&host, port, Instant::now() + PATIENCE).await {
            Ok(()) => "SERVING".to_owned(),
            Err(error) => error.to_string(),
        };
        gateways.push((format!("{host}:{port}"), state));
    }
    let rows = gateways.iter().map(|(endpoint, state)| vec![endpoint.clone(), state.clone()]);
    let marks: String =
        failures.iter().map(|f| format!("\nfailed: sf-{} on {}: {}", f.daemon, f.node, f.reason)).collect();
    let text = format!(
        "release {}, schema {}, {} nodes\n{}{marks}",
        version.release,
        version.schema_version,
        nodes.len(),
        table(&["gateway", "state"], rows)
    );
    let fields = json!({
        "cluster_id": identity, "release": version.release, "upgrading_to": version.upgrading_to,
        "schema_version": version.schema_version,
        "gateways": gateways.iter().map(|(e, s)| json!({ "endpoint": e, "state": s })).collect::<Vec<_>>(),
        "nodes": nodes.iter().map(node::value).collect::<Vec<_>>(),
        "roll_failures": failures.iter().map(failure).collect::<Vec<_>>(),
    });
    Ok(Answer::new(fields, text))
}

fn failure(failure: &RollFailure) -> Value {
    json!({
        "daemon": failure.daemon, "target": failure.target, "node": failure.node, "reason": failure.reason,
        "failed_at": failure.failed_at.as_ref().map(unix_seconds),
    })
}
