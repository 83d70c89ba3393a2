//! What the carrier of a network adds: addresses, translation, DHCP and DNS (`networking.md` §7, §8).

use sf_model::NetworkId;
use sf_protos::net_privexec::{CarrierPart, DhcpData, DnsData, DnsRecord, Float, Reservation};

use super::super::{block, netblock};
use super::names::host_name;
use super::network::NetworkRow;
use super::ports::PortRow;
use crate::allocator::{Pool, address};
use crate::conn::Conn;
use crate::context::Settings;
use crate::error::StoreResult;
use crate::sql::{rows, sql};

rows! {
    struct Record {
        name: String,
        address: String,
    }
}

pub(super) async fn part(
    conn: &mut Conn,
    settings: &Settings,
    network: &NetworkRow,
    interfaces: &[PortRow],
) -> StoreResult<CarrierPart> {
    let block = block(network.netblock_address, network.netblock_prefix)?;
    let gateway = netblock::gateway(block).to_string();
    let hosted = hosted(conn, network.uuid).await?;
    Ok(CarrierPart {
        epoch: network.epoch.unwrap_or(0),
        egress_live: true,
        session_epoch: network.session_epoch.unwrap_or(0),
        netblock: block.to_string(),
        gateway: gateway.clone(),
        egress_address: network.floating_gateway.clone().unwrap_or_default(),
        provide_nat: network.provide_nat,
        floats: floats(interfaces),
        routed: routed(conn, settings, network.uuid).await?,
        service_ports: Vec::new(),
        dhcp: network.provide_dhcp.then(|| dhcp(settings, network, interfaces, &gateway)),
        dns: network.provide_dns.then(|| dns(settings, network, interfaces, hosted)),
    })
}

fn floats(interfaces: &[PortRow]) -> Vec<Float> {
    interfaces
        .iter()
        .filter_map(|port| {
            Some(Float {
                interface_uuid: port.uuid.to_string(),
                floating_address: port.floating_address?.to_string(),
                address: port.ipv4?.to_string(),
            })
        })
        .collect()
}

/// Addresses of the floating block that are delivered to the network as they are.
async fn routed(conn: &mut Conn, settings: &Settings, network: NetworkId) -> StoreResult<Vec<String>> {
    let values: Vec<u64> =
        sql("SELECT value FROM resource_pool_allocations WHERE pool = ? AND owner_type = 'network' \
         AND owner_uuid = ? AND purpose = 'routed' AND state = 'held' ORDER BY value")
        .bind(Pool::floating(settings).name())
        .bind(network)
        .values(conn)
        .await?;
    Ok(values.into_iter().map(|value| address(value).to_string()).collect())
}

fn dhcp(settings: &Settings, network: &NetworkRow, interfaces: &[PortRow], gateway: &str) -> DhcpData {
    let dns_servers = match (network.provide_dns, network.provide_nat) {
        (true, _) => vec![gateway.to_owned()],
        // Without a way out a resolver outside is of no use.
        (false, true) => resolvers(settings),
        (false, false) => Vec::new(),
    };
    let reservations = interfaces
        .iter()
        .filter_map(|port| {
            Some(Reservation {
                interface_uuid: port.uuid.to_string(),
                macaddr: port.macaddr.clone(),
                address: port.ipv4?.to_string(),
                hostname: host_name(&port.instance_name, &port.instance_uuid),
            })
        })
        .collect();
    DhcpData { reservations, dns_servers, domain: zone(settings, network) }
}

fn dns(settings: &Settings, network: &NetworkRow, interfaces: &[PortRow], hosted: Vec<DnsRecord>) -> DnsData {
    let mut records: Vec<DnsRecord> = interfaces
        .iter()
        .filter_map(|port| {
            Some(DnsRecord {
                name: host_name(&port.instance_name, &port.instance_uuid),
                address: port.ipv4?.to_string(),
            })
        })
        .collect();
    records.extend(hosted);
    DnsData { zone: zone(settings, network), records, forwarders: resolvers(settings) }
}

async fn hosted(conn: &mut Conn, network: NetworkId) -> StoreResult<Vec<DnsRecord>> {
    let records: Vec<Record> =
        sql("SELECT name, value AS address FROM network_dns_records WHERE network_uuid = ? ORDER BY name")
            .bind(network)
            .all(conn)
            .await?;
    Ok(records.into_iter().map(|r| DnsRecord { name: r.name, address: r.address }).collect())
}

fn resolvers(settings: &Settings) -> Vec<String> {
    settings.dns_server.iter().map(ToString::to_string).collect()
}

fn zone(settings: &Settings, network: &NetworkRow) -> String {
    format!("{}.{}", network.namespace, settings.zone)
}
