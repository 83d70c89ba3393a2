//! An instance as the database describes it, parsed once into types.

use std::fmt::Display;
use std::net::Ipv4Addr;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ipnet::Ipv4Net;
use sf_gateway::CallClass;
use sf_hypervisor::domain::{VideoDefinition, VideoModel};
use sf_model::disk::{DiskBus, DiskType, MachineType, NicModel, VdiKind};
use sf_model::state::{InstanceState, PowerDesired};
use sf_model::{
    BlobId, ClusterId, Gib, InstanceId, InterfaceId, MacAddress, Mib, NetworkId, NodeId, Vcpus, Vxid,
};
use sf_protos::instances as pb;
use sf_protos::networks::Interface;

use crate::error::Stop;
use crate::facts::Fact;
use crate::worker::Worker;

/// Everything the stages need to know.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) instance: InstanceId,
    pub(crate) cluster: ClusterId,
    pub(crate) namespace: String,
    pub(crate) name: String,
    pub(crate) state: InstanceState,
    pub(crate) node: Option<NodeId>,
    /// The user named the node, so the instance may not move.
    pub(crate) pinned: bool,
    pub(crate) placement_seq: u32,
    pub(crate) desired: PowerDesired,
    /// Absent: never booted.
    pub(crate) boot_id: Option<String>,
    pub(crate) cpus: Vcpus,
    pub(crate) memory: Mib,
    pub(crate) machine: MachineType,
    pub(crate) uefi: bool,
    pub(crate) secure_boot: bool,
    pub(crate) nvram_blob: Option<BlobId>,
    pub(crate) disks: Vec<DiskRow>,
    pub(crate) interfaces: Vec<Nic>,
    pub(crate) console_port: u16,
    pub(crate) vdi_port: u16,
    pub(crate) vdi: VdiKind,
    pub(crate) video: VideoDefinition,
    pub(crate) ssh_key: Option<String>,
    pub(crate) user_data: Option<Vec<u8>>,
    pub(crate) networks: Vec<pb::DefinitionNetwork>,
}

/// One disk of the row.
#[derive(Debug, Clone)]
pub(crate) struct DiskRow {
    pub(crate) position: u32,
    pub(crate) bus: DiskBus,
    pub(crate) kind: DiskType,
    pub(crate) size: Option<Gib>,
    pub(crate) blob: Option<BlobId>,
    /// The user asked for a base, so `blob` must be known by the time the disk is made.
    pub(crate) has_base: bool,
    pub(crate) config_drive: bool,
}

/// One interface with its network.
#[derive(Debug, Clone)]
pub(crate) struct Nic {
    pub(crate) interface: InterfaceId,
    pub(crate) network: NetworkId,
    pub(crate) order: u32,
    pub(crate) mac: MacAddress,
    pub(crate) model: NicModel,
    pub(crate) address: Option<Ipv4Addr>,
    pub(crate) vxid: Vxid,
    pub(crate) mtu: u32,
    pub(crate) netblock: Ipv4Net,
    pub(crate) dns: bool,
    pub(crate) nat: bool,
}

impl Nic {
    /// The network's own address: the first one guests could have.
    pub(crate) fn gateway(&self) -> Option<Ipv4Addr> {
        self.netblock.hosts().next()
    }
}

/// Reads the instance and what it depends on in one call.
pub(crate) async fn load(worker: &Worker, instance: InstanceId) -> Result<Plan, Stop> {
    let request = pb::GetInstanceDefinitionRequest { instance_uuid: instance.to_string() };
    let reply = worker.context.gateway.call(CallClass::Background, request).await?;
    if let Some(fact) = reply.instance.as_ref().and_then(Fact::of) {
        worker.facts.set(instance, fact);
    }
    parse(reply)
        .map_err(|what| Stop::permanent("definition", format!("the instance's record is not usable: {what}")))
}

fn parse(reply: pb::GetInstanceDefinitionReply) -> Result<Plan, String> {
    let row = reply.instance.ok_or("it is empty")?;
    let state = row.state.as_ref().map(|info| info.state.as_str()).unwrap_or_default();
    let video = row.video.unwrap_or_default();
    let port = |kind: &str| {
        let found =
            row.ports.iter().find(|port| port.kind == kind).ok_or(format!("it has no {kind} port"))?;
        u16::try_from(found.port).map_err(|_| format!("{kind} port {} is out of range", found.port))
    };
    let user_data = match row.user_data.as_deref().filter(|text| !text.is_empty()) {
        Some(text) => {
            Some(STANDARD.decode(text).map_err(|error| format!("user data is not base64: {error}"))?)
        }
        None => None,
    };
    let networks = &reply.networks;
    let interfaces = row.interfaces.iter().map(|it| interface(it, networks)).collect::<Result<_, _>>()?;
    Ok(Plan {
        instance: word("instance uuid", &row.uuid)?,
        cluster: word("cluster id", &reply.cluster_id)?,
        state: word("state", state)?,
        node: row.node_uuid.as_deref().map(|text| word("node", text)).transpose()?,
        pinned: row.requested_node_uuid.is_some(),
        placement_seq: row.placement_seq,
        desired: word("desired power", &row.power_desired)?,
        cpus: Vcpus(row.cpus),
        memory: Mib(row.memory_mb),
        machine: word("machine type", &row.machine_type)?,
        uefi: row.uefi,
        secure_boot: row.secure_boot,
        nvram_blob: row.nvram_blob_uuid.as_deref().map(|text| word("NVRAM blob", text)).transpose()?,
        disks: row.disks.iter().map(disk).collect::<Result<_, _>>()?,
        interfaces,
        console_port: port("console")?,
        vdi_port: port("vdi")?,
        vdi: word("vdi", &video.vdi)?,
        video: VideoDefinition {
            model: VideoModel::new(&video.model).ok_or_else(|| format!("video model {:?}", video.model))?,
            memory_kib: video.memory_kib,
        },
        namespace: row.namespace,
        name: row.name,
        boot_id: row.boot_id,
        ssh_key: row.ssh_key.filter(|key| !key.is_empty()),
        user_data,
        networks: reply.networks,
    })
}

