//! What the kernel has to offer, found out by using it in a namespace that is thrown away (`networking.md` §17.4).

use std::net::Ipv4Addr;
use std::os::fd::{AsRawFd, OwnedFd};

use sf_model::{MacAddress, NetworkId, Vxid};
use sf_netstate::NetError;
use sf_netstate::intent::{Carrier, Dhcp, Dns};
use sf_netstate::model::VxlanSpec;
use sf_netstate::netlink::conntrack;
use sf_netstate::netlink::link::{self, PeerSpec};
use sf_netstate::nft::encode::replace_table;
use sf_netstate::nft::tables::{net, port};
use sf_netstate::render::{Namespaces, Sockets, lock};

use crate::error::PrivexecError;
use crate::helper::Helper;
use crate::options::Options;
use crate::spaces::Spaces;

/// Any id will do: nothing else is in the namespace.
const PROBE: u32 = Vxid::MIN;
const LOOPBACK: u32 = 1;

/// Whether this kernel can make networks, tried out by a process that is not the daemon. To be called before other
/// threads exist: the helper is a process of its own.
///
/// # Errors
/// [`PrivexecError::KernelLacks`], or what stood in the way of trying.
pub fn kernel(options: &Options) -> Result<(), PrivexecError> {
    probe(&Spaces::new(Helper::start(&options.netns_dir)?, &options.netns_dir))
}

/// Uses everything a network needs once.
///
/// # Errors
/// [`PrivexecError::KernelLacks`] naming everything that is missing, not only the first.
pub(crate) fn probe(spaces: &Spaces) -> Result<(), PrivexecError> {
    let network = NetworkId::random();
    spaces.create(network)?;
    let missing = spaces.handle(network).and_then(|handle| {
        let sockets = spaces.sockets(network)?;
        Ok(missing(&mut lock(&sockets), &handle))
    });
    spaces.delete(network)?;
    match missing? {
        missing if missing.is_empty() => Ok(()),
        missing => Err(PrivexecError::KernelLacks(missing.join("; "))),
    }
}

fn missing(sockets: &mut Sockets, handle: &OwnedFd) -> Vec<String> {
    let attempts: [(&str, Result<(), NetError>); 6] = [
        ("bridge", link::create_bridge(&mut sockets.route, "probe-b")),
        ("vxlan", vxlan(sockets)),
        ("veth", veth(sockets, handle)),
        ("nf_tables with nat, ct, maps and intervals", network_table(sockets)),
        ("nf_tables for bridges", sockets.nft.transaction(replace_table(&port::spec(), &Default::default()))),
        ("nf_conntrack_netlink", conntrack::count(&mut sockets.nft).map(drop)),
    ];
    let failed = attempts.into_iter().filter_map(|(what, outcome)| outcome.err().map(|error| (what, error)));
    failed.map(|(what, error)| format!("{what} ({error})")).collect()
}

fn vxlan(sockets: &mut Sockets) -> Result<(), NetError> {
    let Some(vxid) = Vxid::new(PROBE) else { return Ok(()) };
    let spec = VxlanSpec { local: Ipv4Addr::LOCALHOST.into(), port: 4_789, lower: LOOPBACK, learning: false };
    link::create_vxlan(&mut sockets.route, "probe-x", vxid, &spec, 1_450)
}

fn veth(sockets: &mut Sockets, handle: &OwnedFd) -> Result<(), NetError> {
    let mac = MacAddress::new([2, 0, 0, 0, 0, 1]);
    let peer = PeerSpec { name: "probe-i", mac, mtu: 1_450, namespace: handle.as_raw_fd() };
    link::create_veth(&mut sockets.route, "probe-o", 1_450, &peer)
}

fn network_table(sockets: &mut Sockets) -> Result<(), NetError> {
    let Some(vxid) = Vxid::new(PROBE) else { return Ok(()) };
    let carrier = Carrier {
        epoch: 0,
        session_epoch: 0,
        egress_live: false,
        netblock: Ipv4Addr::new(10, 0, 0, 0).into(),
        gateway: Ipv4Addr::new(10, 0, 0, 1),
        egress: Some(Ipv4Addr::new(192, 0, 2, 1)),
        provide_nat: true,
        floats: Vec::new(),
        routed: Vec::new(),
        service_ports: Vec::new(),
        dhcp: Some(Dhcp::default()),
        dns: Some(Dns::default()),
    };
    sockets.nft.transaction(replace_table(&net::spec(vxid, &carrier), &net::elements(&carrier, &[])))
}
