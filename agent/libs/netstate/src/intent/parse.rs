//! From protobuf to checked values. Every rule of `networking.md` §10.2 about one intent is here.

use std::net::Ipv4Addr;
use std::str::FromStr;

use ipnet::Ipv4Net;
use sf_model::{MacAddress, Vxid};
use sf_protos::net_privexec as pb;

use super::{
    Carrier, Dhcp, Dns, EgressHost, EgressMode, Float, HostIntent, LocalPort, NetworkIntent, PortLevel,
    Reservation, ServicePort, ServiceTarget,
};
use crate::error::NetError;
use crate::nft::matches::{TCP, UDP};

/// Most peers of one network.
const MAX_PEERS: usize = 1_024;
/// Most floating addresses, routed addresses and service ports of one network together.
const MAX_MAPPINGS: usize = 20_000;
/// Most interfaces of one network on one node, and on all others.
const MAX_PORTS: usize = 65_536;
/// Smallest and largest MTU a network may have.
const MTU: std::ops::RangeInclusive<u32> = 576..=65_000;

impl NetworkIntent {
    /// Parses and checks an intent; `host` supplies the blocks its addresses have to lie in.
    ///
    /// # Errors
    /// [`NetError::InvalidIntent`] naming the first rule that is broken.
    pub fn parse(intent: &pb::NetworkIntent, host: &HostIntent) -> Result<Self, NetError> {
        let vxid =
            Vxid::new(intent.vxid).ok_or_else(|| invalid(format!("vxid {} is out of range", intent.vxid)))?;
        let present = match intent.presence() {
            pb::Presence::Present => true,
            pb::Presence::Absent => false,
            pb::Presence::Unspecified => return Err(invalid("presence is not stated")),
        };
        if present && !MTU.contains(&intent.mtu) {
            return Err(invalid(format!("mtu {} is out of range", intent.mtu)));
        }
        at_most(intent.peers.len(), MAX_PEERS, "peers")?;
        at_most(intent.local_ports.len().max(intent.remote_ports.len()), MAX_PORTS, "ports")?;
        let carrier = intent.carrier.as_ref().filter(|_| present);
        Ok(Self {
            network: parse(&intent.network_uuid, "network uuid")?,
            vxid,
            generation: intent.generation,
            present,
            mtu: intent.mtu,
            learning: intent.learning,
            peers: intent
                .peers
                .iter()
                .map(|peer| parse(&peer.mesh_ip, "mesh address"))
                .collect::<Result<_, _>>()?,
            local_ports: intent.local_ports.iter().map(local_port).collect::<Result<_, _>>()?,
            remote_ports: intent.remote_ports.iter().map(remote_port).collect::<Result<_, _>>()?,
            carrier: carrier.map(|carrier| Carrier::parse(carrier, host)).transpose()?,
        })
    }
}

impl Carrier {
    fn parse(part: &pb::CarrierPart, host: &HostIntent) -> Result<Self, NetError> {
        let egress_host = host.egress.as_ref().ok_or_else(|| invalid("this node carries no networks"))?;
        let netblock: Ipv4Net = parse(&part.netblock, "netblock")?;
        let gateway: Ipv4Addr = parse(&part.gateway, "gateway")?;
        inside(netblock, gateway, "gateway")?;
        at_most(part.floats.len() + part.routed.len() + part.service_ports.len(), MAX_MAPPINGS, "mappings")?;
        let egress: Option<Ipv4Addr> = optional(&part.egress_address, "egress address")?;
        if let Some(egress) = egress {
            inside(egress_host.floating_network, egress, "egress address")?;
        }
        let routed: Vec<Ipv4Addr> =
            part.routed.iter().map(|address| parse(address, "routed address")).collect::<Result<_, _>>()?;
        for address in &routed {
            inside(egress_host.floating_network, *address, "routed address")?;
        }
        let floats: Vec<Float> = part.floats.iter().map(float).collect::<Result<_, _>>()?;
        for float in &floats {
            inside(egress_host.floating_network, float.floating, "floating address")?;
            inside(netblock, float.address, "address behind a floating address")?;
        }
        if egress.is_none()
            && (part.provide_nat
                || !floats.is_empty()
                || !routed.is_empty()
                || !part.service_ports.is_empty())
        {
            return Err(invalid(
                "an egress address is needed for nat, floating, routed or service addresses",
            ));
        }
        Ok(Self {
            epoch: part.epoch,
            session_epoch: part.session_epoch,
            egress_live: part.egress_live,
            netblock: netblock.trunc(),
            gateway,
            egress,
            provide_nat: part.provide_nat,
            floats,
            routed,
            service_ports: part
                .service_ports
                .iter()
                .map(|port| service_port(port, host))
                .collect::<Result<_, _>>()?,
            dhcp: part.dhcp.as_ref().map(|dhcp| Dhcp::parse(dhcp, netblock)).transpose()?,
            dns: part.dns.as_ref().map(Dns::parse).transpose()?,
        })
    }
}

