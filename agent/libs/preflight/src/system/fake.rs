//! A host that is written down in a test.

use std::collections::BTreeMap;
use std::io;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::{FileSystem, Interface, Listener, System};
use crate::input::Input;
use crate::subject::{ClusterFacts, Probes, Subject, VirtState};

/// What there is. Whatever is not written down cannot be read.
#[derive(Debug, Clone)]
pub(crate) struct FakeSystem {
    pub(crate) files: BTreeMap<PathBuf, String>,
    pub(crate) programs: BTreeMap<String, String>,
    pub(crate) interfaces: Vec<Interface>,
    pub(crate) file_system: FileSystem,
    pub(crate) direct_io: bool,
    pub(crate) listeners: Vec<Listener>,
    pub(crate) blind_to_listeners: bool,
    pub(crate) now: SystemTime,
}

impl Default for FakeSystem {
    /// A host that is fit for everything.
    fn default() -> Self {
        let files = [
            ("/etc/os-release", "ID=debian\nVERSION_ID=\"12\"\nPRETTY_NAME=\"Debian 12\"\n"),
            ("/proc/sys/kernel/osrelease", "6.1.0-18-amd64\n"),
            ("/proc/1/comm", "systemd\n"),
            ("/proc/meminfo", "MemTotal:       16384000 kB\nMemFree: 1 kB\n"),
            ("/proc/cpuinfo", "processor\t: 0\n\nprocessor\t: 1\n\nprocessor\t: 2\n\nprocessor\t: 3\n"),
            ("/proc/net/route", "Iface\tDestination\tGateway\neth0\t00000000\t010200C0\n"),
            // A directory; that it exists is all that is asked.
            ("/usr/share/qemu/firmware", ""),
            ("/etc/default/libvirt-guests", "ON_BOOT=ignore\nON_SHUTDOWN=shutdown\n"),
        ];
        let programs = [
            ("systemctl", "systemd 252 (252.39-1~deb12u1)\n+PAM\n"),
            ("libvirtd", "libvirtd (libvirt) 9.0.0\n"),
            ("qemu-system-x86_64", "QEMU emulator version 7.2.15 (Debian)\n"),
            ("qemu-img", "qemu-img version 7.2.15\n"),
            ("timedatectl", "yes\n"),
        ];
        let interface = |name: &str, address: &str| Interface {
            name: name.into(),
            up: true,
            mtu: 1500,
            addresses: vec![(address.parse().unwrap(), 24)],
        };
        Self {
            files: files.map(|(path, text)| (PathBuf::from(path), text.to_owned())).into(),
            programs: programs.map(|(name, text)| (name.to_owned(), text.to_owned())).into(),
            interfaces: vec![interface("eth0", "192.0.2.1"), interface("eth1", "10.0.0.1")],
            file_system: FileSystem { at: "/srv".into(), kind: "other", free: 500 << 30, read_only: false },
            direct_io: true,
            listeners: Vec::new(),
            blind_to_listeners: false,
            now: SystemTime::UNIX_EPOCH,
        }
    }
}

impl System for FakeSystem {
    fn read(&self, path: &Path) -> io::Result<String> {
        self.files.get(path).cloned().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn output(&self, program: &str, _: &[&str]) -> io::Result<String> {
        self.programs.get(program).cloned().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn interfaces(&self) -> io::Result<Vec<Interface>> {
        Ok(self.interfaces.clone())
    }

    fn file_system(&self, _: &Path) -> io::Result<FileSystem> {
        Ok(self.file_system.clone())
    }

    fn direct_io(&self, _: &Path) -> io::Result<()> {
        if self.direct_io { Ok(()) } else { Err(io::ErrorKind::InvalidInput.into()) }
    }

    fn listeners(&self) -> io::Result<Vec<Listener>> {
        if self.blind_to_listeners {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        Ok(self.listeners.clone())
    }

    fn exists(&self, path: &Path) -> bool {
        self.files.contains_key(path)
    }

    fn now(&self) -> SystemTime {
        self.now
    }
}

/// What trying out answers.
#[derive(Debug, Clone)]
pub(crate) struct FakeProbes {
    pub(crate) virt: VirtState,
    pub(crate) forward_drops: Result<Vec<String>, String>,
    pub(crate) libvirt: Result<String, String>,
    pub(crate) kernel: Result<(), String>,
    /// Bytes that each member takes; the socket is refused for others.
    pub(crate) paths: BTreeMap<Ipv4Addr, u32>,
}

impl Probes for FakeProbes {
    fn is_ours(&self, device: &str) -> bool {
        device == "egr-br-eth0"
    }

    fn virt(&self) -> VirtState {
        self.virt.clone()
    }

    fn forward_drops(&self) -> Result<Vec<String>, String> {
        self.forward_drops.clone()
    }

    fn libvirt(&self) -> Result<String, String> {
        self.libvirt.clone()
    }

    fn kernel(&self) -> Result<(), String> {
        self.kernel.clone()
    }

    fn passes(&self, member: Ipv4Addr, bytes: u32) -> io::Result<bool> {
        let most = self.paths.get(&member).ok_or(io::ErrorKind::PermissionDenied)?;
        Ok(bytes <= *most)
    }
}

/// Guests run with KVM and the kernel makes networks.
pub(crate) fn probes() -> FakeProbes {
    let virt = VirtState { virt_type: Some("kvm".into()), failure: None, lacks_emulator: false };
    let (forward_drops, libvirt) = (Ok(Vec::new()), Ok("9.0.0".into()));
    FakeProbes { virt, forward_drops, libvirt, kernel: Ok(()), paths: BTreeMap::new() }
}

/// A host with every role that is fit for all of them, with further keys.
pub(crate) fn subject(keys: &[(&str, &str)]) -> Subject {
    subject_of(FakeSystem::default(), keys)
}

/// The same of a host that differs a little.
pub(crate) fn changed(change: impl FnOnce(&mut FakeSystem)) -> Subject {
    let mut system = FakeSystem::default();
    change(&mut system);
    subject_of(system, &[])
}

/// The same of another host.
pub(crate) fn subject_of(system: FakeSystem, keys: &[(&str, &str)]) -> Subject {
    let mut node = serde_json::json!({
        "node_name": "n", "node_mesh_ip": "10.0.0.1", "node_mesh_nic": "eth1", "node_egress_nic": "eth0",
        "mariadb_gateway_hosts": ["10.0.0.1"], "node_is_hypervisor": true,
    });
    for (key, value) in keys {
        node[*key] = (*value).into();
    }
    let input = serde_json::json!({
        "node": node, "roles": ["database", "api", "hypervisor", "network"], "daemons": ["database", "api", "net"],
        "multi": true, "settings": { "floating_network": "192.168.20.0/24" },
    });
    Subject {
        input: Input::parse(&input.to_string()).unwrap(),
        system: Box::new(system),
        probes: Box::new(probes()),
        cluster: ClusterFacts::default(),
    }
}
