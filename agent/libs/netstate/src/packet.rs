//! Small packets built by hand: ARP, ICMP echo, UDP over IPv4, and the internet checksum.

use std::net::Ipv4Addr;

use sf_model::MacAddress;

/// EtherType of ARP.
pub const ETHERTYPE_ARP: u16 = 0x0806;
/// EtherType of IPv4.
pub const ETHERTYPE_IPV4: u16 = 0x0800;

/// Every station of a segment.
pub const BROADCAST: MacAddress = MacAddress::new([0xff; 6]);

/// An Ethernet frame.
pub fn ethernet(destination: MacAddress, source: MacAddress, ethertype: u16, payload: &[u8]) -> Vec<u8> {
    let mut frame = Vec::with_capacity(payload.len() + 14);
    frame.extend(destination.octets());
    frame.extend(source.octets());
    frame.extend(ethertype.to_be_bytes());
    frame.extend(payload);
    frame
}

/// A gratuitous ARP request: sender and target are the announced address.
pub fn gratuitous_arp(mac: MacAddress, address: Ipv4Addr) -> Vec<u8> {
    const REQUEST: u8 = 1;
    let mut packet = vec![0, 1, 0x08, 0x00, 6, 4, 0, REQUEST];
    packet.extend(mac.octets());
    packet.extend(address.octets());
    packet.extend([0; 6]);
    packet.extend(address.octets());
    packet
}

/// An ICMP echo request with 56 bytes of data, as the usual tool sends it.
pub fn echo_request(identifier: u16, sequence: u16) -> Vec<u8> {
    echo_request_with(identifier, sequence, 56)
}

/// The same with so many bytes of data.
pub fn echo_request_with(identifier: u16, sequence: u16, data: usize) -> Vec<u8> {
    const ECHO: u8 = 8;
    let mut packet = vec![ECHO, 0, 0, 0];
    packet.extend(identifier.to_be_bytes());
    packet.extend(sequence.to_be_bytes());
    packet.extend((0..=u8::MAX).cycle().take(data));
    let sum = checksum(&[&packet]).to_be_bytes();
    packet.splice(2..4, sum);
    packet
}

/// What an answer to an echo request says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EchoReply {
    /// Who answered.
    pub source: Ipv4Addr,
    /// Sequence number of the request.
    pub sequence: u16,
    /// Hops left.
    pub ttl: u8,
    /// Bytes of the ICMP message.
    pub length: usize,
}

/// Reads an IPv4 packet as an answer to the echo requests of `identifier`; `None` for anything else.
pub fn parse_echo_reply(packet: &[u8], identifier: u16) -> Option<EchoReply> {
    const ECHO_REPLY: u8 = 0;
    let header = usize::from(packet.first()? & 0x0f) * 4;
    let ttl = *packet.get(8)?;
    let source: [u8; 4] = packet.get(12..16)?.try_into().ok()?;
    let message = packet.get(header..)?;
    let [kind, _, _, _, id_high, id_low, seq_high, seq_low] = message.get(..8)?.try_into().ok()?;
    if kind != ECHO_REPLY || u16::from_be_bytes([id_high, id_low]) != identifier {
        return None;
    }
    let sequence = u16::from_be_bytes([seq_high, seq_low]);
    Some(EchoReply { source: source.into(), sequence, ttl, length: message.len() })
}

/// A UDP datagram inside an IPv4 packet, both checksums filled in.
pub fn udp_datagram(
    source: (Ipv4Addr, u16),
    destination: (Ipv4Addr, u16),
    payload: &[u8],
) -> Option<Vec<u8>> {
    const UDP: u8 = 17;
    let udp_length = u16::try_from(payload.len() + 8).ok()?;
    let total = udp_length.checked_add(20)?;
    let mut ip = vec![0x45, 0];
    ip.extend(total.to_be_bytes());
    ip.extend([0, 0, 0x40, 0, 64, UDP, 0, 0]);
    ip.extend(source.0.octets());
    ip.extend(destination.0.octets());
    let sum = checksum(&[&ip]).to_be_bytes();
    ip.splice(10..12, sum);
    let mut udp = Vec::with_capacity(payload.len() + 8);
    udp.extend(source.1.to_be_bytes());
    udp.extend(destination.1.to_be_bytes());
    udp.extend(udp_length.to_be_bytes());
    udp.extend([0, 0]);
    udp.extend(payload);
    let mut pseudo = source.0.octets().to_vec();
    pseudo.extend(destination.0.octets());
    pseudo.extend([0, UDP]);
    pseudo.extend(udp_length.to_be_bytes());
    // A computed zero is sent as all ones: zero means "no checksum".
    let sum = match checksum(&[&pseudo, &udp]) {
        0 => 0xffff,
        sum => sum,
    };
    udp.splice(6..8, sum.to_be_bytes());
    ip.extend(udp);
    Some(ip)
}

/// The internet checksum over several runs of bytes. Every run but the last has an even length.
fn checksum(runs: &[&[u8]]) -> u16 {
    let mut sum = 0u32;
    for pair in runs.iter().flat_map(|run| run.chunks(2)) {
        let high = pair.first().copied().unwrap_or(0);
        let low = pair.get(1).copied().unwrap_or(0);
        sum += u32::from(u16::from_be_bytes([high, low]));
    }
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !u16::try_from(sum).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn golden_arp() {
        let packet = gratuitous_arp("02:53:46:00:00:10".parse().unwrap(), Ipv4Addr::new(10, 0, 0, 1));
        assert_eq!(
            packet,
            [0, 1, 8, 0, 6, 4, 0, 1, 2, 0x53, 0x46, 0, 0, 0x10, 10, 0, 0, 1, 0, 0, 0, 0, 0, 0, 10, 0, 0, 1]
        );
    }

    #[test]
    fn checksums_verify() {
        let echo = echo_request(7, 3);
        assert_eq!(checksum(&[&echo]), 0);
        let source = (Ipv4Addr::new(10, 0, 0, 1), 67);
        let destination = (Ipv4Addr::new(10, 0, 0, 2), 68);
        let packet = udp_datagram(source, destination, b"odd").unwrap();
        assert_eq!(checksum(&[&packet[..20]]), 0);
        let mut pseudo = [10, 0, 0, 1, 10, 0, 0, 2, 0, 17, 0, 11].to_vec();
        pseudo.extend(&packet[20..]);
        assert_eq!(checksum(&[&pseudo]), 0);
        assert!(udp_datagram(source, destination, &[0; 70_000]).is_none());
    }

    #[test]
    fn echo_replies_are_told_apart() {
        let mut packet = vec![0x45, 0, 0, 84, 0, 0, 0, 0, 63, 1, 0, 0, 10, 0, 0, 9, 10, 0, 0, 1];
        let mut message = echo_request(7, 3);
        message[0] = 0;
        packet.extend(message);
        let reply = parse_echo_reply(&packet, 7).unwrap();
        assert_eq!(
            (reply.source, reply.sequence, reply.ttl, reply.length),
            (Ipv4Addr::new(10, 0, 0, 9), 3, 63, 64)
        );
        assert_eq!(parse_echo_reply(&packet, 8), None);
        assert_eq!(parse_echo_reply(&packet[..24], 7), None);
        assert_eq!(parse_echo_reply(&[], 7), None);
    }
}
