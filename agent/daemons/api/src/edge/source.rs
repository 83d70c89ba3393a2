//! Where a request comes from: the peer of the connection, or what a trusted proxy says.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use http::request::Parts;
use ipnet::IpNet;

/// The peer of the connection, put into each request by the server.
#[derive(Debug, Clone, Copy)]
pub struct Peer(pub SocketAddr);

/// The right-most address that is not one of our proxies.
pub(super) fn of(parts: &Parts, trusted: &[IpNet]) -> IpAddr {
    let peer = parts.extensions.get::<Peer>().map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |peer| peer.0.ip());
    let forwarded = parts.headers.get_all("x-forwarded-for").iter().filter_map(|value| value.to_str().ok());
    let hops: Vec<&str> = forwarded.flat_map(|value| value.split(',')).map(str::trim).collect();
    walk(peer, &hops, trusted)
}

fn walk(peer: IpAddr, hops: &[&str], trusted: &[IpNet]) -> IpAddr {
    let is_proxy = |address: &IpAddr| trusted.iter().any(|net| net.contains(address));
    let mut address = peer;
    for hop in hops.iter().rev() {
        if !is_proxy(&address) {
            break;
        }
        match hop.parse() {
            Ok(next) => address = next,
            // Nothing beyond a malformed entry can be believed.
            Err(_) => return peer,
        }
    }
    address
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_trusted_proxies_are_believed() {
        let trusted: Vec<IpNet> = vec!["10.0.0.0/8".parse().unwrap()];
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        for (peer, hops, expected) in [
            ("1.2.3.4", vec!["9.9.9.9"], "1.2.3.4"),
            ("10.0.0.1", vec!["9.9.9.9"], "9.9.9.9"),
            ("10.0.0.1", vec!["6.6.6.6", "9.9.9.9", "10.0.0.2"], "9.9.9.9"),
            ("10.0.0.1", vec!["9.9.9.9", "nonsense"], "10.0.0.1"),
            ("10.0.0.1", vec![], "10.0.0.1"),
        ] {
            assert_eq!(walk(ip(peer), &hops, &trusted), ip(expected), "{peer} {hops:?}");
        }
        assert_eq!(walk(ip("10.0.0.1"), &["9.9.9.9"], &[]), ip("10.0.0.1"));
    }
}
