//! Changes by the owner: versions, their limit, sharing.

use sf_model::access::SYSTEM_NAMESPACE;
use sf_model::event::EventType;
use sf_model::{ObjectRef, ObjectType};
use sf_protos::artifacts::{
    AddArtifactVersionReply, AddArtifactVersionRequest, DeleteArtifactVersionReply,
    DeleteArtifactVersionRequest, SetMaxVersionsReply, SetMaxVersionsRequest, SetSharedReply,
    SetSharedRequest,
};

use super::hold::{self, NewArtifact};
use super::{NOT_SHAREABLE, delete, resolve, versions, view};
use crate::blobs;
use crate::conn::Conn;
use crate::context::TxContext;
use crate::error::{StoreError, StoreResult};
use crate::lookup::Viewer;
use crate::sql::sql;
use crate::wire::parse;

/// Makes an existing blob a version of an artifact that is found or made.
///
/// # Errors
/// [`StoreError::Missing`] for a blob the caller may not read, or a namespace it may not create in.
pub async fn add_version_call(
    conn: &mut Conn,
    ctx: &TxContext,
    request: &AddArtifactVersionRequest,
) -> StoreResult<AddArtifactVersionReply> {
    let viewer = Viewer::new(request.caller.as_ref())?;
    let blob = parse("blob_uuid", &request.blob_uuid)?;
    blobs::require_reachable(conn, &viewer, blob).await?;
    let new = NewArtifact {
        uuid: parse("artifact_uuid", &request.artifact_uuid)?,
        namespace: &request.namespace,
        artifact_type: &request.artifact_type,
        source_url: &request.source_url,
        name: &request.name,
        shared: request.shared,
    };
    let held = hold::take_for_writing(conn, ctx, &viewer, &new).await?;
    let index = versions::add_version(conn, ctx, &held, blob).await?;
    let artifact = view::one(conn, &viewer, held.uuid).await?;
    Ok(AddArtifactVersionReply { artifact: Some(artifact), index })
}

/// Removes one version; the last one takes the artifact with it.
///
/// # Errors
/// [`StoreError::Missing`]; a precondition `no-such-index`.
pub async fn delete_version(
    conn: &mut Conn,
    ctx: &TxContext,
    request: &DeleteArtifactVersionRequest,
) -> StoreResult<DeleteArtifactVersionReply> {
    let viewer = Viewer::new(request.caller.as_ref())?;
    let id = resolve(conn, &viewer, request.selector.as_ref(), true).await?;
    let held = hold::live(conn, id).await?;
    let present = versions::live(conn, &held).await?;
    let version = present.iter().find(|v| v.idx == request.index).ok_or_else(versions::no_such_index)?;
    if present.len() == 1 {
        delete::delete_one(conn, ctx, id).await?;
    } else {
        versions::remove(conn, &held, version).await?;
        let message = format!("version {} deleted", version.idx);
        ctx.event(EventType::Audit, message, &[ObjectRef::new(ObjectType::Artifact, id)]);
        versions::usage(conn, ctx, &held).await?;
    }
    Ok(DeleteArtifactVersionReply { artifact: Some(view::one(conn, &viewer, id).await?) })
}

/// Sets how many versions are kept and prunes at once; zero means the configured default.
///
/// # Errors
/// [`StoreError::Missing`].
pub async fn set_max_versions(
    conn: &mut Conn,
    ctx: &TxContext,
    request: &SetMaxVersionsRequest,
) -> StoreResult<SetMaxVersionsReply> {
    let viewer = Viewer::new(request.caller.as_ref())?;
    let id = resolve(conn, &viewer, request.selector.as_ref(), true).await?;
    let held = hold::live(conn, id).await?;
    let limit = match request.max_versions {
        0 => ctx.settings.artifact_max_versions_default,
        given => given,
    };
    sql("UPDATE artifacts SET max_versions = ?, row_version = row_version + 1 WHERE uuid = ?")
        .bind(limit)
        .bind(id)
        .run(conn)
        .await?;
    versions::prune(conn, ctx, &held, limit).await?;
    let message = format!("maximum number of versions set to {limit}");
    ctx.event(EventType::Audit, message, &[ObjectRef::new(ObjectType::Artifact, id)]);
    versions::usage(conn, ctx, &held).await?;
    Ok(SetMaxVersionsReply { artifact: Some(view::one(conn, &viewer, id).await?) })
}

/// Shares an artifact of `system` with everybody, or takes that back.
///
/// # Errors
/// [`StoreError::Missing`]; [`StoreError::Refused`] `not-shareable`.
pub async fn set_shared(
    conn: &mut Conn,
    ctx: &TxContext,
    request: &SetSharedRequest,
) -> StoreResult<SetSharedReply> {
    let viewer = Viewer::new(request.caller.as_ref())?;
    let id = resolve(conn, &viewer, request.selector.as_ref(), true).await?;
    let held = hold::live(conn, id).await?;
    let problem = match (request.shared, held.shared) {
        (true, _) if held.namespace != SYSTEM_NAMESPACE => {
            Some("only artifacts of the system namespace may be shared")
        }
        (false, false) => Some("the artifact is not shared"),
        _ => None,
    };
    if let Some(message) = problem {
        return Err(StoreError::Refused { reason: NOT_SHAREABLE, message: message.to_owned() });
    }
    if request.shared != held.shared {
        hold::share(conn, &held, request.shared).await?;
        let message = if request.shared { "artifact shared" } else { "artifact no longer shared" };
        ctx.event(EventType::Audit, message, &[ObjectRef::new(ObjectType::Artifact, id)]);
    }
    Ok(SetSharedReply { artifact: Some(view::one(conn, &viewer, id).await?) })
}
