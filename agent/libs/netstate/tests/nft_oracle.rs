//! The tables as the kernel holds them, read by the `nft` tool: an oracle that shares no code with the encoder.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "helpers of tests fail the test, and a skipped test says so"
)]

use std::net::Ipv4Addr;
use std::process::Command;

use nix::sched::{CloneFlags, unshare};
use sf_model::{ClusterId, InterfaceId, NodeId, Vxid};
use sf_netstate::intent::{
    Carrier, Dhcp, Dns, EgressHost, EgressMode, Float, HostIntent, LocalPort, PortLevel, ServicePort,
};
use sf_netstate::netlink::NftSocket;
use sf_netstate::nft::encode::{add_elements, replace_table};
use sf_netstate::nft::ir::{Element, ElementKey, Elements, TableSpec};
use sf_netstate::nft::observe;
use sf_netstate::nft::tables::{host, net, port};

fn isolated(test: impl FnOnce() + Send + 'static) {
    let outcome = std::thread::spawn(move || match unshare(CloneFlags::CLONE_NEWNET) {
        Ok(()) => test(),
        Err(error) => eprintln!("skipped: network namespaces cannot be made here: {error}"),
    });
    if let Err(panic) = outcome.join() {
        std::panic::resume_unwind(panic);
    }
}

