use std::net::Ipv4Addr;

use hickory_proto::op::Query;
use proptest::prelude::*;

use super::*;
use crate::intent::Dns;

const WEB: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 9);

fn zone() -> Zone {
    let many = (0..100).map(|n| ("many".to_owned(), Ipv4Addr::new(203, 0, 113, n)));
    let data = Dns {
        zone: "tenant.shakenfist".into(),
        records: [("web".to_owned(), WEB), ("db".to_owned(), Ipv4Addr::new(203, 0, 113, 8))]
            .into_iter()
            .chain(many)
            .collect(),
        forwarders: Vec::new(),
    };
    Zone::new("203.0.113.0/24".parse().unwrap(), &data)
}

fn query(text: &str, kind: RecordType) -> Vec<u8> {
    let mut message = Message::query();
    message.metadata.id = 77;
    message.add_query(Query::query(name(text).unwrap(), kind));
    message.to_vec().unwrap()
}

fn answer(text: &str, kind: RecordType) -> Message {
    match decide(&query(text, kind), &zone(), true) {
        Decision::Reply(bytes, _) => {
            let message = Message::from_vec(&bytes).unwrap();
            assert_eq!(message.metadata.id, 77);
            message
        }
        other => panic!("{text}: {other:?}"),
    }
}

#[test]
fn local_names_are_answered_bare_and_qualified() {
    for text in ["web", "WEB", "web.tenant.shakenfist", "Web.Tenant.Shakenfist"] {
        let found = answer(text, RecordType::A);
        assert!(found.metadata.authoritative);
        assert_eq!(found.answers.len(), 1, "{text}");
        assert_eq!(found.answers[0].data, RData::A(WEB.into()));
        assert_eq!(found.answers[0].ttl, 30);
    }
}

#[test]
fn reverse_names() {
    let found = answer("9.113.0.203.in-addr.arpa", RecordType::PTR);
    assert_eq!(found.answers[0].data.to_string(), "web.tenant.shakenfist.");
    for unknown in
        ["200.113.0.203.in-addr.arpa", "1.0.0.10.in-addr.arpa", "1.1.168.192.in-addr.arpa", "10.in-addr.arpa"]
    {
        assert_eq!(
            answer(unknown, RecordType::PTR).metadata.response_code,
            ResponseCode::NXDomain,
            "{unknown}"
        );
    }
    assert_eq!(decide(&query("8.8.8.8.in-addr.arpa", RecordType::PTR), &zone(), true), Decision::Forward);
}

#[test]
fn what_is_ours_to_know_is_never_forwarded() {
    for text in ["nosuch", "nosuch.tenant.shakenfist", "a.web.tenant.shakenfist"] {
        let found = answer(text, RecordType::A);
        assert_eq!(found.metadata.response_code, ResponseCode::NXDomain, "{text}");
        assert_eq!(found.authorities[0].record_type(), RecordType::SOA);
    }
    for (text, kind) in [("web", RecordType::AAAA), ("tenant.shakenfist", RecordType::A)] {
        let found = answer(text, kind);
        assert_eq!((found.metadata.response_code, found.answers.len()), (ResponseCode::NoError, 0));
        assert_eq!(found.authorities.len(), 1);
    }
    assert_eq!(answer("tenant.shakenfist", RecordType::SOA).answers.len(), 1);
    for text in ["example.com", "shakenfist", "other.shakenfist"] {
        let decision = decide(&query(text, RecordType::A), &zone(), true);
        assert_eq!(decision == Decision::Forward, text != "shakenfist", "{text}");
    }
}

#[test]
fn large_answers_are_cut_for_udp_only() {
    let asked = query("many", RecordType::A);
    let size = |udp| match decide(&asked, &zone(), udp) {
        Decision::Reply(bytes, _) => (bytes.len(), Message::from_vec(&bytes).unwrap().metadata.truncation),
        other => panic!("{other:?}"),
    };
    assert!(size(true).0 <= 512 && size(true).1);
    assert!(size(false).0 > 512 && !size(false).1);
}

#[test]
fn odd_queries() {
    let mut response = query("web", RecordType::A);
    response[2] |= 0x80;
    assert_eq!(decide(&response, &zone(), true), Decision::Drop);
    assert_eq!(decide(&[1, 2], &zone(), true), Decision::Drop);
    let mut broken = query("web", RecordType::A);
    broken.truncate(14);
    assert!(matches!(decide(&broken, &zone(), true), Decision::Reply(_, "malformed")));
    assert!(failure(&query("example.com", RecordType::A)).is_some());
}

#[test]
fn names_are_made_fit() {
    for (given, expected) in [
        ("Web Server", "web-server"),
        ("_x_", "x"),
        ("", "vm-1"),
        ("---", "vm-1"),
        ("é1", "1"),
        ("a.b", "a-b"),
    ] {
        assert_eq!(sanitise(given, "vm-1"), expected);
    }
    assert_eq!(sanitise(&"a".repeat(80), "vm-1").len(), 63);
}

proptest! {
    #[test]
    fn no_query_brings_the_server_down(packet in proptest::collection::vec(any::<u8>(), 0..300), udp in any::<bool>()) {
        let _ = decide(&packet, &zone(), udp);
        let _ = relay(&packet, packet.clone(), udp);
    }
}
