//! Stage C8: the configuration drive, written anew at every power-on so that hot-plugged interfaces appear.

use std::fs::File;
use std::io::Write;
use std::os::fd::AsFd;

use nix::sys::memfd::{MFdFlags, memfd_create};
use rand::RngCore;
use sf_hypervisor::configdrive::{ConfigDriveInterface, ConfigDriveSpec, build};
use sf_hypervisor::disks::{DiskFile, DiskPlan};

use super::{Plan, with_helper};
use crate::error::Stop;
use crate::queue::Job;
use crate::worker::Worker;

/// Bytes of entropy a guest gets.
const SEED: usize = 512;

/// Writes the drive. The caller has made sure that the domain is not active.
pub(crate) async fn write(worker: &Worker, job: &Job, plan: &Plan, disks: &[DiskPlan]) -> Result<(), Stop> {
    let Some(disk) = disks.iter().find(|disk| disk.file == DiskFile::ConfigDrive) else { return Ok(()) };
    let failed = |error: &dyn std::fmt::Display| Stop::permanent("config-drive", error.to_string());
    let image = build(&spec(worker, plan), chrono::Utc::now()).map_err(|error| failed(&error))?;
    let memory = memfd_create("config-drive", MFdFlags::MFD_CLOEXEC).map_err(|error| failed(&error))?;
    let mut file = File::from(memory);
    file.write_all(&image).map_err(|error| failed(&error))?;
    let (helper, size) = (worker.helper(), u64::try_from(image.len()).unwrap_or(u64::MAX));
    let device = &disk.definition.device;
    with_helper(job, || helper.write_config_drive(plan.instance, device, file.as_fd(), size)).await
}

fn spec(worker: &Worker, plan: &Plan) -> ConfigDriveSpec {
    let cluster = worker.cluster();
    let mut random_seed = vec![0; SEED];
    rand::rng().fill_bytes(&mut random_seed);
    let interfaces = plan.interfaces.iter().filter_map(|nic| {
        Some(ConfigDriveInterface {
            interface: nic.interface,
            network: nic.network,
            order: nic.order,
            mac: nic.mac,
            mtu: nic.mtu,
            address: nic.address?,
            netmask: nic.netblock.netmask(),
            gateway: nic.gateway().filter(|_| nic.nat),
            dns: nic.gateway().filter(|_| nic.dns),
        })
    });
    ConfigDriveSpec {
        instance: plan.instance,
        name: plan.name.clone(),
        namespace: plan.namespace.clone(),
        zone: cluster.zone.clone(),
        ssh_key: plan.ssh_key.clone(),
        user_data: plan.user_data.clone(),
        random_seed,
        interfaces: interfaces.collect(),
        dns_servers: cluster.dns_server.clone(),
    }
}
