//! `GET /clusteroperations`: the operations about one object.

use serde_json::Value;
use sf_model::ObjectType;
use sf_protos::operations::ListOperationsForTargetRequest;
use uuid::Uuid;

use crate::call::{Call, noun};
use crate::controllers::objects::operations::MOST;
use crate::controllers::objects::{Artifacts, Blobs, Instances, Interfaces, Kind, Networks, Nodes};
use crate::error::ApiError;
use crate::input::{Input, Request};
use crate::params::{Fault, string, uuid};
use crate::reply::{ApiResult, Reply};
use crate::views::OperationView;

/// About which object.
pub struct List {
    object_type: ObjectType,
    uuid: Uuid,
}

impl Request for List {
    fn read(input: &mut Input) -> Result<Self, Fault> {
        Ok(Self {
            object_type: input.fields.required("target_object_type", target_type)?,
            uuid: input.fields.required("target_uuid", uuid)?,
        })
    }
}

fn target_type(value: Value) -> Result<ObjectType, Fault> {
    let known = string(value)?.parse().ok();
    let can_be_target = |kind: &ObjectType| {
        matches!(
            kind,
            ObjectType::Instance
                | ObjectType::Network
                | ObjectType::Interface
                | ObjectType::Artifact
                | ObjectType::Blob
                | ObjectType::Node
        )
    };
    known.filter(can_be_target).ok_or_else(|| Fault::new("must be the type of an object that has operations"))
}

/// Answers the operations, newest first.
///
/// # Errors
/// 404 for an object the caller does not own.
pub async fn handle(call: Call, request: List) -> ApiResult {
    let target_uuid = request.uuid.to_string();
    let wanted = ListOperationsForTargetRequest {
        caller: call.wire(),
        target_type: request.object_type.to_string(),
        target_uuid: target_uuid.clone(),
        all: true,
        limit: MOST,
    };
    let operations = call.tier(wanted).await?.operations;
    if operations.is_empty() {
        // Operations outlive their targets, so only an empty list needs to be told from a foreign object.
        exists(&call, request.object_type, target_uuid).await?;
    }
    Ok(Reply::list(operations.into_iter().map(OperationView::from)))
}

async fn exists(call: &Call, object_type: ObjectType, uuid: String) -> Result<String, ApiError> {
    match object_type {
        ObjectType::Instance => Instances::resolve(call, uuid).await,
        ObjectType::Network => Networks::resolve(call, uuid).await,
        ObjectType::Interface => Interfaces::resolve(call, uuid).await,
        ObjectType::Artifact => Artifacts::resolve(call, uuid).await,
        ObjectType::Blob => Blobs::resolve(call, uuid).await,
        ObjectType::Node if call.caller.is_system() => Nodes::resolve(call, uuid).await,
        other => Err(ApiError::not_found(noun(other))),
    }
}
