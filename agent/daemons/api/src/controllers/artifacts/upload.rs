//! `POST /artifacts/upload/{artifact_name}`: a version from an upload or from a blob that exists.

use prost::Message;
use serde_json::Value;
use sf_model::disk::ArtifactType;
use sf_model::{ArtifactId, BlobId, UploadId, name};
use sf_protos::artifacts::{AddArtifactVersionRequest, Artifact};
use sf_protos::blobs::UploadTarget;

use super::cache::{may_share, url};
use super::get::changed;
use crate::call::Call;
use crate::caller::Caller;
use crate::error::ApiError;
use crate::input::{Input, Request};
use crate::nodes::{no_answer, storage_error};
use crate::params::{Fault, boolean, string, text_of, uuid};
use crate::reply::ApiResult;

/// Where the bytes are.
enum Bytes {
    Upload(UploadId),
    Blob(BlobId),
}

/// A new version.
pub struct Upload {
    name: String,
    bytes: Bytes,
    source_url: Option<String>,
    shared: bool,
    namespace: Option<String>,
    artifact_type: String,
}

impl Request for Upload {
    fn read(input: &mut Input) -> Result<Self, Fault> {
        let name = input.path("artifact_name", text_of(name::artifact))?;
        let fields = &mut input.fields;
        let upload = fields.optional("upload_uuid", uuid)?;
        let blob = fields.optional("blob_uuid", uuid)?;
        let bytes = match (upload, blob) {
            (Some(upload), None) => Bytes::Upload(upload),
            (None, Some(blob)) => Bytes::Blob(blob),
            _ => return Err(Fault::new("exactly one of upload_uuid and blob_uuid is required")),
        };
        Ok(Self {
            name,
            bytes,
            source_url: fields.blankable("source_url", url)?,
            shared: fields.or("shared", false, boolean)?,
            namespace: fields.blankable("namespace", text_of(name::namespace))?,
            artifact_type: fields.or("artifact_type", "image".to_owned(), artifact_type)?,
        })
    }
}

fn artifact_type(value: Value) -> Result<String, Fault> {
    let text = string(value)?;
    if text.parse::<ArtifactType>().is_ok() { Ok(text) } else { Err(Fault::new("must be image or other")) }
}

/// Answers the artifact with its new version.
///
/// # Errors
/// 403 for other types and for sharing; 404 for upload, blob or namespace; 400 for an image that is not safe.
pub async fn handle(call: Call, request: Upload) -> ApiResult {
    if !matches!(request.artifact_type.as_str(), "image" | "other") {
        return Err(ApiError::forbidden("only artifacts of type image and other can be uploaded"));
    }
    may_share(&call, request.shared)?;
    let namespace = call.target_namespace(request.namespace, Caller::may_create_in)?;
    let source_url = request
        .source_url
        .unwrap_or_else(|| format!("sf://upload/{}/{}", call.caller.namespace, request.name));
    let target = UploadTarget {
        upload_uuid: String::new(),
        caller: call.wire(),
        artifact_uuid: ArtifactId::random().to_string(),
        namespace,
        artifact_type: request.artifact_type,
        source_url,
        name: request.name,
        shared: request.shared,
    };
    let artifact = match request.bytes {
        Bytes::Upload(upload) => from_upload(&call, upload, target).await?,
        Bytes::Blob(blob) => from_blob(&call, blob, target).await?,
    };
    Ok(changed(&call, artifact, "version added"))
}

/// The owner of the upload turns its file into a blob: a rename and one transaction.
async fn from_upload(
    call: &Call,
    upload: UploadId,
    target: UploadTarget,
) -> Result<Option<Artifact>, ApiError> {
    let owner = call.api.upload_owners.find(call, upload).await?;
    let target = UploadTarget { upload_uuid: upload.to_string(), ..target };
    let plane = call.api.nodes.data_plane(&call.api)?;
    let answer = plane
        .commit_upload(owner.peer, upload, target.encode_to_vec())
        .await
        .map_err(|error| storage_error(&error, "upload", &owner.node_name))?;
    let artifact = Artifact::decode(answer).map_err(|_| no_answer(&owner.node_name))?;
    Ok(Some(artifact))
}

async fn from_blob(call: &Call, blob: BlobId, target: UploadTarget) -> Result<Option<Artifact>, ApiError> {
    let wanted = AddArtifactVersionRequest {
        context: None,
        caller: call.wire(),
        artifact_uuid: target.artifact_uuid,
        namespace: target.namespace,
        artifact_type: target.artifact_type,
        source_url: target.source_url,
        name: target.name,
        shared: target.shared,
        blob_uuid: blob.to_string(),
    };
    Ok(call.tier(wanted).await?.artifact)
}
