//! Blobs (`rest-api.md` §2.5). Some keys contain spaces; clients read them so.

use serde::Serialize;
use serde_json::{Map, Value};
use sf_protos::blobs::Blob;

use super::{metadata, seconds, state};

/// An immutable run of bytes.
#[derive(Debug, Serialize)]
pub struct BlobView {
    uuid: String,
    state: String,
    metadata: Map<String, Value>,
    version: u32,
    size: u64,
    modified: Option<f64>,
    fetched_at: Option<f64>,
    last_used: Option<f64>,
    depends_on: Option<String>,
    transcodes: Map<String, Value>,
    locations: Vec<String>,
    reference_count: u32,
    sha512: Option<String>,
    checksums: Map<String, Value>,
    instances: Vec<String>,
    #[serde(rename = "mime-type")]
    mime_type: Option<String>,
    #[serde(rename = "mime type")]
    mime_type_with_space: Option<String>,
    #[serde(rename = "file format")]
    file_format: Option<String>,
    safety: String,
    #[serde(rename = "virtual size", skip_serializing_if = "Option::is_none")]
    virtual_size: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cluster_size: Option<u64>,
    #[serde(flatten)]
    details: Map<String, Value>,
}

/// A blob as a version of an artifact.
#[derive(Debug, Serialize)]
pub struct VersionView {
    index: u32,
    #[serde(flatten)]
    blob: BlobView,
}

impl VersionView {
    /// The version `index` of an artifact.
    pub fn of(index: u32, blob: Blob) -> Self {
        Self { index, blob: blob.into() }
    }
}

impl From<Blob> for BlobView {
    fn from(blob: Blob) -> Self {
        let facts = blob.facts.unwrap_or_default();
        let checksums: Map<String, Value> =
            blob.hashes.into_iter().map(|hash| (hash.algorithm, Value::String(hash.value))).collect();
        let transcodes = blob.transcodes.into_iter().map(|t| (t.style, Value::String(t.blob_uuid))).collect();
        Self {
            uuid: blob.uuid,
            state: state(blob.state.as_ref()),
            metadata: metadata(&blob.metadata),
            version: blob.version,
            size: blob.size,
            modified: seconds(blob.modified.as_ref()),
            fetched_at: seconds(blob.fetched_at.as_ref()),
            last_used: seconds(blob.last_used.as_ref()),
            depends_on: blob.depends_on,
            transcodes,
            locations: blob.locations,
            reference_count: blob.reference_count,
            sha512: checksums.get("sha512").and_then(Value::as_str).map(str::to_owned),
            checksums,
            instances: blob.instance_uuids,
            mime_type_with_space: facts.mime_type.clone(),
            mime_type: facts.mime_type,
            file_format: facts.format,
            safety: if facts.safety.is_empty() { "unchecked".to_owned() } else { facts.safety },
            virtual_size: facts.virtual_size,
            cluster_size: facts.cluster_size,
            details: details(facts.info_json.as_deref()),
        }
    }
}

/// Image details clients know by name; anything else the parser found stays inside.
fn details(info_json: Option<&str>) -> Map<String, Value> {
    const SHOWN: [&str; 4] = ["compat", "compression type", "disk size", "extended l2"];
    let info: Map<String, Value> =
        info_json.and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
    info.into_iter().filter(|(key, _)| SHOWN.contains(&key.as_str())).collect()
}

#[cfg(test)]
mod tests {
    use super::super::samples;
    use super::*;

    #[test]
    fn a_blob_looks_like_this() {
        insta::assert_json_snapshot!("blob", BlobView::from(samples::blob()));
        insta::assert_json_snapshot!("blob_unknown", BlobView::from(Blob::default()));
        insta::assert_json_snapshot!("blob_version", VersionView::of(4, Blob::default()));
    }
}
