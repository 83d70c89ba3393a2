//! Names of kernel objects: derived, never stored. See `networking.md` §3.

use std::fmt;

use sf_model::{ClusterId, MacAddress, NetworkId, Vxid};

/// Interface group that marks a link of ours between its creation and the moment its alias is set.
/// The alias cannot be given at creation, so without it a crash in between would leave a foreign link.
pub const MARK_GROUP: u32 = 0x5f1;

/// Longest interface name the kernel takes, without the terminator.
pub const MAX_NAME: usize = 15;

/// A link of one network, by its part in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// `vxlan-V`, root namespace.
    Vxlan,
    /// `br-vxlan-V`, root namespace.
    Bridge,
    /// `veth-V-o`, root namespace end of the pair that attaches the network's namespace to its bridge.
    GatewayOuter,
    /// `egr-V-o`, root namespace end of the pair that attaches the network's namespace to the egress bridge.
    EgressOuter,
    /// `veth-V-i`, namespace end.
    GatewayInner,
    /// `egr-V-i`, namespace end.
    EgressInner,
}

/// The roles that live in the root namespace.
pub const ROOT_ROLES: [Role; 4] = [Role::Vxlan, Role::Bridge, Role::GatewayOuter, Role::EgressOuter];

impl Role {
    /// Name of the link of network `vxid` in this role.
    pub fn name(self, vxid: Vxid) -> String {
        let v = vxid.hex();
        match self {
            Self::Vxlan => format!("vxlan-{v}"),
            Self::Bridge => format!("br-vxlan-{v}"),
            Self::GatewayOuter => format!("veth-{v}-o"),
            Self::EgressOuter => format!("egr-{v}-o"),
            Self::GatewayInner => format!("veth-{v}-i"),
            Self::EgressInner => format!("egr-{v}-i"),
        }
    }

    /// The end inside the namespace that belongs to an outer end.
    pub fn inner(self) -> Option<Self> {
        match self {
            Self::GatewayOuter => Some(Self::GatewayInner),
            Self::EgressOuter => Some(Self::EgressInner),
            _ => None,
        }
    }

    /// Role and VXLAN id of a name of ours; `None` for any other name.
    pub fn parse(name: &str) -> Option<(Self, Vxid)> {
        let (role, digits) = if let Some(rest) = name.strip_prefix("br-vxlan-") {
            (Self::Bridge, rest)
        } else if let Some(rest) = name.strip_prefix("vxlan-") {
            (Self::Vxlan, rest)
        } else if let Some(rest) = name.strip_prefix("veth-") {
            match rest.strip_suffix("-o") {
                Some(digits) => (Self::GatewayOuter, digits),
                None => (Self::GatewayInner, rest.strip_suffix("-i")?),
            }
        } else {
            let rest = name.strip_prefix("egr-")?;
            match rest.strip_suffix("-o") {
                Some(digits) => (Self::EgressOuter, digits),
                None => (Self::EgressInner, rest.strip_suffix("-i")?),
            }
        };
        if !is_hex(digits, 6) {
            return None;
        }
        Some((role, Vxid::new(u32::from_str_radix(digits, 16).ok()?)?))
    }
}

/// Name of the tap of an interface: `tap` and the twelve digits of its MAC.
pub fn tap(mac: MacAddress) -> String {
    format!("tap{}", mac.hex())
}

/// What the names of egress bridges begin with; a macro, because patterns are put together from it.
macro_rules! egress_prefix {
    () => {
        "egr-br-"
    };
}

/// The same for those who look for them.
pub const EGRESS_PREFIX: &str = egress_prefix!();

/// Name of the egress bridge over an outside interface, cut to what the kernel takes.
pub fn egress_bridge(nic: &str) -> String {
    format!("{EGRESS_PREFIX}{nic}").chars().take(MAX_NAME).collect()
}

/// Six digits, as they stand in the names of one network's links.
macro_rules! vxid {
    () => {
        "[0-9a-f][0-9a-f][0-9a-f][0-9a-f][0-9a-f][0-9a-f]"
    };
}

/// Shell patterns of the names of all our links, for the network managers of the host. Each has the whole shape of the
/// name: operators have bridges and taps too, and what is left alone by mistake loses its addresses.
pub const GLOBS: [&str; 6] = [
    concat!("vxlan-", vxid!()),
    concat!("br-vxlan-", vxid!()),
    concat!("veth-", vxid!(), "-[io]"),
    concat!("egr-", vxid!(), "-[io]"),
    concat!("tap", vxid!(), vxid!()),
    concat!(egress_prefix!(), "*"),
];

/// Whether a link has a name as ours have: what [`GLOBS`] match.
pub fn is_ours(name: &str) -> bool {
    Role::parse(name).is_some()
        || name.strip_prefix("tap").is_some_and(|digits| is_hex(digits, 12))
        || name.starts_with(EGRESS_PREFIX)
}

/// Whether a text is so many digits as names are written with: lower case.
fn is_hex(digits: &str, length: usize) -> bool {
    digits.len() == length && digits.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}

