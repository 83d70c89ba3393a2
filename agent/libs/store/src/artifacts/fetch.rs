//! Asking for an image to be fetched.

use sf_model::operation::{OperationArgs, Priority};
use sf_model::{ArtifactId, NodeId, ObjectType, OperationId};
use sf_protos::artifacts::{RequestFetchReply, RequestFetchRequest};
use sf_protos::common::OperationHandle;

use super::hold::{self, Held, NewArtifact};
use super::{default_name, view};
use crate::conn::Conn;
use crate::context::TxContext;
use crate::error::{StoreError, StoreResult};
use crate::lookup::Viewer;
use crate::operations::{self, EnqueueOperation};
use crate::sql::sql;
use crate::wire::parse;

/// Reason of a refusal because no node has a store: answered with 503.
pub const NO_STORE: &str = "no-store";

/// Finds or makes the image of an address and queues its fetch; a fetch that is queued already is joined.
///
/// # Errors
/// [`StoreError::Missing`] for a namespace the caller may not create in, or somebody else's image;
/// [`StoreError::Refused`] for sharing; a precondition `no-store`.
pub async fn request_fetch(
    conn: &mut Conn,
    ctx: &TxContext,
    request: &RequestFetchRequest,
) -> StoreResult<RequestFetchReply> {
    let viewer = Viewer::new(request.caller.as_ref())?;
    let held = take(
        conn,
        ctx,
        &viewer,
        &request.namespace,
        &request.url,
        parse("artifact_uuid", &request.artifact_uuid)?,
        request.shared,
    )
    .await?;
    let node = fetch_node(conn, ctx, held.uuid)
        .await?
        .ok_or_else(|| StoreError::precondition(NO_STORE, "no node with a blob store is up"))?;
    let operation = EnqueueOperation {
        uuid: parse::<OperationId>("operation_uuid", &request.operation_uuid)?,
        node,
        namespace: Some(held.namespace.clone()),
        priority: Priority::UserFacing,
        args: OperationArgs::ArtifactFetch { artifact: held.uuid, url: request.url.clone(), instance: None },
        dependencies: Vec::new(),
        deadline_seconds: 0,
        observational: false,
    };
    let queued = operations::enqueue(conn, ctx, &[operation]).await?.into_iter().next();
    Ok(RequestFetchReply {
        artifact: Some(view::one(conn, &viewer, held.uuid).await?),
        operation: queued.map(|queued| OperationHandle {
            op_type: sf_model::operation::OperationType::ArtifactFetch.to_string(),
            op_uuid: queued.uuid.to_string(),
        }),
    })
}

/// The image of `source` in `namespace`, made if there is none, for an instance that waits for its fetch.
///
/// # Errors
/// Those of making an artifact.
pub async fn ensure_for_fetch(
    conn: &mut Conn,
    ctx: &TxContext,
    namespace: &str,
    source: &str,
    proposed: ArtifactId,
) -> StoreResult<ArtifactId> {
    // The caller's right to create in the namespace has been decided by the create of the instance.
    let viewer = Viewer::of(namespace);
    Ok(take(conn, ctx, &viewer, namespace, source, proposed, false).await?.uuid)
}

/// The node that fetches: where a fetch of the artifact is queued already, else the caller's, else the least busy. It has
/// a store and takes work; a host of the API alone has a store and takes none.
///
/// # Errors
/// Those of the database.
pub async fn fetch_node(
    conn: &mut Conn,
    ctx: &TxContext,
    artifact: ArtifactId,
) -> StoreResult<Option<NodeId>> {
    sql("SELECT n.uuid AS value FROM nodes n JOIN node_daemons s ON s.node_uuid = n.uuid AND s.daemon = 'transfers' AND s.enabled \
         JOIN node_daemons w ON w.node_uuid = n.uuid AND w.daemon = 'queues' AND w.enabled \
         LEFT JOIN (SELECT node_uuid, COUNT(*) AS waiting FROM work_queue GROUP BY node_uuid) q ON q.node_uuid = n.uuid \
         WHERE n.state = 'created' ORDER BY EXISTS (SELECT 1 FROM cluster_operation_targets t \
         JOIN cluster_operations o ON o.uuid = t.operation_uuid WHERE t.target_type = ? AND t.target_id = ? \
         AND o.operation_type = 'artifact_fetch' AND o.state = 'queued' AND o.node_uuid = n.uuid) DESC, \
         COALESCE(n.uuid = ?, FALSE) DESC, COALESCE(q.waiting, 0), n.uuid LIMIT 1")
    .bind(ObjectType::Artifact)
    .bind(artifact.to_string())
    .bind(ctx.caller_node)
    .value(conn)
    .await
}

async fn take(
    conn: &mut Conn,
    ctx: &TxContext,
    viewer: &Viewer,
    namespace: &str,
    source: &str,
    proposed: ArtifactId,
    shared: bool,
) -> StoreResult<Held> {
    let name = default_name(source);
    let new = NewArtifact {
        uuid: proposed,
        namespace,
        artifact_type: "image",
        source_url: source,
        name: &name,
        shared,
    };
    let held = hold::take_for_writing(conn, ctx, viewer, &new).await?;
    if held.state == "error" {
        sql("UPDATE artifacts SET state = 'initial', state_changed_at = UTC_TIMESTAMP(6), error_message = NULL, \
             row_version = row_version + 1 WHERE uuid = ? AND state = 'error'")
        .bind(held.uuid)
        .run(conn)
        .await?;
    }
    Ok(held)
}
