//! The domain definition of an instance on this node.

use std::net::IpAddr;

use rand::RngCore;
use sf_hypervisor::capabilities::Needs;
use sf_hypervisor::disks::DiskPlan;
use sf_hypervisor::domain::{
    ConsoleDefinition, DomainDefinition, DomainIdentity, FirmwareDefinition, GraphicsDefinition,
    InterfaceDefinition,
};
use sf_model::Secret;
use sf_model::disk::DiskBus;
use uuid::Uuid;

use super::Plan;
use crate::error::Stop;
use crate::worker::Worker;

/// Bytes of a console ticket: 128 bits.
const TICKET: usize = 16;

/// Stage P3: whether this node can run the instance at all.
pub(crate) async fn check_capabilities(worker: &Worker, plan: &Plan) -> Result<(), Stop> {
    let host = worker.host()?;
    host.usable()?;
    let capabilities = host.capabilities().await?;
    let buses: Vec<DiskBus> = plan.disks.iter().map(|disk| disk.bus).collect();
    let needs = Needs {
        machine: plan.machine,
        cpus: plan.cpus.0,
        buses: &buses,
        video: plan.video.model.as_str(),
        vdi: plan.vdi,
        extras: worker.cluster().allow_qemu_extras,
    };
    match capabilities.lacks(&needs) {
        Some(missing) => Err(Stop::Placement(format!("capability: {missing}"))),
        None => super::firmware::choose_for(worker, plan).map(drop),
    }
}

/// The definition for one boot.
pub(crate) async fn definition(
    worker: &Worker,
    plan: &Plan,
    disks: &[DiskPlan],
    firmware: Option<FirmwareDefinition>,
    boot: Uuid,
) -> Result<DomainDefinition, Stop> {
    let host = worker.host()?;
    let capabilities = host.capabilities().await?;
    let emulator = capabilities.emulator(plan.machine).ok_or_else(|| {
        Stop::Placement(format!("capability: this node does not offer machine type {}", plan.machine))
    })?;
    let cluster = worker.cluster();
    let console_port = plan.console_port;
    Ok(DomainDefinition {
        identity: DomainIdentity {
            cluster: plan.cluster,
            instance: plan.instance,
            placement: plan.placement_seq,
            boot,
            spec: String::new(),
            agent: env!("CARGO_PKG_VERSION").into(),
        },
        accelerator: host.usable()?,
        emulator: emulator.to_owned(),
        machine_type: plan.machine,
        machine_version: None,
        cpus: plan.cpus,
        memory: plan.memory,
        firmware,
        disks: disks.iter().map(|disk| disk.definition.clone()).collect(),
        cache: host.cache,
        interfaces: interfaces(plan),
        console: ConsoleDefinition {
            listener: cluster.serial_telnet.then(|| (console_address(worker), console_port)),
            log: worker.layout.console_log(plan.instance),
        },
        graphics: GraphicsDefinition {
            kind: plan.vdi,
            listen: graphics_address(worker),
            port: plan.vdi_port,
            tls_port: None,
            ticket: cluster.vdi_tickets.then(ticket),
            guest_integration: cluster.spice_guest_integration,
        },
        video: plan.video.clone(),
        vsock_cid: None,
        spare_slots: cluster.hotplug_spare_slots,
    })
}

/// Where the serial console listens.
pub(crate) fn console_address(worker: &Worker) -> IpAddr {
    let config = &worker.context.config;
    config.console_listen_ip.or(config.node_egress_ip).unwrap_or(config.node_mesh_ip)
}

/// Where graphical consoles listen: without TLS on the mesh only, unless the operator allows otherwise.
pub(crate) fn graphics_address(worker: &Worker) -> IpAddr {
    if worker.cluster().console_allow_plaintext {
        console_address(worker)
    } else {
        worker.context.config.node_mesh_ip
    }
}

fn interfaces(plan: &Plan) -> Vec<InterfaceDefinition> {
    let mut nics: Vec<_> = plan.interfaces.iter().collect();
    nics.sort_by_key(|nic| nic.order);
    nics.into_iter()
        .map(|nic| InterfaceDefinition {
            interface: nic.interface,
            vxid: nic.vxid,
            mac: nic.mac,
            model: nic.model,
            mtu: nic.mtu,
        })
        .collect()
}

fn ticket() -> Secret<String> {
    let mut bytes = [0u8; TICKET];
    rand::rng().fill_bytes(&mut bytes);
    Secret::new(hex::encode(bytes))
}
