//! Service sockets, announcements, ping, connection tracking, and who may speak: against the real kernel.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "helpers of tests fail the test, and a skipped test says so"
)]

mod support;

use std::fs::File;
use std::io::Write;
use std::net::UdpSocket;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use nix::sched::CloneFlags;
use nix::sys::socket::{MsgFlags, send};
use sf_netstate::dhcp::{Outcome as Dhcp, Snapshot, Target, handle};
use sf_netstate::dns::{Decision, Zone, decide};
use sf_netstate::intent;
use sf_netstate::names::gateway_mac;
use sf_netstate::packet::{ETHERTYPE_IPV4, ethernet, udp_datagram};
use sf_protos::net_privexec as pb;
use sf_protos::net_privexec::request::Call;
use sf_protos::net_privexec::response::Outcome;
use support::{
    BRIDGE, Guest, NETWORK, Node, VXID, absent, eventually, intent, isolated, node_with_guest, run, works,
};

fn sockets(node: &Node, kinds: &[pb::SocketKind]) -> (Vec<OwnedFd>, u64) {
    let kinds = kinds.iter().map(|kind| i32::from(*kind)).collect();
    let call = pb::OpenServiceSocketsCall { network_uuid: NETWORK.into(), kinds };
    match node.client.call("test", Call::OpenServiceSockets(call)).unwrap() {
        (Outcome::ServiceSockets(reply), descriptors) => (descriptors, reply.generation),
        (other, _) => panic!("{other:?}"),
    }
}

/// Answers DHCP on inherited sockets until told to stop.
fn serve_dhcp(
    socket: OwnedFd,
    frames: OwnedFd,
    snapshot: Snapshot,
    stop: Arc<AtomicBool>,
) -> std::thread::JoinHandle<()> {
    let socket = UdpSocket::from(socket);
    socket.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
    std::thread::spawn(move || {
        let mut buffer = [0; 1_500];
        while !stop.load(Ordering::Relaxed) {
            let Ok(length) = socket.recv(&mut buffer) else { continue };
            let Dhcp::Reply { payload, target, .. } = handle(&buffer[..length], &snapshot) else { continue };
            match target {
                Target::Unicast(address) => drop(socket.send_to(&payload, address).unwrap()),
                Target::Broadcast => drop(socket.send_to(&payload, "255.255.255.255:68").unwrap()),
                Target::Ethernet(mac, address) => {
                    let datagram = udp_datagram((snapshot.gateway, 67), (address, 68), &payload).unwrap();
                    let router = gateway_mac(sf_model::Vxid::new(VXID).unwrap());
                    let frame = ethernet(mac, router, ETHERTYPE_IPV4, &datagram);
                    send(frames.as_raw_fd(), &frame, MsgFlags::empty()).unwrap();
                }
            }
        }
    })
}

