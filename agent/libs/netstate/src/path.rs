//! Whether packets of a size get through to another host in one piece.

use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::time::Instant;

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, SockaddrIn, sendto, socket,
};
use rustix::net::sockopt::{Ipv4PathMtuDiscovery, set_ip_mtu_discover};

use crate::packet::echo_request_with;
use crate::ping::wait;

/// Bytes of the IPv4 header and of the ICMP header before the data.
const HEADERS: u32 = 28;
/// Packets may get lost for other reasons than their size.
const ATTEMPTS: u16 = 3;

/// Sends echo requests of so many bytes, headers of IPv4 included, until one is answered; whether one was. Needs
/// `CAP_NET_RAW`; blocks for up to three seconds.
///
/// # Errors
/// The socket cannot be made or used.
pub fn passes(target: Ipv4Addr, bytes: u32) -> io::Result<bool> {
    let socket = open()?;
    let identifier = (std::process::id() as u16) ^ (u32::from(target) as u16) ^ (bytes as u16);
    let address = SockaddrIn::from(SocketAddrV4::new(target, 0));
    let data = usize::try_from(bytes.saturating_sub(HEADERS)).unwrap_or(usize::MAX);
    for sequence in 1..=ATTEMPTS {
        let request = echo_request_with(identifier, sequence, data);
        let begun = Instant::now();
        match sendto(socket.as_raw_fd(), &request, &address, MsgFlags::empty()) {
            Ok(_) => {}
            // The own device does not carry that many bytes, or there is no way there.
            Err(Errno::EMSGSIZE | Errno::EHOSTUNREACH | Errno::ENETUNREACH | Errno::EPERM) => {
                return Ok(false);
            }
            Err(error) => return Err(error.into()),
        }
        if wait(socket.as_fd(), target, identifier, sequence, begun)?.is_some() {
            return Ok(true);
        }
    }
    Ok(false)
}

/// A socket whose packets may not be divided, whatever the kernel has heard about the path before.
fn open() -> io::Result<OwnedFd> {
    let socket = socket(AddressFamily::Inet, SockType::Raw, SockFlag::SOCK_CLOEXEC, SockProtocol::Icmp)?;
    set_ip_mtu_discover(&socket, Ipv4PathMtuDiscovery::PROBE)?;
    Ok(socket)
}