fn disk(row: &pb::Disk) -> Result<DiskRow, String> {
    Ok(DiskRow {
        position: row.position,
        bus: word("disk bus", &row.bus)?,
        kind: word("disk type", &row.present_as)?,
        size: row.size_gb.filter(|size| *size > 0).map(Gib),
        blob: row.blob_uuid.as_deref().map(|text| word("disk blob", text)).transpose()?,
        has_base: row.base.is_some() || row.artifact_uuid.is_some() || row.blob_uuid.is_some(),
        config_drive: row.is_configdrive,
    })
}

fn interface(row: &Interface, networks: &[pb::DefinitionNetwork]) -> Result<Nic, String> {
    let network = networks.iter().find(|network| network.network_uuid == row.network_uuid);
    let network = network.ok_or_else(|| format!("interface {} has no network", row.uuid))?;
    Ok(Nic {
        interface: word("interface uuid", &row.uuid)?,
        network: word("network uuid", &network.network_uuid)?,
        order: row.order,
        mac: word("MAC address", &row.macaddr)?,
        model: word("interface model", &row.model)?,
        address: row.ipv4.as_deref().map(|text| word("address", text)).transpose()?,
        vxid: Vxid::new(network.vxid).ok_or_else(|| format!("network identifier {}", network.vxid))?,
        mtu: network.mtu,
        netblock: word("netblock", &network.netblock)?,
        dns: network.provide_dns,
        nat: network.provide_nat,
    })
}

fn word<T: FromStr>(what: &str, text: &str) -> Result<T, String>
where
    T::Err: Display,
{
    text.parse().map_err(|error| format!("{what} {text:?}: {error}"))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use sf_protos::common::StateInfo;

    /// A reply as the database tier gives it for a small instance.
    pub(crate) fn reply() -> pb::GetInstanceDefinitionReply {
        let network = NetworkId::random().to_string();
        let state = StateInfo { state: "preflight".into(), ..StateInfo::default() };
        let row = pb::Instance {
            uuid: InstanceId::random().to_string(),
            namespace: "team".into(),
            name: "box".into(),
            state: Some(state),
            cpus: 1,
            memory_mb: 256,
            disks: vec![pb::Disk {
                device: "vda".into(),
                bus: "virtio".into(),
                present_as: "disk".into(),
                size_gb: Some(8),
                blob_uuid: Some(BlobId::random().to_string()),
                format: "qcow2".into(),
                ..pb::Disk::default()
            }],
            video: Some(pb::VideoSpec { model: "cirrus".into(), memory_kib: 16384, vdi: "vnc".into() }),
            configdrive: "openstack-disk".into(),
            machine_type: "pc".into(),
            placement_seq: 1,
            power_desired: "on".into(),
            power_state: "initial".into(),
            ports: vec![
                pb::InstancePort { kind: "console".into(), port: 30000 },
                pb::InstancePort { kind: "vdi".into(), port: 30001 },
            ],
            interfaces: vec![Interface {
                uuid: InterfaceId::random().to_string(),
                network_uuid: network.clone(),
                macaddr: "02:00:00:00:00:01".into(),
                ipv4: Some("10.0.0.5".into()),
                model: "virtio".into(),
                ..Interface::default()
            }],
            user_data: Some(STANDARD.encode("#!/bin/sh")),
            ..pb::Instance::default()
        };
        pb::GetInstanceDefinitionReply {
            instance: Some(row),
            networks: vec![pb::DefinitionNetwork {
                network_uuid: network,
                vxid: 16,
                netblock: "10.0.0.0/24".into(),
                mtu: 1450,
                ..pb::DefinitionNetwork::default()
            }],
            cluster_id: ClusterId::random().to_string(),
        }
    }

    /// The plan of [`reply`].
    pub(crate) fn plan() -> Plan {
        parse(reply()).unwrap()
    }

    #[test]
    fn a_complete_record_becomes_a_plan() {
        let plan = parse(reply()).unwrap();
        assert_eq!((plan.console_port, plan.vdi_port), (30000, 30001));
        assert_eq!(plan.user_data.as_deref(), Some(b"#!/bin/sh".as_slice()));
        assert_eq!(plan.interfaces[0].gateway(), Some(Ipv4Addr::new(10, 0, 0, 1)));
        assert!(plan.disks[0].has_base);
    }

    #[test]
    fn what_is_wrong_with_a_record_is_named() {
        type Break = fn(&mut pb::GetInstanceDefinitionReply);
        let table: [(Break, &str); 5] = [
            (|it| it.instance = None, "empty"),
            (|it| it.instance.as_mut().unwrap().ports.clear(), "console port"),
            (|it| it.networks.clear(), "has no network"),
            (|it| it.instance.as_mut().unwrap().disks[0].bus = "ide".into(), "disk bus"),
            (|it| it.instance.as_mut().unwrap().user_data = Some("%".into()), "base64"),
        ];
        for (damage, expected) in table {
            let mut broken = reply();
            damage(&mut broken);
            let error = parse(broken).unwrap_err();
            assert!(error.contains(expected), "{error}");
        }
    }
}
