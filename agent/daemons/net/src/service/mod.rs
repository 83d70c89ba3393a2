//! DHCP and DNS of the networks this node carries (`networking.md` §8).
//!
//! Packets are answered from a snapshot that a render replaces as a whole: the packet path takes no lock and never waits
//! for the database. The sockets belong to the privileged worker, so a restart of this daemon closes no port.

mod dhcp;
mod dns;
mod forward;

use std::collections::HashMap;
use std::io;
use std::net::{TcpListener, UdpSocket};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use sf_events::Recorder;
use sf_model::{NetworkId, Vxid};
use sf_netstate::dhcp::Snapshot;
use sf_netstate::dns::Zone;
use sf_netstate::intent::{Dhcp, Dns};
use sf_netstate::names::gateway_mac;
use sf_protos::net_privexec::{CarrierPart, NetworkIntent, SocketKind};
use tokio::task::JoinSet;

use crate::error::NetError;
use crate::privexec::Privexec;

/// What an error of a socket is given to pass: without memory or descriptors, say, every call fails at once.
const ERROR_PAUSE: Duration = Duration::from_millis(100);

/// The services of all networks. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Plane {
    privexec: Privexec,
    events: Recorder,
    running: Arc<Mutex<HashMap<NetworkId, Running>>>,
}

/// The services of one network.
struct Running {
    /// Number of the sockets; other sockets have another one.
    generation: u64,
    dhcp: Option<Arc<ArcSwap<Snapshot>>>,
    dns: Option<Arc<ArcSwap<Zone>>>,
    tasks: JoinSet<()>,
}

/// What a network's services answer from.
struct Data {
    vxid: Vxid,
    dhcp: Option<Snapshot>,
    dns: Option<Zone>,
}

impl Plane {
    pub(crate) fn new(privexec: Privexec, events: Recorder) -> Self {
        Self { privexec, events, running: Arc::default() }
    }

    /// Serves what the intent says from now on. Sockets are only opened when they are missing or were made anew.
    pub(crate) async fn serve(&self, network: NetworkId, intent: &NetworkIntent) -> Result<(), NetError> {
        let Some(carrier) = &intent.carrier else { return Ok(()) };
        let data = Data::parse(intent, carrier)?;
        if data.dhcp.is_none() && data.dns.is_none() {
            self.stop(network).await;
            return Ok(());
        }
        let (_, generation) = self.privexec.sockets(network.to_string(), &[]).await?;
        if self.swap(network, generation, &data) {
            return Ok(());
        }
        // The old sockets have to be closed before new ones can be bound to the same ports.
        self.stop(network).await;
        self.start(network, data).await
    }

    /// Stops the services of a network.
    pub(crate) async fn stop(&self, network: NetworkId) {
        let running = self.running.lock().remove(&network);
        if let Some(mut running) = running {
            running.tasks.shutdown().await;
        }
    }

    /// Stops all services.
    pub(crate) async fn stop_all(&self) {
        let networks: Vec<NetworkId> = self.running.lock().keys().copied().collect();
        for network in networks {
            self.stop(network).await;
        }
    }

    /// Replaces the snapshots of running services; false when other services or sockets are needed.
    fn swap(&self, network: NetworkId, generation: u64, data: &Data) -> bool {
        let mut running = self.running.lock();
        let Some(found) = running.get_mut(&network).filter(|found| found.generation == generation) else {
            return false;
        };
        // None of them ends by itself. One that did failed, and is started anew with its sockets.
        if let Some(ended) = found.tasks.try_join_next() {
            tracing::error!(%network, ?ended, "a service of the network ended");
            return false;
        }
        if found.dhcp.is_some() != data.dhcp.is_some() || found.dns.is_some() != data.dns.is_some() {
            return false;
        }
        if let (Some(place), Some(snapshot)) = (&found.dhcp, &data.dhcp) {
            place.store(Arc::new(snapshot.clone()));
        }
        if let (Some(place), Some(zone)) = (&found.dns, &data.dns) {
            place.store(Arc::new(zone.clone()));
        }
        true
    }

