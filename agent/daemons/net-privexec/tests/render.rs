//! The renderer against the real kernel.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "helpers of tests fail the test, and a skipped test says so"
)]

mod support;

use sf_protos::net_privexec as pb;
use support::{
    BRIDGE, FLOATING, Guest, NETWORK, Node, absent, eventually, host_intent, intent, isolated,
    node_with_guest, run, works,
};

#[test]
fn a_network_lives_and_leaves_nothing() {
    isolated(|| {
        let node = Node::new();
        let before = node.everything();
        node.render_host();
        let rendered = node.everything();
        let (one, two) = (Guest::new(1, "g1"), Guest::new(2, "g2"));
        let first = node.render(&intent(1, &[&one, &two])).unwrap();
        assert!(!first.changes.is_empty());
        let second = node.render(&intent(1, &[&one, &two])).unwrap();
        assert_eq!((second.messages, second.changes), (0, Vec::new()), "a second render sends nothing");

        for guest in [&one, &two] {
            guest.plug(BRIDGE);
            guest.configure();
        }
        one.reaches("172.16.0.1", "the gateway answers");
        one.reaches(&two.address, "members reach each other");
        one.reaches("192.0.2.1", "the outside answers");
        assert!(!works("ip netns exec out ping -c1 -W1 172.16.0.11"), "nobody comes in uninvited");

        let guests_attached = node.render(&absent(2)).unwrap_err();
        assert_eq!(guests_attached.code(), "network.in_use");
        one.unplug();
        two.unplug();
        node.render(&absent(2)).unwrap();
        assert_eq!(node.everything(), rendered);
        assert!(node.inventory().networks.is_empty());
        assert!(node.render(&absent(2)).unwrap().changes.is_empty());
        let removed = node.purge();
        assert_eq!(removed.len(), 3, "{removed:?}");
        let after = format!(
            "{}{}{}",
            run("ip -o link | awk -F': ' '{print $2}' | cut -d@ -f1 | sort"),
            run("ls /run/netns"),
            run("nft list tables")
        );
        assert_eq!(after, before);
    });
}

#[test]
fn the_outside_sees_the_node_and_the_mesh_is_out_of_reach() {
    isolated(|| {
        let (_node, guest) = node_with_guest();
        // `out` has no route to the floating block: an answer proves that the node translated the source.
        assert!(!run("ip -n out route").contains("192.168.20"));
        guest.reaches("192.0.2.1", "the outside answers");
        assert!(!guest.pings("10.99.0.1"), "the mesh address of the node");
        // A frame for the bridge's own MAC must not reach the host.
        let bridge_mac = run(&format!("ip -o link show {BRIDGE} | sed 's/.*ether //; s/ .*//'"));
        run("ip -n g1 route add 192.0.2.2 via 172.16.0.99 dev eth0");
        run(&format!("ip -n g1 neigh add 172.16.0.99 lladdr {} dev eth0", bridge_mac.trim()));
        assert!(!guest.pings("192.0.2.2"), "the host's address by the bridge's MAC");
    });
}

#[test]
fn port_security_is_strict() {
    isolated(|| {
        let node = Node::new();
        node.render_host();
        let (good, other) = (Guest::new(1, "g1"), Guest::new(2, "g2"));
        node.render(&intent(1, &[&other])).unwrap();
        for guest in [&good, &other] {
            guest.plug(BRIDGE);
            guest.configure();
        }
        assert!(!good.pings(&other.address), "an unknown tap is shut");
        node.render(&intent(2, &[&good, &other])).unwrap();
        good.reaches(&other.address, "members reach each other");
        run("ip -n g1 addr add 172.16.0.77/24 dev eth0");
        assert!(!works("ip netns exec g1 ping -c1 -W1 -I 172.16.0.77 172.16.0.12"), "a foreign address");
        run("ip -n g1 addr del 172.16.0.77/24 dev eth0");
        good.reaches(&other.address, "honest traffic goes on");
        run("ip -n g1 link set eth0 address 02:00:00:00:00:99");
        assert!(!good.pings(&other.address), "a foreign MAC");

        let mut open = intent(3, &[&good, &other]);
        open.local_ports[0].port_security = pb::PortSecurity::Off.into();
        open.learning = true;
        node.render(&open).unwrap();
        run("ip -n g2 neigh flush dev eth0");
        good.reaches(&other.address, "an open port may use any MAC");
    });
}

