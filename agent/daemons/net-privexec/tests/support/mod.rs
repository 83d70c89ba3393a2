//! A node of its own for each test: fresh network and mount namespaces, an outside world, and guests.
#![allow(dead_code, unreachable_pub, reason = "each test file uses its own part")]

use std::path::PathBuf;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use sf_daemon_net_privexec::{Options, Server};
use sf_netstate::wire::{CallError, Client};
use sf_protos::net_privexec as pb;
use sf_protos::net_privexec::request::Call;
use sf_protos::net_privexec::response::Outcome;

pub const CLUSTER: &str = "3f0e1a52-6a7d-4d0a-9a9d-0c5b5a1d2e3f";
pub const NODE: &str = "7a1b7a0e-30f5-4c3c-8f1e-2b9d5a4c6e7f";
pub const FLOATING: &str = "192.168.20.0/24";

/// Runs a test in namespaces of its own; skips with the reason where that is not allowed.
pub fn isolated(test: impl FnOnce() + Send + 'static) {
    let outcome = std::thread::spawn(move || {
        if let Err(error) = enter() {
            eprintln!("skipped: network namespaces cannot be made here: {error}");
            return;
        }
        test();
    })
    .join();
    if let Err(panic) = outcome {
        std::panic::resume_unwind(panic);
    }
}

fn enter() -> nix::Result<()> {
    unshare(CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWNS)?;
    let nothing = None::<&str>;
    mount(nothing, "/", nothing, MsFlags::MS_REC | MsFlags::MS_PRIVATE, nothing)?;
    // Named namespaces of the test stay its own.
    std::fs::create_dir_all("/run/netns").ok();
    mount(Some("none"), "/run/netns", Some("tmpfs"), MsFlags::empty(), nothing)
}

/// Runs a command line and insists on success.
pub fn run(line: &str) -> String {
    let output = attempt(line);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{line}: {text}{}", String::from_utf8_lossy(&output.stderr));
    text
}

/// Runs a command line.
pub fn attempt(line: &str) -> Output {
    Command::new("sh").args(["-c", line]).output().unwrap()
}

/// Whether a command line succeeds.
pub fn works(line: &str) -> bool {
    attempt(line).status.success()
}

