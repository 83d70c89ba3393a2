//! Reading networks as the API shows them: three statements, whatever the number of networks.

use std::net::Ipv4Addr;

use chrono::{DateTime, Utc};
use sf_model::{NetworkId, ObjectType};
use sf_protos::common::Selector;
use sf_protos::networks::{
    GetNetworkReply, GetNetworkRequest, ListNetworksReply, ListNetworksRequest, Network,
};

use super::{block, mtu};
use crate::conn::Conn;
use crate::context::Settings;
use crate::error::{StoreError, StoreResult};
use crate::lookup::{Lookup, Viewer, only, reference};
use crate::metadata::{self, metadata_bytes};
use crate::page::{Page, creation_token};
use crate::pending;
use crate::sql::{Sql, rows, sql};
use crate::wire::{state_info, timestamp};

rows! {
    struct NetworkRow {
        uuid: String,
        name: String,
        namespace: Option<String>,
        netblock_address: Ipv4Addr,
        netblock_prefix: u8,
        provide_dhcp: bool,
        provide_nat: bool,
        provide_dns: bool,
        vxid: u32,
        floating_gateway: Option<String>,
        port_security: String,
        generation: u64,
        state: String,
        state_changed_at: DateTime<Utc>,
        state_message: Option<String>,
        created_at: DateTime<Utc>,
        version: u32,
        carrier_uuid: Option<String>,
        carrier_name: Option<String>,
        carrier_mesh_ip: Option<String>,
        weight: u64,
    }

    struct Found {
        uuid: NetworkId,
        namespace: Option<String>,
        name: String,
    }
}

const SELECT: &str = concat!(
    "SELECT n.uuid, n.name, n.namespace, n.netblock_address, n.netblock_prefix, n.provide_dhcp, \
     n.provide_nat, n.provide_dns, n.vxid, n.floating_gateway, n.port_security, n.generation, \
     n.state, n.state_changed_at, n.state_message, n.created_at, n.version, d.uuid AS carrier_uuid, \
     d.fqdn AS carrier_name, d.mesh_ip AS carrier_mesh_ip, ",
    metadata_bytes!("network", "n.uuid"),
    " AS weight FROM networks n LEFT JOIN network_carriers k ON k.network_uuid = n.uuid \
     LEFT JOIN nodes d ON d.uuid = k.node_uuid WHERE "
);

/// One network of the caller.
///
/// # Errors
/// [`StoreError::Missing`]; a precondition `ambiguous-reference`.
pub async fn get(
    conn: &mut Conn,
    settings: &Settings,
    request: &GetNetworkRequest,
) -> StoreResult<GetNetworkReply> {
    let viewer = Viewer::new(request.caller.as_ref())?;
    let id = resolve(conn, &viewer, request.selector.as_ref()).await?;
    let network = load(conn, settings, &[id]).await?.pop();
    Ok(GetNetworkReply {
        network: Some(network.ok_or_else(|| StoreError::missing(ObjectType::Network, id))?),
    })
}

/// The caller's networks, by creation; `system` sees all of them and the floating one.
///
/// # Errors
/// Those of the database.
pub async fn list(
    conn: &mut Conn,
    settings: &Settings,
    request: &ListNetworksRequest,
) -> StoreResult<ListNetworksReply> {
    let viewer = Viewer::new(request.caller.as_ref())?;
    let page = Page::new(request.page.clone());
    let live = if request.all { "TRUE AND " } else { "n.state <> 'deleted' AND " };
    let condition = sql(live).append(viewer.owned("n.namespace"));
    let rows = rows(conn, page.by_creation(condition, "n")?).await?;
    let token = |row: &NetworkRow| creation_token(row.created_at, &row.uuid);
    let (rows, info) = page.cut_by_weight(rows, |row| row.weight, token);
    Ok(ListNetworksReply { networks: complete(conn, settings, rows).await?, page: Some(info) })
}

/// The views of networks whose visibility has been decided.
///
/// # Errors
/// Those of the database.
pub async fn load(conn: &mut Conn, settings: &Settings, ids: &[NetworkId]) -> StoreResult<Vec<Network>> {
    let condition = sql("n.uuid IN ").list(ids.iter().copied()).push(" ORDER BY n.created_at, n.uuid");
    let rows = rows(conn, condition).await?;
    complete(conn, settings, rows).await
}

/// Which network a reference means to its owner. `floating` is the floating network, which only `system` sees.
///
/// # Errors
/// [`StoreError::Missing`]; a precondition `ambiguous-reference`.
pub(super) async fn resolve(
    conn: &mut Conn,
    viewer: &Viewer,
    selector: Option<&Selector>,
) -> StoreResult<NetworkId> {
    let name = reference(selector);
    if name == "floating" && viewer.is_system() {
        return Ok(NetworkId::FLOATING);
    }
    let lookup = Lookup::owned(viewer, selector)?;
    let rows: Vec<Found> = sql("SELECT n.uuid, n.namespace, n.name FROM networks n WHERE ")
        .append(viewer.owned("n.namespace"))
        .push(" AND ")
        .append(lookup.condition("n"))
        .push(" ORDER BY n.created_at, n.uuid LIMIT 10")
        .all(conn)
        .await?;
    let found = only(ObjectType::Network, name, rows, |row| {
        format!("{} {} (namespace {})", row.uuid, row.name, row.namespace.as_deref().unwrap_or("-"))
    })?;
    Ok(found.uuid)
}

async fn rows(conn: &mut Conn, condition: Sql) -> StoreResult<Vec<NetworkRow>> {
    sql(SELECT).append(condition).all(conn).await
}

async fn complete(conn: &mut Conn, settings: &Settings, rows: Vec<NetworkRow>) -> StoreResult<Vec<Network>> {
    let ids: Vec<String> = rows.iter().map(|row| row.uuid.clone()).collect();
    let mut entries = metadata::load(conn, ObjectType::Network, &ids).await?;
    let mut operations = pending::load(conn, ObjectType::Network, &ids).await?;
    let mut networks = Vec::with_capacity(rows.len());
    for row in rows {
        let pending = operations.remove(&row.uuid).unwrap_or_default();
        networks.push(Network {
            netblock: block(row.netblock_address, row.netblock_prefix)?.to_string(),
            metadata: entries.remove(&row.uuid).unwrap_or_default(),
            has_pending_operations: pending.any,
            last_operation: pending.last,
            state: Some(state_info(&row.state, row.state_changed_at, row.state_message)),
            created_at: Some(timestamp(row.created_at)),
            mtu: mtu(settings),
            uuid: row.uuid,
            name: row.name,
            namespace: row.namespace,
            provide_dhcp: row.provide_dhcp,
            provide_nat: row.provide_nat,
            provide_dns: row.provide_dns,
            vxid: row.vxid,
            floating_gateway: row.floating_gateway,
            version: row.version,
            port_security: row.port_security,
            generation: row.generation,
            carrier_node_name: row.carrier_name,
            carrier_node_uuid: row.carrier_uuid,
            carrier_mesh_ip: row.carrier_mesh_ip,
        });
    }
    Ok(networks)
}