    async fn start(&self, network: NetworkId, data: Data) -> Result<(), NetError> {
        let mut kinds = Vec::new();
        if data.dhcp.is_some() {
            kinds.extend([SocketKind::Udp67, SocketKind::Packet]);
        }
        if data.dns.is_some() {
            kinds.extend([SocketKind::Udp53, SocketKind::Tcp53]);
        }
        let (descriptors, generation) = self.privexec.sockets(network.to_string(), &kinds).await?;
        let failed = |source| NetError::Service { network: network.to_string(), source };
        let mut sockets: HashMap<SocketKind, OwnedFd> = kinds.into_iter().zip(descriptors).collect();
        let mut running = Running { generation, dhcp: None, dns: None, tasks: JoinSet::new() };
        if let Some(snapshot) = data.dhcp {
            let snapshot = Arc::new(ArcSwap::from_pointee(snapshot));
            let server = dhcp::Server {
                network,
                router: gateway_mac(data.vxid),
                snapshot: snapshot.clone(),
                socket: udp(&mut sockets, SocketKind::Udp67).map_err(failed)?,
                frames: take(&mut sockets, SocketKind::Packet).map_err(failed)?,
                events: self.events.clone(),
            };
            running.tasks.spawn(server.run());
            running.dhcp = Some(snapshot);
        }
        if let Some(zone) = data.dns {
            let zone = Arc::new(ArcSwap::from_pointee(zone));
            let forwarder = forward::Forwarder::new(network, self.privexec.clone());
            let server = dns::Server::new(zone.clone(), forwarder);
            running
                .tasks
                .spawn(server.clone().run_udp(udp(&mut sockets, SocketKind::Udp53).map_err(failed)?));
            running.tasks.spawn(server.run_tcp(tcp(&mut sockets).map_err(failed)?));
            running.dns = Some(zone);
        }
        self.running.lock().insert(network, running);
        Ok(())
    }
}

impl Data {
    fn parse(intent: &NetworkIntent, carrier: &CarrierPart) -> Result<Self, NetError> {
        let unusable = |detail: String| NetError::Unusable { what: "network intent", detail };
        let netblock =
            carrier.netblock.parse().map_err(|_| unusable(format!("netblock {:?}", carrier.netblock)))?;
        let gateway =
            carrier.gateway.parse().map_err(|_| unusable(format!("gateway {:?}", carrier.gateway)))?;
        let vxid = Vxid::new(intent.vxid).ok_or_else(|| unusable(format!("vxid {}", intent.vxid)))?;
        let dhcp = carrier.dhcp.as_ref().map(|data| Dhcp::parse(data, netblock)).transpose();
        let dns = carrier.dns.as_ref().map(Dns::parse).transpose();
        let dhcp = dhcp.map_err(|error| unusable(error.to_string()))?;
        let dns = dns.map_err(|error| unusable(error.to_string()))?;
        Ok(Self {
            vxid,
            dhcp: dhcp.map(|data| Snapshot::new(gateway, netblock, intent.mtu, &data)),
            dns: dns.map(|data| Zone::new(netblock, &data)),
        })
    }
}

fn take(sockets: &mut HashMap<SocketKind, OwnedFd>, kind: SocketKind) -> io::Result<OwnedFd> {
    sockets
        .remove(&kind)
        .ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, format!("no {kind:?} socket came")))
}

fn udp(sockets: &mut HashMap<SocketKind, OwnedFd>, kind: SocketKind) -> io::Result<tokio::net::UdpSocket> {
    let socket = UdpSocket::from(take(sockets, kind)?);
    socket.set_nonblocking(true)?;
    tokio::net::UdpSocket::from_std(socket)
}

fn tcp(sockets: &mut HashMap<SocketKind, OwnedFd>) -> io::Result<tokio::net::TcpListener> {
    let listener = TcpListener::from(take(sockets, SocketKind::Tcp53)?);
    listener.set_nonblocking(true)?;
    tokio::net::TcpListener::from_std(listener)
}
