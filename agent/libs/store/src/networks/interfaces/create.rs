//! Making all interfaces of an instance (`networking.md` §2.2).

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use sf_model::operation::Priority;
use sf_model::state::{NetworkState, Readiness};
use sf_model::{InstanceId, InterfaceId, MacAddress, NetworkId, NodeId, ObjectType};
use sf_protos::instances::InterfaceSpec;
use sf_protos::instances::interface_spec::Address;
use sf_protos::networks::Interface;

use super::super::{Held, lock, netblock, render};
use super::{BAD_INTERFACE, VERSION, view};
use crate::allocator::{self, Owner, Pool, Strategy, address, value_of};
use crate::conn::Conn;
use crate::context::TxContext;
use crate::error::{StoreError, StoreResult, reason};
use crate::lookup::{Lookup, NOT_READY, Viewer, only};
use crate::sql::sql;
use crate::wire::{from_row, parse};

/// The interfaces of one instance, in order.
#[derive(Debug, Clone, Copy)]
pub struct NewInterfaces<'a> {
    /// The instance.
    pub instance: InstanceId,
    /// Its namespace; networks are resolved in it and belong to it.
    pub namespace: &'a str,
    /// Where the instance is placed.
    pub node: NodeId,
    /// What was asked.
    pub specs: &'a [InterfaceSpec],
}

/// Allocates and writes every interface, bumps each network once and asks its participants to render.
///
/// # Errors
/// [`StoreError::Missing`] for a network; preconditions `not-ready`, `bad-state`, `in-use` (address or MAC) and
/// `bad-interface`; [`StoreError::Capacity`] for addresses.
pub async fn create(
    conn: &mut Conn,
    ctx: &TxContext,
    new: &NewInterfaces<'_>,
) -> StoreResult<Vec<Interface>> {
    let mut chosen = Vec::with_capacity(new.specs.len());
    for spec in new.specs {
        chosen.push(resolve(conn, new.namespace, &spec.network_reference).await?);
    }
    let mut networks: BTreeMap<NetworkId, Held> = BTreeMap::new();
    let mut ordered = chosen.clone();
    ordered.sort_unstable();
    ordered.dedup();
    for network in ordered {
        // The exclusive lock comes first: creators on one network take turns from here on.
        render::next_generation(conn, network).await?;
        let held = lock(conn, network).await?;
        check_state(&held)?;
        networks.insert(network, held);
    }
    let mut created = Vec::with_capacity(new.specs.len());
    for (position, (spec, network)) in new.specs.iter().zip(&chosen).enumerate() {
        let Some(held) = networks.get(network) else { continue };
        let position = u16::try_from(position).unwrap_or(u16::MAX);
        created.push(create_one(conn, ctx, new, spec, held, position).await?);
    }
    for held in networks.values() {
        let mut nodes = render::participants(conn, held.uuid).await?;
        if !nodes.contains(&new.node) {
            nodes.push(new.node);
        }
        render::request(conn, ctx, held.uuid, held.generation, Priority::UserFacing, &nodes).await?;
    }
    view::load(conn, sql("f.uuid IN ").list(created).push(" ORDER BY f.position")).await
}

async fn resolve(conn: &mut Conn, namespace: &str, reference: &str) -> StoreResult<NetworkId> {
    let selector = sf_protos::common::Selector {
        reference: reference.to_owned(),
        namespace: Some(namespace.to_owned()),
    };
    let lookup = Lookup::owned(&Viewer::of(namespace), Some(&selector))?;
    let found: Vec<NetworkId> =
        sql("SELECT n.uuid AS value FROM networks n WHERE n.kind = 'vxlan' AND n.namespace = ? AND ")
            .bind(namespace)
            .append(lookup.condition("n"))
            .push(" ORDER BY n.uuid LIMIT 10")
            .values(conn)
            .await?;
    only(ObjectType::Network, reference, found, ToString::to_string)
}

fn check_state(held: &Held) -> StoreResult<()> {
    let state: NetworkState = from_row("network state", &held.state)?;
    match state.readiness() {
        Readiness::Ready => Ok(()),
        Readiness::NotYet => {
            Err(StoreError::precondition(NOT_READY, format!("network {} is not ready yet", held.uuid)))
        }
        Readiness::Never => {
            Err(StoreError::precondition(reason::BAD_STATE, format!("network {} is {state}", held.uuid)))
        }
        Readiness::Gone => Err(StoreError::missing(ObjectType::Network, held.uuid)),
    }
}

