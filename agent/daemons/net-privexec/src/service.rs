//! Sockets of the DHCP and DNS services, opened once and handed out again after a restart of `sf-net`.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use parking_lot::Mutex;
use sf_model::NetworkId;
use sf_netstate::NetError;
use sf_netstate::names::Role;
use sf_netstate::netlink::{addr, link};
use sf_netstate::render::{Namespaces, lock};
use sf_protos::net_privexec::SocketKind;

use crate::helper::OpenKind;
use crate::spaces::Spaces;

/// The kept sockets of all networks.
pub(crate) struct ServiceSockets {
    spaces: Arc<Spaces>,
    kept: Mutex<Kept>,
}

struct Kept {
    generation: u64,
    networks: HashMap<NetworkId, Sockets>,
}

struct Sockets {
    place: Place,
    generation: u64,
    open: HashMap<SocketKind, OwnedFd>,
}

/// What the sockets are bound to. When any of it changes they have to be made anew.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Place {
    inode: u64,
    index: u32,
    name: String,
    gateway: Ipv4Addr,
}

impl ServiceSockets {
    pub(crate) fn new(spaces: Arc<Spaces>) -> Self {
        // A worker that was restarted opens new sockets, so its numbers must differ from those of the one before.
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |age| age.as_millis());
        let kept = Kept { generation: u64::try_from(now).unwrap_or(0), networks: HashMap::new() };
        Self { spaces, kept: Mutex::new(kept) }
    }

    /// Sockets of the given kinds, in order, and the number that changes when they were made anew.
    pub(crate) fn open(
        &self,
        network: NetworkId,
        kinds: &[SocketKind],
    ) -> Result<(Vec<OwnedFd>, u64), NetError> {
        let place = self.place(network)?;
        let mut kept = self.kept.lock();
        if kept.networks.get(&network).is_none_or(|sockets| sockets.place != place) {
            kept.generation += 1;
            let sockets = Sockets { place: place.clone(), generation: kept.generation, open: HashMap::new() };
            kept.networks.insert(network, sockets);
        }
        let Some(sockets) = kept.networks.get_mut(&network) else { return Ok((Vec::new(), 0)) };
        let mut descriptors = Vec::with_capacity(kinds.len());
        for kind in kinds {
            descriptors.push(self.one(network, &place, *kind, sockets)?);
        }
        Ok((descriptors, sockets.generation))
    }

    /// A socket that is the caller's alone.
    pub(crate) fn open_client(&self, network: NetworkId, kind: SocketKind) -> Result<OwnedFd, NetError> {
        match kind {
            SocketKind::UdpClient => self.spaces.open(network, OpenKind::UdpClient),
            SocketKind::TcpClient => self.spaces.open(network, OpenKind::TcpClient),
            other => Err(NetError::InvalidIntent(format!("{other:?} is not a client socket"))),
        }
    }

    /// Closes the worker's copies.
    pub(crate) fn close(&self, network: NetworkId) {
        self.kept.lock().networks.remove(&network);
    }

    fn one(
        &self,
        network: NetworkId,
        place: &Place,
        kind: SocketKind,
        sockets: &mut Sockets,
    ) -> Result<OwnedFd, NetError> {
        let how = match kind {
            SocketKind::Udp67 => OpenKind::Udp67(place.name.clone()),
            SocketKind::Udp53 => OpenKind::Udp53(place.gateway),
            SocketKind::Tcp53 => OpenKind::Tcp53(place.gateway),
            SocketKind::Packet => OpenKind::Packet(place.index),
            other => return self.open_client(network, other),
        };
        let socket = match sockets.open.remove(&kind) {
            Some(socket) => socket,
            None => self.spaces.open(network, how)?,
        };
        let copy =
            socket.as_fd().try_clone_to_owned().map_err(|error| NetError::io("service socket", error))?;
        sockets.open.insert(kind, socket);
        Ok(copy)
    }

    fn place(&self, network: NetworkId) -> Result<Place, NetError> {
        let missing =
            |what: &str| NetError::InvalidIntent(format!("network {network} has no {what} on this node"));
        let inode = self.spaces.inode(network)?.ok_or_else(|| missing("namespace"))?;
        let sockets = self.spaces.sockets(network)?;
        let mut sockets = lock(&sockets);
        let links = link::list(&mut sockets.route, false)?;
        let gateway_link = links
            .iter()
            .find(|link| matches!(Role::parse(&link.name), Some((Role::GatewayInner, _))))
            .ok_or_else(|| missing("gateway link"))?;
        let addresses = addr::addresses(&mut sockets.route)?;
        let gateway = addresses.iter().find_map(|(index, net)| match net.addr() {
            IpAddr::V4(address) if *index == gateway_link.index => Some(address),
            _ => None,
        });
        Ok(Place {
            inode,
            index: gateway_link.index,
            name: gateway_link.name.clone(),
            gateway: gateway.ok_or_else(|| missing("gateway address"))?,
        })
    }
}
