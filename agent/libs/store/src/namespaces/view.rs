//! Reading namespaces.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use sf_model::ObjectType;
use sf_model::access::SYSTEM_NAMESPACE;
use sf_protos::namespaces::{
    GetNamespaceReply, GetNamespaceRequest, ListNamespacesReply, ListNamespacesRequest, Namespace,
};

use super::missing;
use crate::conn::Conn;
use crate::error::StoreResult;
use crate::lookup::Viewer;
use crate::metadata::{self, metadata_bytes};
use crate::page::Page;
use crate::sql::{Sql, rows, sql};
use crate::wire::{state_info, timestamp};

rows! {
    struct NamespaceRow {
        name: String,
        weight: u64,
        state: String,
        state_changed_at: DateTime<Utc>,
        state_message: Option<String>,
        created_at: DateTime<Utc>,
        version: u32,
    }

    struct Named {
        namespace: String,
        name: String,
    }
}

const SELECT: &str = concat!(
    "SELECT n.name, n.state, n.state_changed_at, n.state_message, n.created_at, n.version, \
     (SELECT CAST(COALESCE(SUM(LENGTH(k.name)), 0) AS UNSIGNED) FROM namespace_keys k \
     WHERE k.namespace = n.name AND k.live_name IS NOT NULL) + ",
    metadata_bytes!("namespace", "n.name"),
    " AS weight FROM namespaces n WHERE n.state = 'created' AND "
);

/// One namespace the caller has sight of.
///
/// # Errors
/// [`crate::StoreError::Missing`], also when it is deleted or hidden.
pub async fn get(conn: &mut Conn, request: &GetNamespaceRequest) -> StoreResult<GetNamespaceReply> {
    let viewer = Viewer::new(request.caller.as_ref())?;
    let condition = sql("n.name = ? AND ").bind(&request.name).append(viewer.trusted("n.name"));
    let namespace = first(conn, condition).await?.ok_or_else(|| missing(&request.name))?;
    Ok(GetNamespaceReply { namespace: Some(namespace) })
}

/// All namespaces the caller has sight of, by name.
///
/// # Errors
/// Those of the database.
pub async fn list(conn: &mut Conn, request: &ListNamespacesRequest) -> StoreResult<ListNamespacesReply> {
    let viewer = Viewer::new(request.caller.as_ref())?;
    let page = Page::new(request.page.clone());
    let rows = rows(conn, page.by_key(viewer.trusted("n.name"), "n.name")).await?;
    let (rows, info) = page.cut_by_weight(rows, |row| row.weight, |row| row.name.clone());
    Ok(ListNamespacesReply { namespaces: complete(conn, rows).await?, page: Some(info) })
}

/// The view of a namespace that is known to be live.
pub(super) async fn one(conn: &mut Conn, name: &str) -> StoreResult<Namespace> {
    first(conn, sql("n.name = ?").bind(name)).await?.ok_or_else(|| missing(name))
}

async fn first(conn: &mut Conn, condition: Sql) -> StoreResult<Option<Namespace>> {
    let rows = rows(conn, condition).await?;
    Ok(complete(conn, rows).await?.into_iter().next())
}

async fn rows(conn: &mut Conn, condition: Sql) -> StoreResult<Vec<NamespaceRow>> {
    sql(SELECT).append(condition).all(conn).await
}

async fn complete(conn: &mut Conn, rows: Vec<NamespaceRow>) -> StoreResult<Vec<Namespace>> {
    let names: Vec<String> = rows.iter().map(|row| row.name.clone()).collect();
    let mut keys = grouped(
        sql("SELECT namespace, name FROM namespace_keys WHERE live_name IS NOT NULL AND namespace IN ")
            .list(&names)
            .push(" ORDER BY namespace, name")
            .all(conn)
            .await?,
    );
    let mut trusted = grouped(
        sql("SELECT namespace, trusted AS name FROM namespace_trusts WHERE namespace IN ")
            .list(&names)
            .push(" ORDER BY namespace, trusted")
            .all(conn)
            .await?,
    );
    let mut entries = metadata::load(conn, ObjectType::Namespace, &names).await?;
    let view = |row: NamespaceRow| {
        let mut keys = keys.remove(&row.name).unwrap_or_default();
        keys.retain(|key| !sf_model::name::key_is_reserved(key));
        let mut full = vec![SYSTEM_NAMESPACE.to_owned()];
        full.extend(trusted.remove(&row.name).unwrap_or_default());
        Namespace {
            state: Some(state_info(&row.state, row.state_changed_at, row.state_message)),
            version: row.version,
            keys,
            trusted: full,
            metadata: entries.remove(&row.name).unwrap_or_default(),
            created_at: Some(timestamp(row.created_at)),
            name: row.name,
        }
    };
    Ok(rows.into_iter().map(view).collect())
}

fn grouped(rows: Vec<Named>) -> BTreeMap<String, Vec<String>> {
    let mut map: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for row in rows {
        map.entry(row.namespace).or_default().push(row.name);
    }
    map
}
