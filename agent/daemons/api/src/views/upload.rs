//! Uploads (`rest-api.md` §2.11).

use serde::Serialize;
use serde_json::{Map, Value};
use sf_protos::blobs::Upload;

use super::{seconds, state};

/// A staging object that collects bytes.
#[derive(Debug, Serialize)]
pub struct UploadView {
    uuid: String,
    state: String,
    metadata: Map<String, Value>,
    version: u32,
    node: String,
    created_at: f64,
    namespace: String,
    size: u64,
}

impl UploadView {
    /// An upload that holds `size` bytes. One being converted is shown as created.
    pub fn of(upload: Upload, size: u64) -> Self {
        let state = match state(upload.state.as_ref()).as_str() {
            "deleted" => "deleted",
            _ => "created",
        };
        Self {
            uuid: upload.uuid,
            state: state.to_owned(),
            metadata: Map::new(),
            version: 1,
            node: upload.node_name,
            created_at: seconds(upload.created_at.as_ref()).unwrap_or(0.0),
            namespace: upload.namespace,
            size,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::samples;
    use super::*;

    #[test]
    fn an_upload_looks_like_this() {
        insta::assert_json_snapshot!(UploadView::of(samples::upload(), 7));
    }
}