async fn create_one(
    conn: &mut Conn,
    ctx: &TxContext,
    new: &NewInterfaces<'_>,
    spec: &InterfaceSpec,
    held: &Held,
    position: u16,
) -> StoreResult<InterfaceId> {
    let interface: InterfaceId = parse("interface_uuid", &spec.interface_uuid)?;
    let model = if spec.model.is_empty() { "virtio" } else { spec.model.as_str() };
    if !matches!(model, "virtio" | "e1000" | "e1000e" | "rtl8139") {
        return Err(StoreError::precondition(
            BAD_INTERFACE,
            "model: must be virtio, e1000, e1000e or rtl8139",
        ));
    }
    let ipv4 = claim_address(conn, ctx, spec, held, interface).await?;
    let mac = claim_mac(conn, ctx, spec, interface).await?;
    let floating = match (spec.float, ipv4) {
        (false, _) => None,
        (true, None) => {
            return Err(StoreError::precondition(BAD_INTERFACE, "float: needs an interface with an address"));
        }
        (true, Some(_)) => {
            let pool = Pool::floating(&ctx.settings);
            let owner = Owner::from(interface);
            Some(address(allocator::claim(conn, &pool, Strategy::Random, owner, "floating", "").await?))
        }
    };
    let inserted = sql("INSERT INTO network_interfaces (uuid, namespace, network_uuid, instance_uuid, macaddr, live_macaddr, \
         ipv4, position, model, floating_address, port_security, state, state_changed_at, created_at, version) \
         SELECT ?, ?, n.uuid, ?, ?, ?, ?, ?, ?, ?, n.port_security, 'created', UTC_TIMESTAMP(6), UTC_TIMESTAMP(6), ? \
         FROM networks n WHERE n.uuid = ?")
    .bind(interface)
    .bind(new.namespace)
    .bind(new.instance)
    .bind(mac)
    .bind(mac)
    .bind(ipv4)
    .bind(position)
    .bind(model)
    .bind(floating)
    .bind(VERSION)
    .bind(held.uuid)
    .run(conn)
    .await;
    match inserted {
        Err(error) if error.is_duplicate() => Err(StoreError::exists(ObjectType::Interface, interface)),
        other => other.map(|_| interface),
    }
}

async fn claim_address(
    conn: &mut Conn,
    ctx: &TxContext,
    spec: &InterfaceSpec,
    held: &Held,
    interface: InterfaceId,
) -> StoreResult<Option<Ipv4Addr>> {
    let block = held.netblock()?;
    let strategy = match &spec.address {
        Some(Address::None(true)) => return Ok(None),
        Some(Address::Exact(text)) => {
            let wanted: Ipv4Addr = parse("address", text)?;
            if !netblock::is_host(block, wanted) {
                let message = format!("address: {wanted} is not one that guests of {block} can have");
                return Err(StoreError::precondition(BAD_INTERFACE, message));
            }
            Strategy::Exact(value_of(wanted))
        }
        _ => Strategy::Random,
    };
    let pool = Pool::ipv4(held.uuid, block, &ctx.settings);
    let value = allocator::claim(conn, &pool, strategy, interface.into(), "instance", "").await?;
    Ok(Some(address(value)))
}

async fn claim_mac(
    conn: &mut Conn,
    ctx: &TxContext,
    spec: &InterfaceSpec,
    interface: InterfaceId,
) -> StoreResult<MacAddress> {
    let strategy = match spec.macaddress.as_deref().filter(|text| !text.is_empty()) {
        None => Strategy::Random,
        Some(text) => {
            let mac: MacAddress = parse("macaddress", text)?;
            if !mac.is_unicast() || mac.is_reserved() || mac.as_u64() == 0 {
                let message = "macaddress: must be a unicast address outside the prefixes of the cloud";
                return Err(StoreError::precondition(BAD_INTERFACE, message));
            }
            Strategy::Exact(mac.as_u64())
        }
    };
    let pool = Pool::mac(&ctx.settings);
    Ok(MacAddress::from_u64(
        allocator::claim(conn, &pool, strategy, interface.into(), "interface", "").await?,
    ))
}
