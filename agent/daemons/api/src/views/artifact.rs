//! Artifacts (`rest-api.md` §2.4).

use serde::Serialize;
use serde_json::{Map, Value};
use sf_protos::artifacts::{Artifact, ArtifactVersion};

use super::{OpRef, metadata, op_ref, state};

/// A named index of blobs.
#[derive(Debug, Serialize)]
pub struct ArtifactView {
    uuid: String,
    state: String,
    metadata: Map<String, Value>,
    version: u32,
    name: String,
    artifact_type: String,
    source_url: String,
    namespace: String,
    shared: bool,
    max_versions: u32,
    /// Number of the newest version, 0 when there is none: clients format it as a number.
    index: u32,
    blob_uuid: Option<String>,
    /// By index in decimal.
    blobs: Map<String, Value>,
    instances: Vec<String>,
    has_pending_operations: bool,
    last_cluster_operation: Option<OpRef>,
    error_message: Option<String>,
}

#[derive(Debug, Serialize)]
struct IndexedBlob<'a> {
    uuid: &'a str,
    size: u64,
    reference_count: u32,
    depends_on: Option<&'a str>,
    instances: &'a [String],
}

impl From<Artifact> for ArtifactView {
    fn from(artifact: Artifact) -> Self {
        let newest = artifact.versions.iter().max_by_key(|version| version.index);
        Self {
            index: newest.map_or(0, |version| version.index),
            blob_uuid: newest.map(|version| version.blob_uuid.clone()),
            instances: newest.map(|version| version.instance_uuids.clone()).unwrap_or_default(),
            blobs: artifact.versions.iter().map(indexed).collect(),
            uuid: artifact.uuid,
            state: state(artifact.state.as_ref()),
            metadata: metadata(&artifact.metadata),
            version: artifact.version,
            name: artifact.name,
            artifact_type: artifact.artifact_type,
            source_url: artifact.source_url,
            namespace: artifact.namespace,
            shared: artifact.shared,
            max_versions: artifact.max_versions,
            has_pending_operations: artifact.has_pending_operations,
            last_cluster_operation: op_ref(artifact.last_operation.as_ref()),
            error_message: artifact.error_message,
        }
    }
}

fn indexed(version: &ArtifactVersion) -> (String, Value) {
    let blob = IndexedBlob {
        uuid: &version.blob_uuid,
        size: version.size,
        reference_count: version.reference_count,
        depends_on: version.depends_on.as_deref(),
        instances: &version.instance_uuids,
    };
    (version.index.to_string(), super::value(blob))
}

#[cfg(test)]
mod tests {
    use super::super::samples;
    use super::*;

    #[test]
    fn an_artifact_looks_like_this() {
        insta::assert_json_snapshot!("artifact", ArtifactView::from(samples::artifact()));
        let empty = Artifact { versions: Vec::new(), ..samples::artifact() };
        insta::assert_json_snapshot!("artifact_without_versions", ArtifactView::from(empty));
    }
}
