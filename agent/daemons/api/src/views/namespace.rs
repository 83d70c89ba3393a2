//! Namespaces (`rest-api.md` §2.7).

use serde::Serialize;
use serde_json::{Map, Value};
use sf_protos::namespaces::Namespace;

use super::{metadata, state};

/// A tenant.
#[derive(Debug, Serialize)]
pub struct NamespaceView {
    name: String,
    state: String,
    metadata: Map<String, Value>,
    version: u32,
    keys: Vec<String>,
    trust: Trust,
}

#[derive(Debug, Serialize)]
struct Trust {
    full: Vec<String>,
}

impl From<Namespace> for NamespaceView {
    fn from(namespace: Namespace) -> Self {
        Self {
            name: namespace.name,
            state: state(namespace.state.as_ref()),
            metadata: metadata(&namespace.metadata),
            version: namespace.version,
            keys: namespace.keys,
            trust: Trust { full: namespace.trusted },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::samples;
    use super::*;

    #[test]
    fn a_namespace_looks_like_this() {
        insta::assert_json_snapshot!(NamespaceView::from(samples::namespace()));
    }
}