/// The rules of a table without comments and counter values, one per line.
fn listed(family: &str, name: &str) -> Vec<String> {
    let output = Command::new("nft").args(["list", "table", family, name]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().map(|line| line.trim().split(" comment ").next().unwrap_or_default().to_owned()).collect()
}

fn install(spec: &TableSpec, elements: &Elements) -> NftSocket {
    let mut socket = NftSocket::open().unwrap();
    socket.transaction(replace_table(spec, elements)).unwrap();
    let found = observe::table(&mut socket, spec.table()).unwrap().unwrap();
    assert_eq!(found, spec.state(elements.clone()), "what was written is what is read");
    socket
}

fn has(lines: &[String], wanted: &str) {
    assert!(lines.iter().any(|line| line == wanted), "{wanted}\nis not in\n{}", lines.join("\n"));
}

fn carrier() -> Carrier {
    Carrier {
        epoch: 1,
        session_epoch: 1,
        egress_live: true,
        netblock: "172.16.0.0/20".parse().unwrap(),
        gateway: Ipv4Addr::new(172, 16, 0, 1),
        egress: Some(Ipv4Addr::new(192, 168, 20, 5)),
        provide_nat: true,
        floats: vec![Float {
            floating: Ipv4Addr::new(192, 168, 20, 9),
            address: Ipv4Addr::new(172, 16, 0, 9),
        }],
        routed: vec![Ipv4Addr::new(192, 168, 20, 10)],
        service_ports: vec![ServicePort {
            protocol: 6,
            port: 30_001,
            target: Ipv4Addr::new(10, 99, 0, 3),
            target_port: 8_443,
            ttl_ms: 60_000,
        }],
        dhcp: Some(Dhcp::default()),
        dns: Some(Dns::default()),
    }
}

#[test]
fn the_network_table_says_what_is_meant() {
    isolated(|| {
        let carrier = carrier();
        let spec = net::spec(Vxid::new(0x1234).unwrap(), &carrier);
        install(&spec, &net::elements(&carrier, &["10.99.0.0/24".parse().unwrap()]));
        let lines = listed("inet", "sf_net");
        for rule in [
            "elements = { 192.168.20.9 : 172.16.0.9 }",
            "elements = { 10.99.0.0/24 }",
            "type nat hook prerouting priority dstnat; policy accept;",
            "type filter hook forward priority filter; policy drop;",
            "dnat ip to ip daddr map @floating",
            "dnat ip to ip daddr . meta l4proto . th dport map @svcport",
            "ip saddr 172.16.0.0/20 oifname \"egr-001234-i\" snat ip to 192.168.20.5",
            "ip saddr 172.16.0.0/20 oifname \"veth-001234-i\" ct status dnat masquerade",
            "tcp flags syn tcp option maxseg size set rt mtu",
            "ct state established,related accept",
            "ct state invalid drop",
            "iifname \"veth-001234-i\" ip daddr @protected counter packets 0 bytes 0 drop",
            "iifname \"veth-001234-i\" oifname \"egr-001234-i\" accept",
            "ct status dnat accept",
            "iifname \"veth-001234-i\" oifname \"veth-001234-i\" accept",
            "iifname \"veth-001234-i\" udp dport 67 accept",
        ] {
            has(&lines, rule);
        }
    });
}

#[test]
fn the_host_table_says_what_is_meant() {
    isolated(|| {
        let intent = HostIntent {
            cluster: ClusterId::random(),
            node: NodeId::random(),
            mesh_ip: Ipv4Addr::new(10, 99, 0, 1),
            mesh_nic: "eth1".into(),
            mesh_peers: vec![Ipv4Addr::new(10, 99, 0, 2)],
            protected: vec!["10.99.0.0/24".parse().unwrap()],
            underlay_mtu: 1_500,
            vxlan_udp_port: 4_789,
            egress: Some(EgressHost {
                mode: EgressMode::Nat,
                floating_network: "192.168.20.0/24".parse().unwrap(),
                router: Ipv4Addr::new(192, 168, 20, 1),
                nic: String::new(),
                nic_dedicated: false,
            }),
            service_targets: Vec::new(),
        };
        let links = host::HostLinks {
            mesh_nic: "eth1".into(),
            egress_nic: "eth0".into(),
            egress_bridge: "egr-br-eth0".into(),
        };
        install(&host::spec(&intent, &links), &host::elements(&intent));
        let lines = listed("inet", "sf_host");
        for rule in [
            "iifname \"br-vxlan-*\" counter packets 0 bytes 0 drop",
            "udp dport 4789 counter packets 0 bytes 0 drop",
            "iifname \"egr-br-eth0\" counter packets 0 bytes 0 drop",
            "iifname \"br-vxlan-*\" oifname != \"br-vxlan-*\" counter packets 0 bytes 0 drop",
        ] {
            has(&lines, rule);
        }
        let masquerade = lines.iter().find(|line| line.ends_with("masquerade")).unwrap();
        assert!(masquerade.contains("ip saddr 192.168.20.0/24") && masquerade.contains("oifname \"eth0\""));
    });
}

#[test]
fn the_port_table_keeps_owners_apart() {
    isolated(|| {
        let ports = [LocalPort {
            interface: InterfaceId::random(),
            mac: "02:00:00:00:00:01".parse().unwrap(),
            allowed: vec![Ipv4Addr::new(172, 16, 0, 9)],
            level: PortLevel::Strict,
        }];
        let mut socket = install(&port::spec(), &Elements::new());
        for element in port::elements(&ports) {
            let key = ElementKey { bytes: element.key, range_end: false };
            let tagged = Element { tag: vec![7; 16], ..Element::default() };
            let members = [(key, tagged)].into_iter().collect();
            socket.transaction(add_elements(port::TABLE, element.set.name(), &members, false)).unwrap();
        }
        let lines = listed("bridge", "sf_port");
        has(&lines, "elements = { \"tap020000000001\" . 02:00:00:00:00:01 . 172.16.0.9 }");
        assert!(
            lines.iter().any(|line| line.starts_with("iifname \"tap*\"") && line.ends_with("jump guest")),
            "{lines:#?}"
        );
        let found = observe::set_elements(&mut socket, port::TABLE, "ips").unwrap();
        assert!(found.values().all(|element| element.tag == [7; 16]) && found.len() == 1);
    });
}

#[test]
fn a_refused_transaction_changes_nothing_and_says_why() {
    isolated(|| {
        let mut socket = NftSocket::open().unwrap();
        let members = [(ElementKey { bytes: vec![1, 2, 3, 4], range_end: false }, Element::default())]
            .into_iter()
            .collect();
        let mut requests = replace_table(&port::spec(), &Elements::new());
        requests.extend(add_elements(port::TABLE, "nowhere", &members, false));
        let error = socket.transaction(requests).unwrap_err();
        assert_eq!(error.code(), "nft.ENOENT");
        assert!(error.to_string().contains("nowhere"), "{error}");
        assert_eq!(observe::version(&mut socket, port::TABLE).unwrap(), None);
    });
}

#[test]
fn ten_thousand_elements_fit() {
    isolated(|| {
        let carrier = carrier();
        let spec = net::spec(Vxid::new(0x1234).unwrap(), &carrier);
        let mut elements = net::elements(&carrier, &[]);
        let routed = elements.get_mut("routed").unwrap();
        for number in 0..10_000u32 {
            routed.insert(
                ElementKey { bytes: number.to_be_bytes().to_vec(), range_end: false },
                Element::default(),
            );
        }
        install(&spec, &elements);
    });
}

/// Docker writes through `iptables`, whose tables are of the family `ip`.
#[test]
fn chains_of_others_that_drop_what_is_forwarded_are_found() {
    isolated(|| {
        let (spec, elements) = (net::spec(Vxid::new(0x1234).unwrap(), &carrier()), Elements::new());
        let mut socket = install(&spec, &elements);
        assert!(
            observe::foreign_forward_drops(&mut socket).unwrap().is_empty(),
            "our own forward chain drops"
        );
        let ruleset =
            "table ip filter { chain FORWARD { type filter hook forward priority 0; policy drop; }; }
            table inet site { chain through { type filter hook forward priority 0; policy drop; }; }
            table inet open { chain through { type filter hook forward priority 0; policy accept; }; }
            table ip6 filter { chain FORWARD { type filter hook forward priority 0; policy drop; }; }
            table ip mine { chain INPUT { type filter hook input priority 0; policy drop; }; }";
        let done = Command::new("nft").arg(ruleset).status().unwrap();
        assert!(done.success());
        let found = observe::foreign_forward_drops(&mut socket).unwrap();
        assert_eq!(found, ["ip filter FORWARD", "inet site through"]);
        // As `iptables -I DOCKER-USER -i egr-br-+ -j ACCEPT` does it.
        let answer = "table ip filter { chain DOCKER-USER { iifname \"egr-br-*\" accept; }; }";
        assert!(Command::new("nft").arg(answer).status().unwrap().success());
        assert_eq!(observe::foreign_forward_drops(&mut socket).unwrap(), ["inet site through"]);
    });
}
