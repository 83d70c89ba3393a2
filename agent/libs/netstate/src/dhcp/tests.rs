use dhcproto::v4::Flags;
use dhcproto::{Encodable, Encoder};
use proptest::prelude::*;

use super::*;

const MAC: MacAddress = MacAddress::new([2, 0, 0, 0, 0, 9]);
const GATEWAY: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
const OWN: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 9);
const OTHER: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 77);

fn snapshot() -> Snapshot {
    let reservation =
        Reservation { interface: InterfaceId::random(), mac: MAC, address: OWN, hostname: "web".into() };
    let data = Dhcp {
        reservations: vec![reservation],
        dns_servers: vec![GATEWAY],
        domain: "tenant.shakenfist".into(),
    };
    Snapshot::new(GATEWAY, "10.0.0.0/24".parse().unwrap(), 1_450, &data)
}

fn message(kind: MessageType, mac: MacAddress, change: impl FnOnce(&mut Message)) -> Vec<u8> {
    let none = Ipv4Addr::UNSPECIFIED;
    let mut message = Message::new_with_id(0xfeed, none, none, none, none, &mac.octets());
    message.opts_mut().insert(DhcpOption::MessageType(kind));
    change(&mut message);
    let mut bytes = Vec::new();
    message.encode(&mut Encoder::new(&mut bytes)).unwrap();
    bytes
}

fn reply(packet: &[u8]) -> (&'static str, Message, Target) {
    match handle(packet, &snapshot()) {
        Outcome::Reply { kind, payload, target } => {
            assert!(payload.len() >= 300);
            (kind, Message::decode(&mut Decoder::new(&payload)).unwrap(), target)
        }
        other => panic!("no reply but {other:?}"),
    }
}

fn asking(address: Ipv4Addr) -> impl FnOnce(&mut Message) {
    move |message| {
        message.opts_mut().insert(DhcpOption::RequestedIpAddress(address));
    }
}

#[test]
fn discover_is_offered_the_reservation_with_every_option() {
    let (kind, offer, target) = reply(&message(MessageType::Discover, MAC, |message| {
        message.opts_mut().insert(DhcpOption::ClientIdentifier(vec![1, 2, 3]));
    }));
    assert_eq!((kind, offer.yiaddr(), offer.xid()), ("offer", OWN, 0xfeed));
    assert_eq!(target, Target::Ethernet(MAC, OWN));
    let expected = [
        DhcpOption::MessageType(MessageType::Offer),
        DhcpOption::SubnetMask(Ipv4Addr::new(255, 255, 255, 0)),
        DhcpOption::BroadcastAddr(Ipv4Addr::new(10, 0, 0, 255)),
        DhcpOption::Router(vec![GATEWAY]),
        DhcpOption::DomainNameServer(vec![GATEWAY]),
        DhcpOption::Hostname("web".into()),
        DhcpOption::DomainName("tenant.shakenfist".into()),
        DhcpOption::InterfaceMtu(1_450),
        DhcpOption::AddressLeaseTime(3_600),
        DhcpOption::ServerIdentifier(GATEWAY),
        DhcpOption::Renewal(1_800),
        DhcpOption::Rebinding(3_150),
        DhcpOption::ClientIdentifier(vec![1, 2, 3]),
    ];
    for option in expected {
        assert_eq!(offer.opts().get(OptionCode::from(&option)), Some(&option));
    }
}

#[test]
fn requests_are_acknowledged_or_refused() {
    let stranger = MacAddress::new([2, 0, 0, 0, 0, 10]);
    assert_eq!(reply(&message(MessageType::Request, MAC, asking(OWN))).0, "ack");
    assert_eq!(reply(&message(MessageType::Request, MAC, asking(OTHER))).0, "nak");
    let (kind, nak, target) = reply(&message(MessageType::Request, stranger, asking(OWN)));
    assert_eq!((kind, nak.yiaddr(), target), ("nak", Ipv4Addr::UNSPECIFIED, Target::Broadcast));
    let elsewhere = message(MessageType::Request, MAC, |message| {
        message.opts_mut().insert(DhcpOption::ServerIdentifier(OTHER));
    });
    assert_eq!(handle(&elsewhere, &snapshot()), Outcome::Silent("other-server"));
}

#[test]
fn replies_go_where_the_client_can_hear_them() {
    let renewal = message(MessageType::Request, MAC, |message| {
        message.set_ciaddr(OWN);
    });
    assert_eq!(reply(&renewal).2, Target::Unicast(SocketAddrV4::new(OWN, 68)));
    let deaf = message(MessageType::Discover, MAC, |message| {
        message.set_flags(Flags::default().set_broadcast());
    });
    assert_eq!(reply(&deaf).2, Target::Broadcast);
}

#[test]
fn inform_gives_no_address() {
    let (kind, ack, _) = reply(&message(MessageType::Inform, MAC, |message| {
        message.set_ciaddr(OWN);
    }));
    assert_eq!((kind, ack.yiaddr()), ("ack", Ipv4Addr::UNSPECIFIED));
    assert_eq!(ack.opts().get(OptionCode::AddressLeaseTime), None);
}

#[test]
fn everything_else_is_silence() {
    let stranger = MacAddress::new([2, 0, 0, 0, 0, 10]);
    let relayed = |message: &mut Message| {
        message.set_giaddr(OTHER);
    };
    let answered = |message: &mut Message| {
        message.set_opcode(Opcode::BootReply);
    };
    for (packet, reason) in [
        (message(MessageType::Discover, stranger, |_| {}), "unknown"),
        (message(MessageType::Discover, MAC, relayed), "relayed"),
        (message(MessageType::Discover, MAC, answered), "malformed"),
        (message(MessageType::Release, MAC, |_| {}), "released"),
        (message(MessageType::LeaseQuery, MAC, |_| {}), "unsupported"),
        (vec![1, 1, 6], "malformed"),
    ] {
        assert_eq!(handle(&packet, &snapshot()), Outcome::Silent(reason));
    }
    let declined = handle(&message(MessageType::Decline, MAC, |_| {}), &snapshot());
    assert!(matches!(declined, Outcome::Declined { address: OWN, .. }));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn no_packet_brings_the_server_down(
        mut packet in proptest::collection::vec(any::<u8>(), 0..240),
        options in proptest::collection::vec((any::<u8>(), proptest::collection::vec(any::<u8>(), 0..8)), 0..12),
        shaped in any::<bool>(),
    ) {
        if shaped {
            packet.resize(240, 0);
            packet[..3].copy_from_slice(&[1, 1, 6]);
            packet[236..].copy_from_slice(&[99, 130, 83, 99]);
            for (code, value) in &options {
                packet.extend([*code, value.len() as u8]);
                packet.extend(value);
            }
        }
        let _ = handle(&packet, &snapshot());
        let _ = sender(&packet);
    }
}
