//! A real guest: a private libvirtd, QEMU under emulation, the distribution's kernel and busybox.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "a test may fail loudly and says why it is skipped"
)]

mod lab;

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use lab::Lab;
use sf_hypervisor::capabilities::CapabilitySnapshot;
use sf_hypervisor::disks::{DiskBase, DiskFile, DiskPlan, DiskRequest, StorageLayout, plan};
use sf_hypervisor::domain::{
    Accelerator, ConsoleDefinition, DiskCacheMode, DomainDefinition, DomainIdentity, GraphicsDefinition,
    VideoDefinition, VideoModel, graphics_endpoint, machine_version, without_secrets,
};
use sf_hypervisor::libvirt::{Libvirt, LibvirtConfig};
use sf_hypervisor::{DomainEventKind, DomainState, Hypervisor, HypervisorEvent, StopDetail};
use sf_model::disk::{DiskBus, DiskType, MachineType, VdiKind};
use sf_model::{BlobId, ClusterId, Gib, InstanceId, Mib, Secret, Vcpus};
use tokio::sync::broadcast::Receiver;
use uuid::Uuid;

/// Generous: emulation on a busy machine.
const LIMIT: Duration = Duration::from_secs(180);

struct Guest<'a> {
    lab: &'a Lab,
    libvirt: Libvirt,
    instance: InstanceId,
    events: Receiver<HypervisorEvent>,
    capabilities: CapabilitySnapshot,
    machine: MachineType,
}

impl<'a> Guest<'a> {
    async fn new(lab: &'a Lab, machine: MachineType) -> Self {
        let libvirt = Libvirt::start(LibvirtConfig { uri: lab.uri(), threads: 4, emulated: true }).unwrap();
        tokio::time::timeout(LIMIT, libvirt.wait_connected()).await.unwrap();
        let events = libvirt.events();
        let capabilities = libvirt.capabilities(Accelerator::Qemu).await.unwrap();
        Self { lab, libvirt, instance: InstanceId::random(), events, capabilities, machine }
    }

    fn definition(&self) -> DomainDefinition {
        let layout = StorageLayout::new(self.lab.store());
        std::fs::create_dir_all(layout.instance_dir(self.instance)).unwrap();
        let base =
            |iso| Some(DiskBase { blob: BlobId::random(), iso, virtual_size: 1 << 20, chain: Vec::new() });
        let request = |position, bus, base| DiskRequest {
            position,
            bus,
            kind: DiskType::Disk,
            size: Some(Gib(1)),
            base,
            config_drive: position == 1,
        };
        let requests = [
            request(0, DiskBus::Virtio, base(false)),
            request(1, DiskBus::Virtio, None),
            request(2, DiskBus::Scsi, None),
            request(3, DiskBus::Virtio, base(true)),
        ];
        let disks = plan(self.instance, &requests, &layout, |_| false).unwrap();
        disks.iter().for_each(|disk| self.make_disk(&layout, disk));
        let known = &self.capabilities.machines[&self.machine];
        let model =
            ["cirrus", "vga", "virtio"].into_iter().find(|it| known.video_models.contains(*it)).unwrap();
        DomainDefinition {
            identity: DomainIdentity {
                cluster: ClusterId::random(),
                instance: self.instance,
                placement: 1,
                boot: Uuid::new_v4(),
                spec: String::new(),
                agent: "test".into(),
            },
            accelerator: Accelerator::Qemu,
            emulator: known.emulator.clone(),
            machine_type: self.machine,
            machine_version: None,
            cpus: Vcpus(1),
            memory: Mib(256),
            firmware: None,
            disks: disks.into_iter().map(|disk| disk.definition).collect(),
            cache: DiskCacheMode::Writeback,
            interfaces: Vec::new(),
            console: ConsoleDefinition {
                listener: Some(([127, 0, 0, 1].into(), self.lab.port())),
                log: layout.console_log(self.instance),
            },
            graphics: GraphicsDefinition {
                kind: VdiKind::Vnc,
                listen: [127, 0, 0, 1].into(),
                port: self.lab.port(),
                tls_port: None,
                ticket: Some(Secret::new("12345678".into())),
                guest_integration: false,
            },
            video: VideoDefinition { model: VideoModel::new(model).unwrap(), memory_kib: 16384 },
            vsock_cid: None,
            spare_slots: 4,
        }
    }

    /// The file of a disk, with its cached image.
    fn make_disk(&self, layout: &StorageLayout, disk: &DiskPlan) {
        let source = disk.definition.source.as_ref().unwrap();
        let format = source.format.to_string();
        let _ = std::fs::remove_file(&source.path);
        let mut command = Command::new("qemu-img");
        command.args(["create", "-q", "-f", &format]);
        let cached = match disk.file {
            DiskFile::Overlay(blob, _) => Some(layout.cached(blob, false)),
            DiskFile::Link(blob) => Some(layout.cached(blob, true)),
            _ => None,
        };
        if let Some(cached) = &cached {
            std::fs::create_dir_all(cached.parent().unwrap()).unwrap();
            let made =
                Command::new("qemu-img").args(["create", "-q", "-f", &format]).arg(cached).arg("1M").status();
            assert!(made.unwrap().success());
        }
        match (&cached, source.shared) {
            (Some(cached), true) => return std::fs::hard_link(cached, &source.path).unwrap(),
            (Some(cached), false) => drop(command.args(["-F", "qcow2", "-b"]).arg(cached)),
            (None, _) => {}
        }
        assert!(command.arg(&source.path).arg("1M").status().unwrap().success());
    }