#[test]
fn taps_and_bridges_of_others_are_left_alone() {
    isolated(|| {
        let node = Node::new();
        node.render_host();
        node.render(&intent(1, &[])).unwrap();
        // Another program's bridge with ports that are named almost like ours.
        run("ip link add br0 type bridge && ip addr add 10.1.0.1/24 dev br0 && ip link set br0 up");
        for (number, port) in ["tap0", "vxlan-1", "veth-x-o", "tapabcdefghijk"].into_iter().enumerate() {
            run(&format!(
                "ip netns add f{number} && ip link add {port} type veth peer name eth0 netns f{number}"
            ));
            run(&format!(
                "ip link set {port} master br0 up && ip -n f{number} addr add 10.1.0.1{number}/24 dev eth0"
            ));
            run(&format!("ip -n f{number} link set eth0 up"));
            let answers = || works(&format!("ip netns exec f{number} ping -c1 -W2 10.1.0.1"));
            eventually("the host answers a foreign port", answers);
        }
        assert!(node.purge().iter().all(|name| !name.contains("br0")));
        assert!(works("ip netns exec f0 ping -c1 -W2 10.1.0.11"), "nothing of it is touched");
    });
}

#[test]
fn drift_is_repaired_and_named() {
    isolated(|| {
        let node = Node::new();
        node.render_host();
        let guest = Guest::new(1, "g1");
        let wanted = intent(1, &[&guest]);
        node.render(&wanted).unwrap();
        let inside = format!("ip netns exec {NETWORK}");
        let damages = [
            "bridge fdb del 02:00:00:00:01:01 dev vxlan-001234 dst 10.99.0.2 self".to_owned(),
            "bridge fdb append 00:00:00:00:00:00 dev vxlan-001234 dst 10.99.0.9".into(),
            "ip link set vxlan-001234 mtu 1400".into(),
            "ip link set br-vxlan-001234 mtu 1400".into(),
            "ip link set br-vxlan-001234 down".into(),
            "ip link set br-vxlan-001234 type bridge stp_state 1".into(),
            "ip link del vxlan-001234".into(),
            "ip link del veth-001234-o".into(),
            "ip link set egr-001234-o nomaster".into(),
            "nft delete table bridge sf_port".into(),
            "nft flush set bridge sf_port macs".into(),
            format!("{inside} nft flush ruleset"),
            format!("{inside} nft flush chain inet sf_net forward"),
            format!("{inside} nft add rule inet sf_net input accept"),
            format!("{inside} nft flush set inet sf_net protected"),
            format!("{inside} ip addr del 172.16.0.1/24 dev veth-001234-i"),
            format!("{inside} ip route del default"),
            format!("{inside} ip addr add 172.16.0.200/32 dev egr-001234-i"),
            format!("{inside} ip link set veth-001234-i down"),
            format!("{inside} ip link set egr-001234-i address 06:00:00:00:00:01"),
            format!("ip netns del {NETWORK}"),
            "ip link del br-vxlan-001234".into(),
        ];
        for damage in damages {
            run(&damage);
            let repaired = node.render(&wanted).unwrap_or_else(|error| panic!("{damage}: {error}"));
            assert!(!repaired.changes.is_empty(), "{damage} was not seen");
            assert_eq!(node.render(&wanted).unwrap().changes, Vec::new(), "{damage} is not fully repaired");
        }
        guest.plug(BRIDGE);
        guest.configure();
        guest.reaches("192.0.2.1", "the outside answers again");
    });
}

#[test]
fn foreign_links_are_never_touched() {
    isolated(|| {
        let node = Node::new();
        node.render_host();
        run("ip link add br-vxlan-001234 type bridge && ip link set br-vxlan-001234 alias uplink");
        let error = node.render(&intent(1, &[])).unwrap_err();
        assert_eq!(error.code(), "network.name_conflict");
        assert!(run("ip link show br-vxlan-001234").contains("uplink"));
        assert!(!works("ip link show vxlan-001234"), "nothing was begun");
        assert_eq!(node.inventory().foreign_links, ["br-vxlan-001234"]);

        // What another cluster made on this host is foreign, too, and neither counted nor replaced.
        let other = format!("sf1:{}:{NETWORK}", uuid::Uuid::new_v4());
        run(&format!("ip link set br-vxlan-001234 alias {other}"));
        assert_eq!(node.render(&intent(1, &[])).unwrap_err().code(), "network.name_conflict");
        assert!(run("ip link show br-vxlan-001234").contains(&other));
        let inventory = node.inventory();
        assert_eq!((inventory.foreign_links.len(), inventory.networks.len()), (1, 0));

        // A device left by another network of ours is replaced: its mark says whose it is.
        run("ip link del br-vxlan-001234 && ip link add br-vxlan-001234 type bridge");
        run(&format!("ip link set br-vxlan-001234 alias sf1:{}:{}", support::CLUSTER, uuid::Uuid::new_v4()));
        node.render(&intent(1, &[])).unwrap();
        assert!(run("ip -d link show br-vxlan-001234").contains(NETWORK));
    });
}