/// Waits until something holds.
pub fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !holds() {
        assert!(Instant::now() < deadline, "{what} did not come about");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A node: mesh interface, uplink to a namespace `out`, and the daemon.
pub struct Node {
    pub client: Client,
    options: Options,
    server: Option<Server>,
    dir: tempfile::TempDir,
}

impl Node {
    pub fn new() -> Self {
        run("ip link set lo up");
        run("ip link add mesh0 type bridge && ip addr add 10.99.0.1/24 dev mesh0 && ip link set mesh0 up");
        run("ip netns add out && ip link add up0 type veth peer name up1 netns out");
        run("ip addr add 192.0.2.2/24 dev up0 && ip link set up0 up && ip route add default via 192.0.2.1");
        run(
            "ip -n out link set lo up && ip -n out addr add 192.0.2.1/24 dev up1 && ip -n out link set up1 up",
        );
        let dir = tempfile::tempdir().unwrap();
        let options = Options {
            socket: dir.path().join("net-privexec.sock"),
            state_dir: dir.path().join("state"),
            netns_dir: PathBuf::from("/run/netns"),
            drop_capabilities: true,
        };
        let client = Client::new(&options.socket, Duration::from_secs(30));
        let server = Some(Server::start(options.clone()).unwrap());
        Self { client, options, server, dir }
    }

    /// Ends the daemon and starts another one.
    pub fn restart(&mut self) {
        self.server.take().unwrap().stop();
        self.server = Some(Server::start(self.options.clone()).unwrap());
    }

    /// The socket of the daemon.
    pub fn socket(&self) -> &std::path::Path {
        &self.options.socket
    }

    /// Ends the daemon and takes everything of ours off the node.
    pub fn purge(mut self) -> Vec<String> {
        self.server.take().unwrap().stop();
        sf_daemon_net_privexec::purge(&self.options, None).unwrap()
    }

    pub fn call(&self, call: Call) -> Result<Outcome, CallError> {
        self.client.call("test", call).map(|(outcome, _)| outcome)
    }

    pub fn render_host(&self) -> pb::RenderReply {
        self.render_host_as(host_intent()).unwrap()
    }

    pub fn render_host_as(&self, intent: pb::HostIntent) -> Result<pb::RenderReply, CallError> {
        match self.call(Call::RenderHost(pb::RenderHostCall { intent: Some(intent) }))? {
            Outcome::Render(reply) => Ok(reply),
            other => panic!("{other:?}"),
        }
    }

    pub fn render(&self, intent: &pb::NetworkIntent) -> Result<pb::RenderReply, CallError> {
        match self.call(Call::RenderNetwork(pb::RenderNetworkCall { intent: Some(intent.clone()) }))? {
            Outcome::Render(reply) => Ok(reply),
            other => panic!("{other:?}"),
        }
    }

    pub fn inventory(&self) -> pb::InventoryReply {
        match self.call(Call::Inventory(pb::InventoryCall {})).unwrap() {
            Outcome::Inventory(reply) => reply,
            other => panic!("{other:?}"),
        }
    }

    /// Links, namespaces and tables, as the kernel's own tools show them.
    pub fn everything(&self) -> String {
        let links = run("ip -o link | awk -F': ' '{print $2}' | cut -d@ -f1 | sort");
        let spaces = run("ls /run/netns");
        let tables = run("nft list tables");
        format!("{links}{spaces}{tables}")
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if let Some(server) = self.server.take() {
            server.stop();
        }
    }
}

pub fn host_intent() -> pb::HostIntent {
    pb::HostIntent {
        cluster_id: CLUSTER.into(),
        node_uuid: NODE.into(),
        mesh_ip: "10.99.0.1".into(),
        mesh_nic: String::new(),
        mesh_peers: vec!["10.99.0.1".into(), "10.99.0.2".into()],
        protected_cidrs: vec!["10.99.0.0/24".into()],
        underlay_mtu: 1_500,
        vxlan_udp_port: 4_789,
        egress: Some(pb::EgressHost {
            mode: pb::EgressMode::Nat.into(),
            floating_network: FLOATING.into(),
            floating_router: "192.168.20.1".into(),
            nic: String::new(),
            nic_dedicated: false,
        }),
        service_targets: Vec::new(),
    }
}

/// One guest: a namespace whose interface is a port of the network's bridge, as a tap would be.
pub struct Guest {
    pub name: &'static str,
    pub mac: String,
    pub address: String,
}

impl Guest {
    pub fn new(number: u8, name: &'static str) -> Self {
        Self {
            name,
            mac: format!("02:00:00:00:00:{number:02x}"),
            address: format!("172.16.0.{}", 10 + number),
        }
    }

    pub fn tap(&self) -> String {
        format!("tap{}", self.mac.replace(':', ""))
    }

    /// Plugs the guest into a bridge.
    pub fn plug(&self, bridge: &str) {
        let (name, mac, tap) = (self.name, &self.mac, self.tap());
        run(&format!("ip netns add {name} && ip -n {name} link set lo up"));
        run(&format!(
            "ip link add {tap} mtu 1450 type veth peer name eth0 address {mac} mtu 1450 netns {name}"
        ));
        run(&format!("ip link set {tap} master {bridge} up && ip -n {name} link set eth0 up"));
    }

    /// Gives the guest its address and route by hand.
    pub fn configure(&self) {
        let (name, address) = (self.name, &self.address);
        run(&format!(
            "ip -n {name} addr add {address}/24 dev eth0 && ip -n {name} route add default via 172.16.0.1"
        ));
    }

    pub fn unplug(&self) {
        run(&format!("ip link del {} && ip netns del {}", self.tap(), self.name));
    }

    pub fn pings(&self, target: &str) -> bool {
        works(&format!("ip netns exec {} ping -c1 -W2 {target}", self.name))
    }

    /// Insists that an address answers. A first ARP exchange on a busy machine may take its time.
    pub fn reaches(&self, target: &str, what: &str) {
        eventually(what, || self.pings(target));
    }

    pub fn port(&self) -> pb::LocalPort {
        pb::LocalPort {
            interface_uuid: uuid::Uuid::new_v5(&uuid::Uuid::NAMESPACE_OID, self.mac.as_bytes()).to_string(),
            macaddr: self.mac.clone(),
            allowed_addresses: vec![self.address.clone()],
            port_security: pb::PortSecurity::Strict.into(),
        }
    }

    pub fn reservation(&self) -> pb::Reservation {
        pb::Reservation {
            interface_uuid: self.port().interface_uuid,
            macaddr: self.mac.clone(),
            address: self.address.clone(),
            hostname: self.name.into(),
        }
    }
}

pub const NETWORK: &str = "aaaaaaaa-0000-4000-8000-000000000001";
pub const VXID: u32 = 0x00_1234;
pub const BRIDGE: &str = "br-vxlan-001234";

/// A node with its host rendered and one network that one guest has joined.
pub fn node_with_guest() -> (Node, Guest) {
    let node = Node::new();
    node.render_host();
    let guest = Guest::new(1, "g1");
    node.render(&intent(1, &[&guest])).unwrap();
    guest.plug(BRIDGE);
    guest.configure();
    (node, guest)
}

/// A network with everything one node can have of it.
pub fn intent(generation: u64, guests: &[&Guest]) -> pb::NetworkIntent {
    pb::NetworkIntent {
        network_uuid: NETWORK.into(),
        vxid: VXID,
        generation,
        presence: pb::Presence::Present.into(),
        mtu: 1_450,
        learning: false,
        peers: vec![pb::Peer { node_uuid: NODE.into(), mesh_ip: "10.99.0.2".into() }],
        local_ports: guests.iter().map(|guest| guest.port()).collect(),
        remote_ports: vec![pb::RemotePort {
            macaddr: "02:00:00:00:01:01".into(),
            mesh_ip: "10.99.0.2".into(),
        }],
        carrier: Some(pb::CarrierPart {
            epoch: 1,
            egress_live: true,
            session_epoch: 1,
            netblock: "172.16.0.0/24".into(),
            gateway: "172.16.0.1".into(),
            egress_address: "192.168.20.5".into(),
            provide_nat: true,
            floats: Vec::new(),
            routed: Vec::new(),
            service_ports: Vec::new(),
            dhcp: Some(pb::DhcpData {
                reservations: guests.iter().map(|guest| guest.reservation()).collect(),
                dns_servers: vec!["172.16.0.1".into()],
                domain: "tenant.shakenfist".into(),
            }),
            dns: Some(pb::DnsData {
                zone: "tenant.shakenfist".into(),
                records: Vec::new(),
                forwarders: Vec::new(),
            }),
        }),
    }
}

pub fn absent(generation: u64) -> pb::NetworkIntent {
    let presence = pb::Presence::Absent.into();
    pb::NetworkIntent { presence, carrier: None, local_ports: Vec::new(), ..intent(generation, &[]) }
}
