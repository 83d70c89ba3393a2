//! The DHCP server of one network.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::Arc;
use std::time::Instant;

use arc_swap::ArcSwap;
use nix::sys::socket::{MsgFlags, send};
use sf_events::{Recorder, event};
use sf_model::event::EventType;
use sf_model::{InterfaceId, MacAddress, NetworkId, ObjectType};
use sf_netstate::dhcp::{Limiter, Outcome, Snapshot, Target, handle, sender};
use sf_netstate::packet::{ETHERTYPE_IPV4, ethernet, udp_datagram};
use tokio::net::UdpSocket;

/// Packets of one client in a second.
const PER_CLIENT: u32 = 50;
/// Packets of a network in a second.
const PER_NETWORK: u32 = 2_000;
/// Seconds in which declines of one interface are told once: a guest decides how many it sends.
const DECLINE_SILENCE: u64 = 600;
const SERVER_PORT: u16 = 67;
const CLIENT_PORT: u16 = 68;

/// The server.
pub(super) struct Server {
    pub(super) network: NetworkId,
    /// MAC the gateway sends from.
    pub(super) router: MacAddress,
    pub(super) snapshot: Arc<ArcSwap<Snapshot>>,
    pub(super) socket: UdpSocket,
    /// Raw socket for clients that have no address yet.
    pub(super) frames: OwnedFd,
    pub(super) events: Recorder,
}

impl Server {
    /// Answers until the task is ended.
    pub(super) async fn run(self) {
        let started = Instant::now();
        let mut limiter = Limiter::new(PER_CLIENT, PER_NETWORK);
        let mut declines = Limiter::new(1, u32::MAX);
        let mut buffer = vec![0; 1_500];
        loop {
            let length = match self.socket.recv(&mut buffer).await {
                Ok(length) => length,
                Err(error) => {
                    // Errors of earlier sends come back here; the socket itself stays usable.
                    tracing::debug!(network = %self.network, %error, "DHCP receive");
                    tokio::time::sleep(super::ERROR_PAUSE).await;
                    continue;
                }
            };
            let packet = buffer.get(..length).unwrap_or_default();
            let Some(client) = sender(packet) else { continue };
            let now = started.elapsed().as_secs();
            if limiter.admit(client, now) {
                self.answer(packet, client, |interface| declines.admit(interface, now / DECLINE_SILENCE))
                    .await;
            } else {
                count("any", "limited");
            }
        }
    }

    async fn answer(&self, packet: &[u8], client: MacAddress, tells: impl FnOnce(InterfaceId) -> bool) {
        let snapshot = self.snapshot.load();
        match handle(packet, &snapshot) {
            Outcome::Reply { kind, payload, target } => {
                let sent = self.send(snapshot.gateway, &payload, target).await;
                if let Err(error) = &sent {
                    tracing::debug!(network = %self.network, %client, %error, "a DHCP reply could not be sent");
                }
                count(kind, if sent.is_ok() { "sent" } else { "failed" });
            }
            Outcome::Declined { interface, address } => {
                count("decline", "declined");
                if !tells(interface) {
                    return;
                }
                let told = event(EventType::Status, "dhcp address declined")
                    .object(ObjectType::Interface, interface)
                    .extra(serde_json::json!({ "address": address, "macaddr": client.to_string() }));
                self.events.record_detached(told);
            }
            Outcome::Silent(reason) => count("none", reason),
        }
    }

    async fn send(&self, gateway: Ipv4Addr, payload: &[u8], target: Target) -> std::io::Result<()> {
        match target {
            Target::Unicast(address) => self.socket.send_to(payload, address).await.map(drop),
            Target::Broadcast => {
                let everybody = SocketAddrV4::new(Ipv4Addr::BROADCAST, CLIENT_PORT);
                self.socket.send_to(payload, everybody).await.map(drop)
            }
            Target::Ethernet(mac, address) => {
                let datagram = udp_datagram((gateway, SERVER_PORT), (address, CLIENT_PORT), payload);
                let Some(datagram) = datagram else { return Ok(()) };
                let frame = ethernet(mac, self.router, ETHERTYPE_IPV4, &datagram);
                send(self.frames.as_raw_fd(), &frame, MsgFlags::MSG_DONTWAIT)
                    .map(drop)
                    .map_err(std::io::Error::from)
            }
        }
    }
}

fn count(kind: &'static str, outcome: &'static str) {
    metrics::counter!("sf_net_dhcp_packets_total", "type" => kind, "outcome" => outcome).increment(1);
}