#[test]
fn floating_and_routed_addresses() {
    isolated(|| {
        let node = Node::new();
        node.render_host();
        run(&format!("ip -n out route add {FLOATING} via 192.0.2.2"));
        let (one, two) = (Guest::new(1, "g1"), Guest::new(2, "g2"));
        let mut wanted = intent(1, &[&one, &two]);
        node.render(&wanted).unwrap();
        for guest in [&one, &two] {
            guest.plug(BRIDGE);
            guest.configure();
        }
        let ping_floating = || works("ip netns exec out ping -c1 -W2 192.168.20.50");
        assert!(!ping_floating());
        let carrier = wanted.carrier.as_mut().unwrap();
        carrier.floats.push(pb::Float {
            interface_uuid: one.port().interface_uuid,
            floating_address: "192.168.20.50".into(),
            address: one.address.clone(),
        });
        carrier.routed.push("192.168.20.60".into());
        for port in &mut wanted.local_ports {
            port.allowed_addresses.push("192.168.20.60".into());
        }
        wanted.generation = 2;
        node.render(&wanted).unwrap();
        assert_eq!(node.render(&wanted).unwrap().messages, 0);
        eventually("from the outside", ping_floating);
        two.reaches("192.168.20.50", "by a member");
        run("ip -n g2 addr add 192.168.20.60/32 dev lo");
        eventually("a routed address from the outside", || {
            works("ip netns exec out ping -c1 -W2 192.168.20.60")
        });
        one.reaches("192.168.20.60", "a routed address by a member");

        let carrier = wanted.carrier.as_mut().unwrap();
        carrier.floats.clear();
        carrier.routed.clear();
        wanted.generation = 3;
        node.render(&wanted).unwrap();
        assert!(!ping_floating(), "after it was taken away");
        assert!(!works("ip netns exec out ping -c1 -W1 192.168.20.60"));
    });
}

/// What is wrong, and how it is made wrong.
type Case<'a> = (&'a str, &'a dyn Fn(&mut pb::NetworkIntent));

#[test]
fn old_and_wrong_intents_are_refused() {
    isolated(|| {
        let mut node = Node::new();
        assert_eq!(node.render(&intent(1, &[])).unwrap_err().code(), "network.render_failed");
        node.render_host();
        node.render(&intent(5, &[])).unwrap();
        let code = |node: &Node, change: &dyn Fn(&mut pb::NetworkIntent)| {
            let mut wrong = intent(6, &[&Guest::new(1, "g1")]);
            change(&mut wrong);
            node.render(&wrong).unwrap_err().code().to_owned()
        };
        let carrier = |intent: &mut pb::NetworkIntent, change: &dyn Fn(&mut pb::CarrierPart)| {
            change(intent.carrier.as_mut().unwrap());
        };
        let cases: [Case<'_>; 9] = [
            ("vxid", &|intent| intent.vxid = 15),
            ("uuid", &|intent| intent.network_uuid = "../../etc".into()),
            ("presence", &|intent| intent.presence = 0),
            ("mac", &|intent| intent.local_ports[0].macaddr = "02:53:46:00:00:01".into()),
            ("mtu", &|intent| intent.mtu = 10),
            ("peers", &|intent| intent.peers = vec![intent.peers[0].clone(); 1_025]),
            ("gateway", &|intent| carrier(intent, &|part| part.gateway = "10.0.0.1".into())),
            ("egress", &|intent| carrier(intent, &|part| part.egress_address = "10.0.0.1".into())),
            ("routed", &|intent| carrier(intent, &|part| part.routed = vec!["10.0.0.1".into()])),
        ];
        for (what, change) in cases {
            assert_eq!(code(&node, change), "network.invalid_intent", "{what}");
        }
        assert_eq!(node.render(&intent(4, &[])).unwrap_err().code(), "network.render_failed");
        node.restart();
        node.render_host();
        assert_eq!(node.render(&intent(4, &[])).unwrap_err().code(), "network.render_failed", "remembered");
        let mut other = host_intent();
        other.egress.as_mut().unwrap().floating_network = "192.168.0.0/16".into();
        assert_eq!(node.render_host_as(other).unwrap_err().code(), "network.invalid_intent");
        let mut small = host_intent();
        small.underlay_mtu = 9_000;
        let reply = node.render_host_as(small).unwrap();
        assert!(reply.conditions.contains(&"underlay_mtu_too_small".into()));
        node.render(&intent(6, &[])).unwrap();
        run("ip link del vxlan-001234");
        assert_eq!(node.render(&intent(6, &[])).unwrap_err().code(), "network.underlay_mtu_too_small");
    });
}