    /// Defines the document with the test's kernel put in, and starts it.
    async fn boot(&mut self, command_line: &str) {
        let definition = self.definition();
        let document = self.lab.with_kernel(&definition.to_xml().unwrap(), command_line);
        let kept = self.libvirt.define(self.instance, &document).await.unwrap();
        assert!(machine_version(&kept).is_some_and(|machine| machine.contains('-')), "{kept}");
        assert!(kept.contains("<console type='tcp'>"), "libvirt adds the matching console: {kept}");
        self.libvirt.start(self.instance).await.unwrap();
        self.wait(DomainEventKind::Started).await;
        let found = self.libvirt.lookup(self.instance).await.unwrap().unwrap();
        assert_eq!((found.active, found.state), (true, DomainState::Running));
        assert_eq!(found.identity.unwrap().boot, definition.identity.boot);
    }

    async fn wait(&mut self, wanted: DomainEventKind) {
        let instance = self.instance;
        let wait = async {
            loop {
                if let HypervisorEvent::Domain(event) = self.events.recv().await.unwrap()
                    && event.instance == instance
                    && event.kind == wanted
                {
                    return;
                }
            }
        };
        assert!(tokio::time::timeout(LIMIT, wait).await.is_ok(), "{wanted:?} did not arrive");
    }

    async fn wait_console(&self, wanted: &str, times: usize) {
        let log = StorageLayout::new(self.lab.store()).console_log(self.instance);
        let read = || String::from_utf8_lossy(&std::fs::read(&log).unwrap_or_default()).into_owned();
        let wait = async {
            while read().matches(wanted).count() < times {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        assert!(tokio::time::timeout(LIMIT, wait).await.is_ok(), "no {wanted:?} on the console:\n{}", read());
    }

    async fn remove(&mut self) {
        self.libvirt.destroy(self.instance).await.unwrap();
        self.libvirt.undefine(self.instance).await.unwrap();
        assert_eq!(self.libvirt.lookup(self.instance).await.unwrap(), None);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_boots_pauses_resets_and_survives_a_restart_of_libvirt() {
    let Some(lab) = Lab::start() else { return };
    {
        let mut guest = Guest::new(&lab, MachineType::Pc).await;
        guest.boot("").await;
        guest.wait_console(lab::MARKER, 1).await;
        guest.libvirt.suspend(guest.instance).await.unwrap();
        guest.wait(DomainEventKind::Suspended { io_error: false }).await;
        guest.libvirt.resume(guest.instance).await.unwrap();
        guest.wait(DomainEventKind::Resumed).await;
        let stats = guest.libvirt.stats().await.unwrap();
        let sample = stats.iter().find(|sample| sample.instance == guest.instance).unwrap();
        let devices: Vec<&str> = sample.disks.iter().map(|disk| disk.device.as_str()).collect();
        assert_eq!(devices, ["vda", "vdb", "sdc", "sdd"]);
        assert!(sample.cpu_time_ns > 0);
        let document = guest.libvirt.document(guest.instance).await.unwrap().unwrap();
        let endpoint = graphics_endpoint(&document).unwrap();
        assert_eq!((endpoint.kind.as_str(), endpoint.ticket.unwrap().expose().as_str()), ("vnc", "12345678"));
        assert!(!without_secrets(&document).contains("12345678"));
        guest.libvirt.reset(guest.instance).await.unwrap();
        guest.wait(DomainEventKind::Rebooted).await;
        guest.wait_console(lab::MARKER, 2).await;

        // Guests do not notice that libvirt went away, and neither do we for long.
        lab.stop_libvirtd();
        let lost = async { while guest.events.recv().await.unwrap() != HypervisorEvent::Disconnected {} };
        tokio::time::timeout(LIMIT, lost).await.unwrap();
        assert!(guest.libvirt.lookup(guest.instance).await.unwrap_err().is_unavailable());
        lab.start_libvirtd();
        let back = async { while guest.events.recv().await.unwrap() != HypervisorEvent::Connected {} };
        tokio::time::timeout(LIMIT, back).await.unwrap();
        assert!(guest.libvirt.lookup(guest.instance).await.unwrap().unwrap().active);

        // libvirt has taken the guest over again when it can act on it.
        guest.libvirt.suspend(guest.instance).await.unwrap();
        guest.libvirt.resume(guest.instance).await.unwrap();

        lab.kill_qemu(guest.instance);
        guest.wait(DomainEventKind::Stopped(StopDetail::Crashed)).await;
        guest.remove().await;
    }
    lab.finish();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_that_switches_itself_off_is_told_apart_from_one_that_is_stopped() {
    let Some(lab) = Lab::start() else { return };
    {
        let mut guest = Guest::new(&lab, MachineType::Q35).await;
        guest.boot("sf_off").await;
        guest.wait_console(lab::MARKER, 1).await;
        guest.wait(DomainEventKind::Stopped(StopDetail::Shutdown)).await;
        guest.boot("").await;
        guest.wait_console(lab::MARKER, 2).await;
        guest.libvirt.destroy(guest.instance).await.unwrap();
        guest.wait(DomainEventKind::Stopped(StopDetail::Destroyed)).await;
        guest.remove().await;
    }
    lab.finish();
}

/// Makes a script executable.
fn executable(path: &Path) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
}
