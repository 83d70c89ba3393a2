//! Reading interfaces as the API shows them.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use sf_model::{InstanceId, InterfaceId, ObjectType};
use sf_protos::networks::list_interfaces_request::Of;
use sf_protos::networks::{
    GetInterfaceReply, GetInterfaceRequest, Interface, ListInterfacesReply, ListInterfacesRequest,
};

use super::super::view::resolve;
use crate::conn::Conn;
use crate::error::{StoreError, StoreResult};
use crate::lookup::{Lookup, Viewer, only, reference};
use crate::metadata::{self, metadata_bytes};
use crate::page::Page;
use crate::sql::{Sql, rows, sql};
use crate::wire::{parse, state_info};

rows! {
    struct InterfaceRow {
        uuid: String,
        network_uuid: String,
        instance_uuid: String,
        macaddr: String,
        ipv4: Option<String>,
        position: u32,
        model: String,
        floating_address: Option<String>,
        port_security: String,
        state: String,
        state_changed_at: DateTime<Utc>,
        state_message: Option<String>,
        version: u32,
        weight: u64,
    }
}

const SELECT: &str = concat!(
    "SELECT f.uuid, f.network_uuid, f.instance_uuid, f.macaddr, f.ipv4, f.position, f.model, \
     f.floating_address, f.port_security, f.state, f.state_changed_at, f.state_message, f.version, ",
    metadata_bytes!("networkinterface", "f.uuid"),
    " AS weight FROM network_interfaces f WHERE "
);

/// One interface whose network and instance are the caller's.
///
/// # Errors
/// [`StoreError::Missing`].
pub async fn get(conn: &mut Conn, request: &GetInterfaceRequest) -> StoreResult<GetInterfaceReply> {
    let viewer = Viewer::new(request.caller.as_ref())?;
    let id: InterfaceId = parse("interface_uuid", &request.interface_uuid)?;
    let condition = sql("f.uuid = ? AND ")
        .bind(id)
        .append(viewer.owned("f.namespace"))
        .push(" AND EXISTS (SELECT 1 FROM networks n WHERE n.uuid = f.network_uuid AND ")
        .append(viewer.owned("n.namespace"))
        .push(")");
    let interface = load(conn, condition).await?.pop();
    let interface = interface.ok_or_else(|| StoreError::missing(ObjectType::Interface, id))?;
    Ok(GetInterfaceReply { interface: Some(interface) })
}

/// The live interfaces of a network or an instance.
///
/// # Errors
/// [`StoreError::Missing`] for what they are asked of.
pub async fn list(conn: &mut Conn, request: &ListInterfacesRequest) -> StoreResult<ListInterfacesReply> {
    let viewer = Viewer::new(request.caller.as_ref())?;
    let page = Page::new(request.page.clone());
    let condition = match &request.of {
        Some(Of::Network(selector)) => {
            let network = resolve(conn, &viewer, Some(selector)).await?;
            sql("f.state <> 'deleted' AND f.network_uuid = ?").bind(network)
        }
        Some(Of::Instance(selector)) => {
            let lookup = Lookup::owned(&viewer, Some(selector))?;
            let found: Vec<InstanceId> = sql("SELECT i.uuid AS value FROM instances i WHERE ")
                .append(viewer.owned("i.namespace"))
                .push(" AND ")
                .append(lookup.condition("i"))
                .push(" LIMIT 10")
                .values(conn)
                .await?;
            let name = reference(Some(selector));
            let instance = only(ObjectType::Instance, name, found, ToString::to_string)?;
            // An instance has few interfaces: one page, in the order of the guest.
            let condition =
                sql("f.state <> 'deleted' AND f.instance_uuid = ? ORDER BY f.position").bind(instance);
            let interfaces = load(conn, condition).await?;
            return Ok(ListInterfacesReply { interfaces, page: Some(Default::default()) });
        }
        None => return Err(StoreError::invalid("of: required")),
    };
    let rows = rows(conn, page.by_key(condition, "f.uuid")).await?;
    let (rows, info) = page.cut_by_weight(rows, |row| row.weight, |row| row.uuid.clone());
    Ok(ListInterfacesReply { interfaces: complete(conn, rows).await?, page: Some(info) })
}

/// The live interfaces of many instances in two statements, each list in the order of the guest.
///
/// # Errors
/// Those of the database.
pub async fn load_of_instances(
    conn: &mut Conn,
    instances: &[String],
) -> StoreResult<BTreeMap<String, Vec<Interface>>> {
    let condition = sql("f.state <> 'deleted' AND f.instance_uuid IN ")
        .list(instances)
        .push(" ORDER BY f.instance_uuid, f.position");
    let mut map: BTreeMap<String, Vec<Interface>> = BTreeMap::new();
    for interface in load(conn, condition).await? {
        map.entry(interface.instance_uuid.clone()).or_default().push(interface);
    }
    Ok(map)
}

/// The views of interfaces whose visibility has been decided.
pub(super) async fn load(conn: &mut Conn, condition: Sql) -> StoreResult<Vec<Interface>> {
    let rows = rows(conn, condition).await?;
    complete(conn, rows).await
}

async fn rows(conn: &mut Conn, condition: Sql) -> StoreResult<Vec<InterfaceRow>> {
    sql(SELECT).append(condition).all(conn).await
}

async fn complete(conn: &mut Conn, rows: Vec<InterfaceRow>) -> StoreResult<Vec<Interface>> {
    let ids: Vec<String> = rows.iter().map(|row| row.uuid.clone()).collect();
    let mut entries = metadata::load(conn, ObjectType::Interface, &ids).await?;
    let view = |row: InterfaceRow| Interface {
        metadata: entries.remove(&row.uuid).unwrap_or_default(),
        state: Some(state_info(&row.state, row.state_changed_at, row.state_message)),
        uuid: row.uuid,
        network_uuid: row.network_uuid,
        instance_uuid: row.instance_uuid,
        macaddr: row.macaddr,
        ipv4: row.ipv4,
        order: row.position,
        model: row.model,
        floating: row.floating_address,
        version: row.version,
        port_security: row.port_security,
    };
    Ok(rows.into_iter().map(view).collect())
}
