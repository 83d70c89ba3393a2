//! Reading instances (`instances.md` §22, `rest-api.md` §1.10–1.11).

use sf_model::{InstanceId, NodeId, ObjectType};
use sf_protos::instances::{
    GetInstanceReply, GetInstanceRequest, ListInstancesForNodeReply, ListInstancesForNodeRequest,
    ListInstancesReply, ListInstancesRequest,
};
use uuid::Uuid;

use super::rows::InstanceRow;
use super::view;
use crate::conn::Conn;
use crate::error::StoreResult;
use crate::lookup::{Lookup, Viewer, only, reference};
use crate::page::{Page, creation_token};
use crate::sql::{rows, sql};
use crate::wire::parse;

/// Tombstones of one answer; a node with more clears them and asks again.
const MAX_TOMBSTONES: u32 = 1000;
/// Rows looked at to tell one name from several.
const AMBIGUITY: u32 = 10;

rows! {
    struct Named {
        uuid: InstanceId,
        namespace: String,
    }
}

/// The instance a caller's reference means, deleted ones included when named by UUID.
///
/// # Errors
/// [`crate::StoreError::Missing`]; a precondition with reason [`crate::lookup::AMBIGUOUS`].
pub async fn resolve(
    conn: &mut Conn,
    viewer: &Viewer,
    selector: Option<&sf_protos::common::Selector>,
) -> StoreResult<InstanceId> {
    let lookup = Lookup::owned(viewer, selector)?;
    let found: Vec<Named> = sql("SELECT i.uuid, i.namespace FROM instances i WHERE ")
        .append(viewer.owned("i.namespace"))
        .push(" AND ")
        .append(lookup.condition("i"))
        .push(" ORDER BY i.created_at LIMIT ?")
        .bind(AMBIGUITY)
        .all(conn)
        .await?;
    let describe = |row: &Named| format!("{} (namespace {})", row.uuid, row.namespace);
    Ok(only(ObjectType::Instance, reference(selector), found, describe)?.uuid)
}

/// One instance.
///
/// # Errors
/// As [`resolve`].
pub async fn get(conn: &mut Conn, request: &GetInstanceRequest) -> StoreResult<GetInstanceReply> {
    let viewer = Viewer::new(request.caller.as_ref())?;
    let instance = resolve(conn, &viewer, request.selector.as_ref()).await?;
    Ok(GetInstanceReply { instance: Some(view::one(conn, instance).await?) })
}

/// The instances of a caller, by creation.
///
/// # Errors
/// [`crate::StoreError::Invalid`] for malformed filters and tokens.
pub async fn list(conn: &mut Conn, request: &ListInstancesRequest) -> StoreResult<ListInstancesReply> {
    let viewer = Viewer::new(request.caller.as_ref())?;
    let filter = request.filter.clone().unwrap_or_default();
    let mut condition = viewer.owned("i.namespace");
    if !filter.all {
        condition = condition.push(" AND i.state <> 'deleted'");
    }
    if let Some(namespace) = &filter.namespace {
        condition = condition.push(" AND i.namespace = ?").bind(namespace);
    }
    if let Some(node) = &filter.node_uuid {
        condition = condition.push(" AND i.node_uuid = ?").bind(parse::<NodeId>("filter.node_uuid", node)?);
    }
    if let Some(network) = &filter.network_uuid {
        condition = condition
            .push(
                " AND EXISTS (SELECT 1 FROM network_interfaces x WHERE x.instance_uuid = i.uuid \
                 AND x.network_uuid = ? AND x.state <> 'deleted')",
            )
            .bind(parse::<Uuid>("filter.network_uuid", network)?);
    }
    let page = Page::new(request.page.clone());
    let rows = view::rows(conn, page.by_creation(condition, "i")?).await?;
    let token = |row: &InstanceRow| creation_token(row.created_at, &row.uuid.to_string());
    let (rows, info) = page.cut_by_weight(rows, |row| row.weight, token);
    Ok(ListInstancesReply { instances: view::complete(conn, rows).await?, page: Some(info) })
}

/// Everything recorded on a node, deleted instances included; with the first page what was removed from the record
/// while the node could not be asked.
///
/// # Errors
/// As [`list`].
pub async fn list_for_node(
    conn: &mut Conn,
    request: &ListInstancesForNodeRequest,
) -> StoreResult<ListInstancesForNodeReply> {
    let node: NodeId = parse("node_uuid", &request.node_uuid)?;
    let first = request.page.as_ref().and_then(|page| page.token.as_deref()).unwrap_or_default().is_empty();
    let page = Page::new(request.page.clone());
    let condition = page.by_key(sql("i.node_uuid = ?").bind(node), "i.uuid");
    let rows = view::rows(conn, condition).await?;
    let (rows, info) = page.cut_by_weight(rows, |row| row.weight, |row| row.uuid.to_string());
    let instances = view::complete(conn, rows).await?;
    let tombstones = if first { tombstones(conn, node).await? } else { Vec::new() };
    Ok(ListInstancesForNodeReply { instances, page: Some(info), tombstones })
}

async fn tombstones(conn: &mut Conn, node: NodeId) -> StoreResult<Vec<String>> {
    let found: Vec<InstanceId> = sql("SELECT instance_uuid AS value FROM instance_tombstones \
         WHERE node_uuid = ? ORDER BY instance_uuid LIMIT ?")
    .bind(node)
    .bind(MAX_TOMBSTONES)
    .values(conn)
    .await?;
    Ok(found.into_iter().map(String::from).collect())
}