const LEASE_SCRIPT: &str = "#!/bin/sh
[ \"$1\" = bound ] || exit 0
ip addr add $ip/$mask dev $interface
ip link set $interface mtu $mtu
[ -z \"$router\" ] || ip route add default via $router
echo \"$ip $mask $router $dns $domain $hostname $mtu $lease\" > $LEASE_FILE
";

#[test]
fn a_guest_gets_its_address_and_names() {
    isolated(|| {
        if !works("busybox udhcpc --help 2>&1 | grep -q Usage") {
            eprintln!("skipped: busybox has no udhcpc");
            return;
        }
        let node = Node::new();
        node.render_host();
        let guest = Guest::new(1, "g1");
        let wanted = intent(1, &[&guest]);
        node.render(&wanted).unwrap();
        guest.plug(BRIDGE);

        let carrier = wanted.carrier.as_ref().unwrap();
        let netblock = "172.16.0.0/24".parse().unwrap();
        let data = intent::Dhcp::parse(carrier.dhcp.as_ref().unwrap(), netblock).unwrap();
        let snapshot = Snapshot::new("172.16.0.1".parse().unwrap(), netblock, wanted.mtu, &data);
        let (mut descriptors, generation) = sockets(&node, &[pb::SocketKind::Udp67, pb::SocketKind::Packet]);
        let (frames, dhcp) = (descriptors.pop().unwrap(), descriptors.pop().unwrap());
        let stop = Arc::new(AtomicBool::new(false));
        let server = serve_dhcp(dhcp, frames, snapshot, stop.clone());

        let dir = tempfile::tempdir().unwrap();
        let (script, lease) = (dir.path().join("lease.sh"), dir.path().join("lease"));
        File::create(&script).unwrap().write_all(LEASE_SCRIPT.as_bytes()).unwrap();
        run(&format!("chmod +x {}", script.display()));
        run(&format!(
            "LEASE_FILE={} ip netns exec g1 busybox udhcpc -i eth0 -n -q -f -t 10 -T 1 -O mtu -O hostname -s {}",
            lease.display(),
            script.display()
        ));
        let got = std::fs::read_to_string(&lease).unwrap();
        assert_eq!(got.trim(), "172.16.0.11 24 172.16.0.1 172.16.0.1 tenant.shakenfist g1 1450 3600");
        guest.reaches("192.0.2.1", "the outside answers");

        let again = sockets(&node, &[]).1;
        assert_eq!(again, generation, "the same sockets are kept");
        run(&format!("ip netns exec {NETWORK} ip link del veth-001234-i"));
        node.render(&wanted).unwrap();
        assert_ne!(sockets(&node, &[]).1, generation, "new links need new sockets");
        stop.store(true, Ordering::Relaxed);
        server.join().unwrap();
    });
}

#[test]
fn names_are_served_inside_and_asked_from_inside() {
    isolated(|| {
        let node = Node::new();
        node.render_host();
        let guest = Guest::new(1, "g1");
        let mut wanted = intent(1, &[&guest]);
        wanted.carrier.as_mut().unwrap().dns = Some(pb::DnsData {
            zone: "tenant.shakenfist".into(),
            records: vec![pb::DnsRecord { name: "g1".into(), address: guest.address.clone() }],
            forwarders: Vec::new(),
        });
        node.render(&wanted).unwrap();
        guest.plug(BRIDGE);
        guest.configure();
        let (mut descriptors, _) = sockets(&node, &[pb::SocketKind::Udp53]);
        let socket = UdpSocket::from(descriptors.pop().unwrap());
        let data = intent::Dns::parse(wanted.carrier.as_ref().unwrap().dns.as_ref().unwrap()).unwrap();
        let zone = Zone::new("172.16.0.0/24".parse().unwrap(), &data);
        let server = std::thread::spawn(move || {
            let mut buffer = [0; 1_500];
            socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
            for _ in 0..2 {
                let (length, client) = socket.recv_from(&mut buffer).unwrap();
                if let Decision::Reply(answer, _) = decide(&buffer[..length], &zone, true) {
                    socket.send_to(&answer, client).unwrap();
                }
            }
        });
        let asked = run("ip netns exec g1 busybox nslookup -type=a g1.tenant.shakenfist 172.16.0.1");
        assert!(asked.contains("172.16.0.11"), "{asked}");
        let asked = run("ip netns exec g1 busybox nslookup -type=ptr 11.0.16.172.in-addr.arpa 172.16.0.1");
        assert!(asked.contains("g1.tenant.shakenfist"), "{asked}");
        server.join().unwrap();

        // A datagram from a client socket leaves by the namespace: `out` sees the node's translated address.
        let (bound, ready) = std::sync::mpsc::channel();
        let listener = std::thread::spawn(move || {
            nix::sched::setns(File::open("/run/netns/out").unwrap(), CloneFlags::CLONE_NEWNET).unwrap();
            let socket = UdpSocket::bind("192.0.2.1:5353").unwrap();
            socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
            bound.send(()).unwrap();
            let mut buffer = [0; 16];
            let (length, source) = socket.recv_from(&mut buffer).unwrap();
            (buffer[..length].to_vec(), source.ip().to_string())
        });
        ready.recv().unwrap();
        let socket = UdpSocket::from(sockets(&node, &[pb::SocketKind::UdpClient]).0.pop().unwrap());
        socket.send_to(b"hello", "192.0.2.1:5353").unwrap();
        assert_eq!(listener.join().unwrap(), (b"hello".to_vec(), "192.0.2.2".to_owned()));
    });
}

#[test]
fn ping_and_announcements() {
    isolated(|| {
        let (node, guest) = node_with_guest();
        let ping = |address: &str| {
            let call = pb::PingCall { network_uuid: NETWORK.into(), address: address.into(), count: 2 };
            match node.call(Call::Ping(call)) {
                Ok(Outcome::Ping(reply)) => Ok(reply),
                Ok(other) => panic!("{other:?}"),
                Err(error) => Err(error.code().to_owned()),
            }
        };
        let answered = ping(&guest.address).unwrap();
        assert_eq!((answered.sent, answered.received), (2, 2));
        assert!(answered.stdout_lines.iter().any(|line| line.contains(", 0% packet loss")), "{answered:?}");
        let lost = ping("172.16.0.200").unwrap();
        assert_eq!(lost.received, 0);
        assert!(lost.stdout_lines.iter().any(|line| line.contains("100% packet loss")), "{lost:?}");
        assert_eq!(ping("nonsense").unwrap_err(), "network.invalid_intent");

        // A neighbour that remembers a wrong MAC learns the right one.
        run("ip -n g1 neigh replace 172.16.0.1 lladdr 02:00:00:00:00:aa dev eth0 nud stale");
        let call = pb::AnnounceCall { network_uuid: NETWORK.into(), addresses: Vec::new() };
        let Outcome::Announce(reply) = node.call(Call::Announce(call)).unwrap() else {
            panic!("another answer")
        };
        assert_eq!((reply.sent, reply.failed), (2, 0), "gateway and egress address");
        eventually("the guest learns the gateway", || {
            run("ip -n g1 neigh show 172.16.0.1").contains("02:53:46:00:12:34")
        });
    });
}

#[test]
fn connections_of_a_gone_mapping_are_forgotten() {
    isolated(|| {
        let (node, guest) = node_with_guest();
        guest.reaches("192.0.2.1", "the outside answers");
        let tracked = || match node.call(Call::Counters(pb::CountersCall::default())).unwrap() {
            Outcome::Counters(reply) => reply.networks[0].conntrack_entries,
            other => panic!("{other:?}"),
        };
        assert!(tracked() > 0);
        let flush = |matches| {
            let call = pb::FlushConntrackCall { network_uuid: NETWORK.into(), matches };
            node.call(Call::FlushConntrack(call))
        };
        assert!(flush(vec![pb::ConntrackMatch::default()]).is_err(), "everything at once is refused");
        let source =
            pb::ConntrackMatch { original_source: guest.address.clone(), ..pb::ConntrackMatch::default() };
        let Outcome::FlushConntrack(reply) = flush(vec![source]).unwrap() else { panic!("another answer") };
        assert!(reply.deleted > 0);
        assert_eq!(tracked(), 0);
        // Taking the interface away does the same by itself.
        guest.reaches("192.0.2.1", "the outside answers");
        assert!(tracked() > 0);
        node.render(&intent(2, &[])).unwrap();
        assert_eq!(tracked(), 0);
    });
}

#[test]
fn traffic_is_counted_from_the_network_point_of_view() {
    isolated(|| {
        let (node, _guest) = node_with_guest();
        let counters = || match node.call(Call::Counters(pb::CountersCall::default())).unwrap() {
            Outcome::Counters(reply) => reply,
            other => panic!("{other:?}"),
        };
        let before = counters().networks[0].clone();
        run("ip netns exec g1 ping -c5 -i0.2 -s 1000 192.0.2.1");
        let after = counters().networks[0].clone();
        assert!(after.tx.unwrap().bytes >= before.tx.unwrap().bytes + 5_000);
        assert!(after.rx.unwrap().bytes >= before.rx.unwrap().bytes + 5_000);
        run("ip -n g1 addr add 172.16.0.99/32 dev lo");
        assert!(!works("ip netns exec g1 ping -c1 -W1 -I 172.16.0.99 192.0.2.1"));
        assert!(
            counters().drops.iter().any(|drop| drop.reason == "ip" && drop.packets > 0),
            "{:?}",
            counters().drops
        );
    });
}

#[test]
fn strangers_and_nonsense_are_turned_away() {
    isolated(|| {
        let node = Node::new();
        node.render_host();
        let mut nonsense = UnixStream::connect(node.socket()).unwrap();
        nonsense.write_all(&[0xff; 64]).unwrap();
        // The worker hangs up on the frame, and goes on serving others.
        let mut rest = Vec::new();
        let _ = std::io::Read::read_to_end(&mut nonsense, &mut rest);
        assert!(rest.is_empty());
        assert!(node.inventory().host_rendered);
        assert_eq!(node.render(&absent(1)).unwrap().changes, Vec::new());
    });
}

#[test]
fn the_worker_keeps_two_capabilities_and_starts_no_program() {
    isolated(|| {
        let node = Node::new();
        node.render_host();
        let mut found = 0;
        for entry in std::fs::read_dir("/proc/self/task").unwrap() {
            let task = entry.unwrap().path();
            let name = std::fs::read_to_string(task.join("comm")).unwrap_or_default();
            if name.trim() == "net-privexec" {
                let status = std::fs::read_to_string(task.join("status")).unwrap();
                let effective = status.lines().find(|line| line.starts_with("CapEff")).unwrap();
                // CAP_NET_ADMIN is bit 12, CAP_NET_RAW bit 13.
                assert_eq!(effective.split_whitespace().nth(1), Some("0000000000003000"));
                found += 1;
            }
        }
        assert!(found > 0);
        node.render(&intent(1, &[])).unwrap();
    });
}