/// MAC of the gateway: the same on every carrier, so that guests' ARP caches survive a move.
pub fn gateway_mac(vxid: Vxid) -> MacAddress {
    derived_mac(sf_model::mac::GATEWAY_PREFIX, vxid)
}

/// MAC of the egress end: the same on every carrier, so that the router's ARP cache survives a move.
pub fn egress_mac(vxid: Vxid) -> MacAddress {
    derived_mac(sf_model::mac::EGRESS_PREFIX, vxid)
}

fn derived_mac([a, b, c]: [u8; 3], vxid: Vxid) -> MacAddress {
    let [_, d, e, f] = vxid.get().to_be_bytes();
    MacAddress::new([a, b, c, d, e, f])
}

/// The ownership mark every link of ours carries as its alias.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mark {
    /// Cluster that made the link.
    pub cluster: ClusterId,
    /// Network it belongs to; `None` for links of the host (the egress bridge).
    pub network: Option<NetworkId>,
}

impl Mark {
    /// Whether the link was made by this cluster; `None` stands for any.
    pub fn is_of(&self, cluster: Option<ClusterId>) -> bool {
        cluster.is_none_or(|cluster| cluster == self.cluster)
    }

    /// Reads an alias; `None` when it is not a mark.
    pub fn parse(alias: &str) -> Option<Self> {
        let (cluster, network) = alias.strip_prefix("sf1:")?.split_once(':')?;
        let network = if network == "host" { None } else { Some(network.parse().ok()?) };
        Some(Self { cluster: cluster.parse().ok()?, network })
    }
}

impl fmt::Display for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.network {
            Some(network) => write!(f, "sf1:{}:{network}", self.cluster),
            None => write!(f, "sf1:{}:host", self.cluster),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Role; 6] = [
        Role::Vxlan,
        Role::Bridge,
        Role::GatewayOuter,
        Role::EgressOuter,
        Role::GatewayInner,
        Role::EgressInner,
    ];

    #[test]
    fn names_fit_and_parse_back() {
        for value in [16, 0xabcdef, 16_777_215] {
            let vxid = Vxid::new(value).unwrap();
            for role in ALL {
                let name = role.name(vxid);
                assert!(name.len() <= MAX_NAME, "{name}");
                assert_eq!(Role::parse(&name), Some((role, vxid)), "{name}");
            }
        }
    }

    #[test]
    fn foreign_names_are_not_ours() {
        for name in [
            "eth0",
            "vxlan-1",
            "vxlan-ABCDEF",
            "br-vxlan-zzzzzz",
            "egr-br-eth0",
            "veth-00aa00",
            "vxlan-000000",
            "vxlan-00001",
            "tap020000000001",
        ] {
            assert_eq!(Role::parse(name), None, "{name}");
        }
    }

    /// The patterns are what other programs read; what they match is what we call ours.
    #[test]
    fn patterns_match_our_links_and_no_link_of_the_operator() {
        let globs = GLOBS.map(|glob| glob::Pattern::new(glob).unwrap());
        let matched = |name: &str| globs.iter().any(|glob| glob.matches(name));
        let vxid = Vxid::new(0xabcdef).unwrap();
        let mac = "02:00:00:11:22:33".parse().unwrap();
        for name in ALL.map(|role| role.name(vxid)).into_iter().chain([tap(mac), egress_bridge("enp0s31f6")])
        {
            assert!(is_ours(&name) && matched(&name), "{name}");
        }
        for name in [
            "br-mgmt",
            "br-lan",
            "br0",
            "br-0123456789ab",
            "br-vxlan-uplink",
            "vxlan-uplink",
            "vxlan-1",
            "vxlan-storage",
            "veth-abc",
            "vethd3f1a20",
            "veth-00aa00",
            "egress0",
            "egr-dmz",
            "phy-eth0",
            "tap0",
            "tap-vpn",
            "tapabcdefghijkl",
            "vnet0",
            "eth0",
            "docker0",
        ] {
            assert!(!is_ours(name) && !matched(name), "{name}");
        }
    }

    #[test]
    fn derived_values() {
        let vxid = Vxid::new(0x0a0b0c).unwrap();
        assert_eq!(gateway_mac(vxid).to_string(), "02:53:46:0a:0b:0c");
        assert_eq!(egress_mac(vxid).to_string(), "06:53:46:0a:0b:0c");
        assert_eq!(tap("02:00:00:11:22:33".parse().unwrap()), "tap020000112233");
        assert_eq!(egress_bridge("enp0s31f6"), "egr-br-enp0s31f");
    }

    #[test]
    fn marks_round_trip() {
        let mark = Mark { cluster: ClusterId::random(), network: Some(NetworkId::random()) };
        assert_eq!(Mark::parse(&mark.to_string()), Some(mark));
        let host = Mark { network: None, ..mark };
        assert_eq!(Mark::parse(&host.to_string()), Some(host));
        for other in ["", "sf1:", "sf1:x:y", "uplink to switch 4"] {
            assert_eq!(Mark::parse(other), None, "{other}");
        }
    }
}
