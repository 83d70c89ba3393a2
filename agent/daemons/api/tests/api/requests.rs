//! For every route of the table: a path with parameters filled in, and a body that is valid as far as its form goes.

use http::Method;
use serde_json::{Value, json};
use sf_daemon_api::routes::Route;

/// A UUID that nothing has.
pub(crate) const NOBODY: &str = "11111111-2222-4333-8444-555555555555";

/// Objects of one tenant that the paths point at.
#[derive(Debug, Clone)]
pub(crate) struct Targets {
    pub(crate) namespace: String,
    pub(crate) network: String,
    pub(crate) instance: String,
    pub(crate) interface: String,
    pub(crate) artifact: String,
    pub(crate) operation: String,
}

impl Targets {
    /// Objects that do not exist.
    pub(crate) fn nobody() -> Self {
        let nobody = || NOBODY.to_owned();
        Self {
            namespace: "nobody".to_owned(),
            network: nobody(),
            instance: nobody(),
            interface: nobody(),
            artifact: nobody(),
            operation: nobody(),
        }
    }

    /// The path of a route with these objects.
    pub(crate) fn path(&self, route: &Route) -> String {
        self.path_of(route.path)
    }

    /// A path pattern with these objects.
    pub(crate) fn path_of(&self, pattern: &str) -> String {
        [
            ("{namespace}", self.namespace.as_str()),
            ("{network_ref}", &self.network),
            ("{instance_ref}", &self.instance),
            ("{interface_uuid}", &self.interface),
            ("{artifact_ref}", &self.artifact),
            ("{op_uuid}", &self.operation),
            ("{op_type}", "net_op"),
            ("{blob_uuid}", NOBODY),
            ("{upload_uuid}", NOBODY),
            ("{node}", NOBODY),
            ("{address}", "10.9.0.5"),
            ("{algorithm}", "sha512"),
            ("{hash}", &"a".repeat(128)),
            ("{key_name}", "nokey"),
            ("{external_namespace}", "t2"),
            ("{artifact_name}", "thing"),
            ("{index}", "1"),
            ("{offset}", "0"),
            ("{key}", "note"),
        ]
        .iter()
        .fold(pattern.to_owned(), |path, (parameter, value)| path.replace(parameter, value))
    }

    /// A body of a route that passes validation.
    pub(crate) fn body(&self, route: &Route) -> Value {
        match (route.method.clone(), route.path) {
            (Method::POST, "/auth") => json!({"namespace": "t1", "key": "wrong-secret"}),
            (Method::POST, "/auth/namespaces") => json!({"namespace": "new"}),
            (Method::POST | Method::PUT, "/auth/namespaces/{namespace}/keys") => {
                json!({"key_name": "nokey", "key": "long enough"})
            }
            (Method::PUT, "/auth/namespaces/{namespace}/keys/{key_name}") => json!({"key": "long enough"}),
            (Method::POST, "/auth/namespaces/{namespace}/trust") => json!({"external_namespace": "t2"}),
            (Method::POST, "/instances") => {
                json!({"name": "web", "cpus": 1, "memory": 256, "disk": [{"size": 1}]})
            }
            (Method::POST, "/networks") => json!({"name": "lan", "netblock": "10.8.0.0/24"}),
            (Method::DELETE, "/instances" | "/networks" | "/artifacts") => {
                json!({"confirm": true, "namespace": self.namespace})
            }
            (Method::POST, "/artifacts") => json!({"url": "http://example.com/x"}),
            (Method::POST, "/artifacts/upload/{artifact_name}") => json!({"upload_uuid": NOBODY}),
            (Method::GET, "/clusteroperations") => {
                json!({"target_object_type": "network", "target_uuid": self.network})
            }
            (Method::POST, path) if path.ends_with("/metadata") => json!({"key": "note", "value": 1}),
            (Method::PUT, path) if path.ends_with("/metadata/{key}") => json!({"value": 1}),
            _ => json!({}),
        }
    }
}
