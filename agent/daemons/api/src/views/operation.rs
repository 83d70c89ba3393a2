//! Cluster operations (`rest-api.md` §2.10).

use serde::Serialize;
use serde_json::Value;
use sf_protos::operations::Operation;

use super::{OpRef, op_ref, seconds};

/// A piece of asynchronous work.
#[derive(Debug, Serialize)]
pub struct OperationView {
    uuid: String,
    operation_type: String,
    state: String,
    tasks: Vec<String>,
    created_at: f64,
    updated_at: f64,
    namespace: Option<String>,
    targets: Vec<Target>,
    depends_on: Vec<OpRef>,
    request_id: Option<String>,
    error: Option<Failure>,
    #[serde(skip_serializing_if = "Option::is_none")]
    instance_uuid: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    network_uuid: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    artifact_uuid: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    node_uuid: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    url: Option<String>,
}

#[derive(Debug, Serialize)]
struct Target {
    object_type: String,
    uuid: String,
}

#[derive(Debug, Serialize)]
struct Failure {
    message: String,
    code: String,
}

impl From<Operation> for OperationView {
    fn from(operation: Operation) -> Self {
        let arguments: Value = serde_json::from_str(&operation.arguments_json).unwrap_or_default();
        let argument = |name: &str| arguments.get(name).and_then(Value::as_str).map(str::to_owned);
        let target = |kind: &str| {
            operation.targets.iter().find(|target| target.object_type == kind).map(|t| t.object_id.clone())
        };
        Self {
            instance_uuid: target("instance"),
            network_uuid: target("network"),
            artifact_uuid: target("artifact"),
            url: argument("url"),
            node_uuid: operation.node_uuid,
            uuid: operation.uuid,
            operation_type: operation.operation_type,
            state: operation.state,
            tasks: operation.tasks,
            created_at: seconds(operation.created_at.as_ref()).unwrap_or(0.0),
            updated_at: seconds(operation.updated_at.as_ref()).unwrap_or(0.0),
            namespace: operation.namespace,
            targets: operation
                .targets
                .into_iter()
                .map(|target| Target { object_type: target.object_type, uuid: target.object_id })
                .collect(),
            depends_on: operation.depends_on.iter().filter_map(|handle| op_ref(Some(handle))).collect(),
            request_id: operation.request_id,
            error: operation.error.map(|error| Failure { message: error.message, code: error.code }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::samples;
    use super::*;

    #[test]
    fn an_operation_looks_like_this() {
        insta::assert_json_snapshot!("operation", OperationView::from(samples::operation()));
        insta::assert_json_snapshot!("operation_bare", OperationView::from(Operation::default()));
    }
}
