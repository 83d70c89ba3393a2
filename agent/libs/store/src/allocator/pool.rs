//! Pools: which values they hold and how long a released one rests.

use std::net::Ipv4Addr;
use std::time::Duration;

use ipnet::Ipv4Net;
use sf_config::ClusterConfig;
use sf_model::{NetworkId, NodeId, ObjectType, Vxid};
use uuid::Uuid;

/// Who holds a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Owner {
    /// Kind of object.
    pub object_type: ObjectType,
    /// The object.
    pub uuid: Uuid,
}

impl Owner {
    /// An owner.
    pub fn new(object_type: ObjectType, uuid: Uuid) -> Self {
        Self { object_type, uuid }
    }
}

/// One pool of values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pool {
    pub(super) name: String,
    pub(super) first: u64,
    pub(super) last: u64,
    /// Rest of a released value; none rests until [`super::start_halo`] says so.
    pub(super) halo: Option<Duration>,
    /// Rest that is enough when the pool is exhausted; none means never shortened.
    pub(super) floor: Option<Duration>,
    /// A caller who names a resting value gets it.
    pub(super) exact_takes_halo: bool,
}

/// Rest of a VXLAN id, counted from the moment no node has the network any more.
pub(super) const VXID_HALO: Duration = Duration::from_secs(600);
/// Rest of the ports and context ids of instances.
pub(super) const PORT_HALO: Duration = Duration::from_secs(60);
/// Rest of a MAC address.
pub(super) const MAC_HALO: Duration = Duration::from_secs(300);
/// Rest of a service port.
pub(super) const SERVICE_PORT_HALO: Duration = Duration::from_secs(120);
/// Shortest rest of an address.
const ADDRESS_FLOOR: Duration = Duration::from_secs(30);

impl Pool {
    /// VXLAN ids of tenant networks.
    pub fn vxid() -> Self {
        Self::new("vxid", Vxid::MIN.into(), Vxid::MAX.into(), None, None)
    }

    /// MAC addresses; automatic ones are the configured prefix and 24 random bits.
    pub fn mac(settings: &ClusterConfig) -> Self {
        let prefix = settings
            .mac_prefix
            .split(':')
            .fold(0u64, |sum, octet| (sum << 8) | u64::from(u8::from_str_radix(octet, 16).unwrap_or(0)))
            << 24;
        Self::new("mac", prefix, prefix | 0x00ff_ffff, Some(MAC_HALO), Some(Duration::ZERO))
    }

    /// Addresses of a network's block. A resting address may be taken over by a caller who names it.
    pub fn ipv4(network: NetworkId, block: Ipv4Net, settings: &ClusterConfig) -> Self {
        let first = u32::from(block.network());
        let halo = settings.ip_deletion_halo_duration;
        let mut pool = Self::new(
            &format!("ipv4:{network}"),
            first.into(),
            u32::from(block.broadcast()).into(),
            Some(halo),
            Some(ADDRESS_FLOOR.min(halo)),
        );
        pool.exact_takes_halo = true;
        pool
    }

    /// The floating block.
    pub fn floating(settings: &ClusterConfig) -> Self {
        Self::ipv4(NetworkId::FLOATING, settings.floating_network.trunc(), settings)
    }

    /// Console and graphics ports of a node.
    pub fn node_port(node: NodeId) -> Self {
        Self::new(&format!("nodeport:{node}"), 30_000, 50_000, Some(PORT_HALO), Some(Duration::ZERO))
    }

    /// Context ids of guests.
    pub fn vsock_cid() -> Self {
        Self::new("vsock_cid", 3, 0xffff_fffe, Some(PORT_HALO), Some(Duration::ZERO))
    }

    /// Ports at the egress address of a network.
    pub fn service_port(network: NetworkId, settings: &ClusterConfig) -> Self {
        let range = &settings.service_port_range.0;
        Self::new(
            &format!("svcport:{network}"),
            (*range.start()).into(),
            (*range.end()).into(),
            Some(SERVICE_PORT_HALO),
            Some(Duration::ZERO),
        )
    }

    /// A pool with a small range of its own, for tests of the allocator.
    #[cfg(feature = "testing")]
    pub fn for_test(name: &str, first: u64, last: u64, halo: Duration, floor: Duration) -> Self {
        Self::new(name, first, last, Some(halo), Some(floor))
    }

    /// Its name in the table.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How many values it has.
    pub fn capacity(&self) -> u64 {
        self.last - self.first + 1
    }

    fn new(name: &str, first: u64, last: u64, halo: Option<Duration>, floor: Option<Duration>) -> Self {
        Self { name: name.to_owned(), first, last: last.max(first), halo, floor, exact_takes_halo: false }
    }
}

/// The address a value of an address pool stands for.
pub fn address(value: u64) -> Ipv4Addr {
    Ipv4Addr::from(u32::try_from(value).unwrap_or(u32::MAX))
}

/// The value an address has in its pool.
pub fn value_of(address: Ipv4Addr) -> u64 {
    u32::from(address).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pools_cover_their_documented_ranges() {
        let settings = ClusterConfig::from_texts([]).unwrap().0;
        assert_eq!(Pool::vxid().capacity(), 16_777_200);
        assert_eq!(Pool::mac(&settings).first, 0x0200_0000_0000);
        let net: Ipv4Net = "10.0.0.0/24".parse().unwrap();
        let pool = Pool::ipv4(NetworkId::FLOATING, net, &settings);
        assert_eq!((pool.capacity(), address(pool.first).to_string().as_str()), (256, "10.0.0.0"));
        assert_eq!(Pool::node_port(NodeId::random()).capacity(), 20_001);
    }
}