impl Dhcp {
    /// Parses DHCP data; reservations have to lie inside the netblock.
    pub fn parse(data: &pb::DhcpData, netblock: Ipv4Net) -> Result<Self, NetError> {
        let reservation = |row: &pb::Reservation| {
            let address = parse(&row.address, "reserved address")?;
            inside(netblock, address, "reserved address")?;
            Ok(Reservation {
                interface: parse(&row.interface_uuid, "interface uuid")?,
                mac: parse(&row.macaddr, "mac address")?,
                address,
                hostname: row.hostname.clone(),
            })
        };
        Ok(Self {
            reservations: data.reservations.iter().map(reservation).collect::<Result<_, NetError>>()?,
            dns_servers: data
                .dns_servers
                .iter()
                .map(|text| parse(text, "dns server"))
                .collect::<Result<_, _>>()?,
            domain: data.domain.clone(),
        })
    }
}

impl Dns {
    /// Parses DNS data.
    pub fn parse(data: &pb::DnsData) -> Result<Self, NetError> {
        let record =
            |row: &pb::DnsRecord| Ok((row.name.to_ascii_lowercase(), parse(&row.address, "record address")?));
        Ok(Self {
            zone: data.zone.to_ascii_lowercase(),
            records: data.records.iter().map(record).collect::<Result<_, NetError>>()?,
            forwarders: data
                .forwarders
                .iter()
                .map(|text| parse(text, "forwarder"))
                .collect::<Result<_, _>>()?,
        })
    }
}

impl HostIntent {
    /// Parses and checks a host intent.
    ///
    /// # Errors
    /// [`NetError::InvalidIntent`] naming the first rule that is broken.
    pub fn parse(intent: &pb::HostIntent) -> Result<Self, NetError> {
        let egress = intent.egress.as_ref().map(egress_host).transpose()?;
        let vxlan_udp_port = port(intent.vxlan_udp_port, "vxlan udp port")?;
        Ok(Self {
            cluster: parse(&intent.cluster_id, "cluster id")?,
            node: parse(&intent.node_uuid, "node uuid")?,
            mesh_ip: parse(&intent.mesh_ip, "mesh address")?,
            mesh_nic: interface_name(&intent.mesh_nic)?,
            mesh_peers: intent
                .mesh_peers
                .iter()
                .map(|text| parse(text, "mesh peer"))
                .collect::<Result<_, _>>()?,
            protected: intent
                .protected_cidrs
                .iter()
                .map(|text| parse(text, "protected block"))
                .collect::<Result<_, _>>()?,
            underlay_mtu: intent.underlay_mtu,
            vxlan_udp_port,
            egress,
            service_targets: intent.service_targets.iter().map(service_target).collect::<Result<_, _>>()?,
        })
    }
}

fn egress_host(host: &pb::EgressHost) -> Result<EgressHost, NetError> {
    let mode = match host.mode() {
        pb::EgressMode::Nat => EgressMode::Nat,
        pb::EgressMode::Routed => EgressMode::Routed,
        pb::EgressMode::Bridged => EgressMode::Bridged,
        pb::EgressMode::Unspecified => return Err(invalid("egress mode is not stated")),
    };
    let floating_network: Ipv4Net = parse(&host.floating_network, "floating network")?;
    let router = parse(&host.floating_router, "floating router")?;
    inside(floating_network, router, "floating router")?;
    Ok(EgressHost {
        mode,
        floating_network: floating_network.trunc(),
        router,
        nic: interface_name(&host.nic)?,
        nic_dedicated: host.nic_dedicated,
    })
}

