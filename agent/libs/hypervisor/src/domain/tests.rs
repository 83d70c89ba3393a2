//! Documents are compared with files in `testdata/`; set `SF_UPDATE_GOLDEN=1` to write them anew.

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;

use proptest::prelude::*;
use sf_model::disk::{DiskBus, DiskType, MachineType, NicModel, VdiKind};
use sf_model::{BlobId, ClusterId, Gib, InstanceId, InterfaceId, MacAddress, Mib, Secret, Vcpus, Vxid};
use uuid::Uuid;

use super::*;
use crate::disks::{DiskBase, DiskRequest, StorageLayout, plan};

const INSTANCE: u128 = 0x1111_1111_1111_4111_8111_1111_1111_1111;

/// One row of the matrix.
struct Case {
    name: &'static str,
    machine: MachineType,
    firmware: Option<bool>,
    accelerator: Accelerator,
    vdi: VdiKind,
    buses: &'static [DiskBus],
    interfaces: u32,
}

const PLAIN: Case = Case {
    name: "plain",
    machine: MachineType::Pc,
    firmware: None,
    accelerator: Accelerator::Qemu,
    vdi: VdiKind::Vnc,
    buses: &[DiskBus::Virtio],
    interfaces: 1,
};

fn cases() -> Vec<Case> {
    vec![
        PLAIN,
        Case { name: "kvm", accelerator: Accelerator::Kvm, ..PLAIN },
        Case { name: "spice", vdi: VdiKind::Spice, ..PLAIN },
        Case { name: "spice-concurrent", vdi: VdiKind::SpiceConcurrent, ..PLAIN },
        Case { name: "spice-debug", vdi: VdiKind::SpiceDebug, ..PLAIN },
        Case { name: "uefi", firmware: Some(false), ..PLAIN },
        Case { name: "secure", machine: MachineType::Q35, firmware: Some(true), ..PLAIN },
        Case {
            name: "buses",
            buses: &[DiskBus::Virtio, DiskBus::Scsi, DiskBus::Sata, DiskBus::Usb, DiskBus::Nvme],
            ..PLAIN
        },
        Case { name: "no-network", interfaces: 0, ..PLAIN },
        Case { name: "q35-24-networks", machine: MachineType::Q35, interfaces: 24, ..PLAIN },
    ]
}

fn id(low: u128) -> Uuid {
    Uuid::from_u128(0x2222_2222_2222_4222_8222_2222_2222_0000 + low)
}

fn definition(case: &Case) -> DomainDefinition {
    let instance = InstanceId::from_uuid(Uuid::from_u128(INSTANCE));
    let layout = StorageLayout::new("/srv/shakenfist");
    let mut requests: Vec<DiskRequest> = case
        .buses
        .iter()
        .zip([0, 2, 3, 4, 5])
        .map(|(bus, position)| DiskRequest {
            position,
            bus: *bus,
            kind: DiskType::Disk,
            size: Some(Gib(8)),
            base: (position == 0).then(|| DiskBase {
                blob: BlobId::from_uuid(id(1)),
                iso: false,
                virtual_size: 1 << 30,
                chain: vec![BlobId::from_uuid(id(2))],
            }),
            config_drive: false,
        })
        .collect();
    requests.push(DiskRequest {
        position: 1,
        bus: DiskBus::Virtio,
        kind: DiskType::Disk,
        size: None,
        base: None,
        config_drive: true,
    });
    let disks = plan(instance, &requests, &layout, |bus| bus == DiskBus::Nvme).unwrap();
    DomainDefinition {
        identity: DomainIdentity {
            cluster: ClusterId::from_uuid(id(3)),
            instance,
            placement: 1,
            boot: id(4),
            spec: String::new(),
            agent: "0.1.0".into(),
        },
        accelerator: case.accelerator,
        emulator: "/usr/bin/qemu-system-x86_64".into(),
        machine_type: case.machine,
        machine_version: None,
        cpus: Vcpus(2),
        memory: Mib(256),
        firmware: case.firmware.map(|secure| FirmwareDefinition {
            code: "/usr/share/OVMF/OVMF_CODE_4M.fd".into(),
            nvram: layout.nvram(instance),
            secure,
        }),
        disks: disks.into_iter().map(|disk| disk.definition).collect(),
        cache: DiskCacheMode::None,
        interfaces: (0..case.interfaces)
            .map(|index| InterfaceDefinition {
                interface: InterfaceId::from_uuid(id(100 + u128::from(index))),
                vxid: Vxid::new(16 + index).unwrap(),
                mac: MacAddress::from_u64(0x0200_0000_0000 + u64::from(index)),
                model: NicModel::Virtio,
                mtu: 1450,
            })
            .collect(),
        console: ConsoleDefinition {
            listener: Some((IpAddr::V4(Ipv4Addr::LOCALHOST), 30000)),
            log: layout.console_log(instance),
        },
        graphics: GraphicsDefinition {
            kind: case.vdi,
            listen: IpAddr::V4(Ipv4Addr::LOCALHOST),
            port: 30001,
            tls_port: (case.vdi == VdiKind::SpiceConcurrent).then_some(30002),
            ticket: Some(Secret::new("s3cret".into())),
            guest_integration: false,
        },
        video: VideoDefinition { model: VideoModel::new("cirrus").unwrap(), memory_kib: 16384 },
        vsock_cid: (case.name == "kvm").then_some(77),
        spare_slots: 8,
    }
}

