//! `POST /upload`: an empty upload on this node.

use std::net::SocketAddr;

use sf_blobs::client::Peer;
use sf_model::{ObjectType, UploadId};
use sf_protos::blobs::CreateUploadRequest;

use crate::call::Call;
use crate::input::{Input, Request};
use crate::nodes::storage_error;
use crate::params::{Fault, uint};
use crate::reply::{ApiResult, Reply};
use crate::views::UploadView;

/// How much will come, if known.
pub struct Create {
    size_hint: Option<u64>,
}

impl Request for Create {
    fn read(input: &mut Input) -> Result<Self, Fault> {
        Ok(Self { size_hint: input.fields.optional("size_hint", uint)? })
    }
}

/// Answers the upload.
///
/// # Errors
/// 507 when the disk is full.
pub async fn handle(call: Call, request: Create) -> ApiResult {
    let daemon = &call.api.daemon;
    let upload = UploadId::random();
    let here = SocketAddr::new(daemon.config.node_mesh_ip, daemon.config.transfers_port);
    let peer = Peer { node: daemon.node.uuid, address: here };
    // The file first: a file without a row is swept away, a row without a file would be a lost upload.
    let plane = call.api.nodes.data_plane(&call.api)?;
    plane
        .create_upload(peer, upload)
        .await
        .map_err(|error| storage_error(&error, "upload", &daemon.node.name))?;
    let wanted = CreateUploadRequest {
        context: None,
        upload_uuid: upload.to_string(),
        namespace: call.caller.namespace.clone(),
        node_uuid: daemon.node.uuid.to_string(),
        size_hint: request.size_hint,
    };
    let made = call.tier(wanted).await?.upload.unwrap_or_default();
    call.audit(ObjectType::Upload, upload, "upload created");
    call.api.upload_owners.remember(&call, upload, &made)?;
    Ok(Reply::view(UploadView::of(made, 0)))
}