fn service_target(target: &pb::ServiceTarget) -> Result<ServiceTarget, NetError> {
    Ok(ServiceTarget {
        address: parse(&target.address, "service target")?,
        protocol: transport(&target.protocol)?,
        port: port(target.port, "service target port")?,
    })
}

fn local_port(row: &pb::LocalPort) -> Result<LocalPort, NetError> {
    let level = match row.port_security() {
        pb::PortSecurity::Strict | pb::PortSecurity::Unspecified => PortLevel::Strict,
        pb::PortSecurity::Mac => PortLevel::Mac,
        pb::PortSecurity::Off => PortLevel::Off,
    };
    Ok(LocalPort {
        interface: parse(&row.interface_uuid, "interface uuid")?,
        mac: guest_mac(&row.macaddr)?,
        allowed: row
            .allowed_addresses
            .iter()
            .map(|text| parse(text, "allowed address"))
            .collect::<Result<_, _>>()?,
        level,
    })
}

/// The gateway's own MAC is a remote port on every node but its carrier, so reserved prefixes are fine here.
fn remote_port(row: &pb::RemotePort) -> Result<(MacAddress, std::net::IpAddr), NetError> {
    Ok((parse(&row.macaddr, "mac address")?, parse(&row.mesh_ip, "mesh address")?))
}

fn float(row: &pb::Float) -> Result<Float, NetError> {
    Ok(Float {
        floating: parse(&row.floating_address, "floating address")?,
        address: parse(&row.address, "address")?,
    })
}

fn service_port(row: &pb::ServicePort, host: &HostIntent) -> Result<ServicePort, NetError> {
    let target: Ipv4Addr = parse(&row.target_address, "service target")?;
    if !host.protected.iter().any(|block| block.contains(&target)) {
        return Err(invalid(format!("service target {target} is outside the mesh")));
    }
    let target_port = port(row.target_port, "service target port")?;
    if target_port < 1_024 {
        return Err(invalid(format!("service target port {target_port} is below 1024")));
    }
    Ok(ServicePort {
        protocol: transport(&row.protocol)?,
        port: port(row.port, "service port")?,
        target,
        target_port,
        ttl_ms: row.ttl_ms,
    })
}

fn guest_mac(text: &str) -> Result<MacAddress, NetError> {
    let mac: MacAddress = parse(text, "mac address")?;
    if mac.is_reserved() || !mac.is_unicast() {
        return Err(invalid(format!("{mac} is not an address a guest may have")));
    }
    Ok(mac)
}

/// An interface name of the operator, or empty.
fn interface_name(name: &str) -> Result<String, NetError> {
    let sane = name.len() <= crate::names::MAX_NAME
        && name != "."
        && name != ".."
        && name.bytes().all(|b| b.is_ascii_graphic() && b != b'/' && b != b':');
    if sane { Ok(name.to_owned()) } else { Err(invalid(format!("{name:?} is not an interface name"))) }
}

fn transport(name: &str) -> Result<u8, NetError> {
    match name {
        "tcp" => Ok(TCP),
        "udp" => Ok(UDP),
        other => Err(invalid(format!("unknown transport protocol {other:?}"))),
    }
}

fn port(value: u32, what: &str) -> Result<u16, NetError> {
    u16::try_from(value)
        .ok()
        .filter(|port| *port > 0)
        .ok_or_else(|| invalid(format!("{what} {value} is out of range")))
}

fn parse<T: FromStr>(text: &str, what: &str) -> Result<T, NetError> {
    text.parse().map_err(|_| invalid(format!("{what} {text:?} is malformed")))
}

fn optional<T: FromStr>(text: &str, what: &str) -> Result<Option<T>, NetError> {
    if text.is_empty() { Ok(None) } else { parse(text, what).map(Some) }
}

fn inside(block: Ipv4Net, address: Ipv4Addr, what: &str) -> Result<(), NetError> {
    if block.contains(&address) {
        Ok(())
    } else {
        Err(invalid(format!("{what} {address} is outside {block}")))
    }
}

fn at_most(count: usize, limit: usize, what: &str) -> Result<(), NetError> {
    if count <= limit { Ok(()) } else { Err(invalid(format!("{count} {what}, at most {limit}"))) }
}

fn invalid(message: impl Into<String>) -> NetError {
    NetError::InvalidIntent(message.into())
}
