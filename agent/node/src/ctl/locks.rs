//! Locks and queues, through the gateway.

use serde_json::json;
use sf_config::NodeConfig;
use sf_gateway::CallClass;
use sf_protos::convert::unix_seconds;
use sf_protos::locks::ListLocksRequest;
use sf_protos::operations::GetQueueDepthsRequest;

use super::gateway;
use crate::answer::{Answer, table};
use crate::failure::Failure;

/// `list-locks`.
pub(crate) async fn list(config: &NodeConfig) -> Result<Answer, Failure> {
    let reply = gateway::client(config)?.call(CallClass::Background, ListLocksRequest {}).await?;
    let mut values = Vec::new();
    let mut rows = Vec::new();
    for lock in reply.locks {
        let holder = lock.holder.unwrap_or_default();
        let expires = lock.expires_at.as_ref().map(unix_seconds).unwrap_or_default();
        values.push(json!({
            "lock": lock.lock_name, "node": holder.node, "daemon": holder.daemon, "pid": holder.pid,
            "operation": holder.operation, "fence": lock.fence, "expires_at": expires,
            "acquired_at": lock.acquired_at.as_ref().map(unix_seconds),
            "refreshed_at": lock.refreshed_at.as_ref().map(unix_seconds),
        }));
        let operation = holder.operation.unwrap_or_default();
        rows.push(vec![
            lock.lock_name,
            holder.node,
            holder.daemon,
            holder.pid.to_string(),
            operation,
            when(expires),
        ]);
    }
    let text = table(&["lock", "node", "daemon", "pid", "operation", "expires"], rows);
    Ok(Answer::new(json!({ "locks": values }), text))
}

/// `queue-status`.
pub(crate) async fn queues(config: &NodeConfig) -> Result<Answer, Failure> {
    let reply = gateway::client(config)?.call(CallClass::Background, GetQueueDepthsRequest {}).await?;
    let mut values = Vec::new();
    let mut rows = Vec::new();
    for depth in reply.depths {
        values.push(json!({
            "family": depth.family, "priority": depth.priority, "condition": depth.condition, "rows": depth.rows,
            "oldest_age_seconds": depth.oldest_age_seconds, "node": depth.node_uuid,
        }));
        rows.push(vec![
            depth.family,
            depth.node_uuid.unwrap_or_else(|| "any".to_owned()),
            depth.priority.to_string(),
            depth.condition,
            depth.rows.to_string(),
            format!("{:.1} s", depth.oldest_age_seconds),
        ]);
    }
    let text = table(&["queue", "node", "priority", "condition", "rows", "oldest"], rows);
    Ok(Answer::new(json!({ "queues": values }), text))
}

/// Seconds since the epoch as people read them.
pub(super) fn when(seconds: f64) -> String {
    #[expect(clippy::cast_possible_truncation, reason = "times of our own clocks")]
    let time = chrono::DateTime::from_timestamp_micros((seconds * 1e6) as i64);
    time.map(|t| t.format("%Y-%m-%d %H:%M:%S").to_string()).unwrap_or_default()
}