fn golden(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("testdata").join(format!("{name}.xml"))
}

#[test]
fn documents_are_as_recorded() {
    let update = std::env::var_os("SF_UPDATE_GOLDEN").is_some();
    for case in cases() {
        // The architecture is the host's; the recorded files are for one.
        let document = definition(&case).to_xml().unwrap().replace(std::env::consts::ARCH, "x86_64") + "\n";
        let path = golden(case.name);
        if update {
            std::fs::write(&path, &document).unwrap();
        }
        let recorded = std::fs::read_to_string(&path).unwrap_or_default();
        assert_eq!(document, recorded, "{} differs from {}", case.name, path.display());
    }
}

#[test]
#[expect(clippy::print_stderr, reason = "a skipped test says why")]
fn documents_satisfy_libvirts_schema() {
    let tool = "/usr/bin/virt-xml-validate";
    for needed in [tool, "/usr/bin/xmllint"] {
        if !std::path::Path::new(needed).exists() {
            eprintln!("skipped: {needed} is not installed");
            return;
        }
    }
    let dir = tempfile::tempdir().unwrap();
    for case in cases() {
        let file = dir.path().join(case.name);
        std::fs::write(&file, definition(&case).to_xml().unwrap()).unwrap();
        let output = std::process::Command::new(tool).arg(&file).arg("domain").output().unwrap();
        assert!(output.status.success(), "{}: {}", case.name, String::from_utf8_lossy(&output.stderr));
    }
}

#[test]
fn what_changes_at_every_start_does_not_change_the_spec() {
    let mut one = definition(&PLAIN);
    let before = one.spec_hash().unwrap();
    one.identity.boot = Uuid::new_v4();
    one.identity.placement = 9;
    one.identity.agent = "9".into();
    one.graphics.ticket = None;
    assert_eq!(one.spec_hash().unwrap(), before);
    one.graphics.port += 1;
    assert_ne!(one.spec_hash().unwrap(), before);
}

#[test]
fn the_ticket_is_in_the_document_and_nowhere_else() {
    let definition = definition(&PLAIN);
    assert!(definition.to_xml().unwrap().contains("s3cret"));
    assert!(!format!("{definition:?}").contains("s3cret"));
}

/// Number of elements, and of elements left open.
fn shape(document: &str) -> (usize, i32) {
    use quick_xml::events::Event;
    let mut reader = quick_xml::Reader::from_str(document);
    let (mut elements, mut open) = (0, 0);
    loop {
        match reader.read_event().unwrap() {
            Event::Start(_) => (elements, open) = (elements + 1, open + 1),
            Event::Empty(_) => elements += 1,
            Event::End(_) => open -= 1,
            Event::Eof => return (elements, open),
            _ => {}
        }
    }
}

proptest! {
    /// The free text a definition can carry (paths, a versioned machine, a video model) stays inside its own
    /// attribute or element, whatever characters it has.
    #[test]
    fn no_string_escapes_its_place(text in "[ -~]{1,40}") {
        let mut hostile = definition(&PLAIN);
        let marked = format!("MARK{text}MARK");
        hostile.emulator = marked.clone();
        hostile.machine_version = Some(marked.clone());
        if let Some(model) = VideoModel::new(&text) {
            hostile.video.model = model;
        }
        let document = hostile.to_xml().unwrap();
        let plain = shape(include_str!("../../testdata/plain.xml"));
        prop_assert_eq!(shape(&document), plain);
        let raw_specials = text.contains(['<', '>', '&', '"', '\'']);
        prop_assert_eq!(document.contains(&marked), !raw_specials);
    }
}
