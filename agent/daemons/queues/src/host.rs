//! The hypervisor of this node: how it is chosen, and what it offers.

use std::fs::File;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::RwLock;
use sf_config::{DiskCacheMode as ConfiguredCache, HypervisorDriver, NodeConfig, VirtType};
use sf_hypervisor::capabilities::CapabilitySnapshot;
use sf_hypervisor::domain::{Accelerator, DiskCacheMode};
use sf_hypervisor::libvirt::{Libvirt, LibvirtConfig};
use sf_hypervisor::probe::{ProbeReport, ProbeRequest, VirtPolicy, probe};
use sf_hypervisor::{Hypervisor, HypervisorError};
use sf_runtime::{Loop, Pass};

use crate::error::{QueuesError, Stop};
use crate::worker::Worker;

/// Capabilities change with QEMU upgrades only.
const REFRESH: Duration = Duration::from_secs(300);
/// Until libvirt answered once.
const FIRST_REFRESH: Duration = Duration::from_secs(1);

/// The hypervisor with what is known about it.
pub(crate) struct Host {
    pub(crate) hypervisor: Arc<dyn Hypervisor>,
    pub(crate) accelerator: Option<Accelerator>,
    pub(crate) probe: ProbeReport,
    pub(crate) cache: DiskCacheMode,
    pub(crate) recording: bool,
    capabilities: RwLock<Option<CapabilitySnapshot>>,
}

impl Host {
    pub(crate) async fn start(config: &NodeConfig) -> Result<Self, QueuesError> {
        let recording = config.hypervisor_driver == HypervisorDriver::Fake;
        let report = if recording { emulated() } else { probe_host(config).await };
        let accelerator = report.accelerator();
        if config.hypervisor_virt_type == VirtType::Kvm && accelerator.is_none() {
            return Err(QueuesError::NoAcceleration(report.failure().unwrap_or_default()));
        }
        match (&accelerator, report.failure()) {
            (None, why) => tracing::error!(
                ?why,
                "no acceleration and emulation is not allowed: this node runs no instances"
            ),
            (Some(found), why) => tracing::info!(accelerator = found.domain_type(), ?why, "guests will run"),
        }
        let accelerated = if accelerator == Some(Accelerator::Kvm) { 1.0 } else { 0.0 };
        metrics::gauge!("sf_hypervisor_accelerated").set(accelerated);
        let emulated = accelerator != Some(Accelerator::Kvm);
        Ok(Self {
            hypervisor: driver(config, emulated)?,
            accelerator,
            probe: report,
            cache: cache_mode(config),
            recording,
            capabilities: RwLock::new(None),
        })
    }

    /// Around a hypervisor that a test holds as well.
    #[cfg(test)]
    pub(crate) fn over(hypervisor: Arc<dyn Hypervisor>) -> Self {
        Self {
            hypervisor,
            accelerator: Some(Accelerator::Qemu),
            probe: emulated(),
            cache: DiskCacheMode::Writeback,
            recording: true,
            capabilities: RwLock::new(None),
        }
    }

    /// What guests can be made of; read now if it was not read yet.
    pub(crate) async fn capabilities(&self) -> Result<CapabilitySnapshot, Stop> {
        if let Some(known) = self.capabilities.read().clone() {
            return Ok(known);
        }
        Ok(self.read_capabilities().await?)
    }

    /// How guests run here, or why they cannot.
    pub(crate) fn usable(&self) -> Result<Accelerator, Stop> {
        self.accelerator.ok_or_else(|| {
            let why = self.probe.failure().unwrap_or_else(|| "not probed".into());
            Stop::Placement(format!(
                "capability: acceleration does not work on this node ({why}) and emulation is not allowed"
            ))
        })
    }

    async fn read_capabilities(&self) -> Result<CapabilitySnapshot, HypervisorError> {
        let accelerator = self.accelerator.unwrap_or(Accelerator::Qemu);
        let snapshot = self.hypervisor.capabilities(accelerator).await?;
        *self.capabilities.write() = Some(snapshot.clone());
        Ok(snapshot)
    }
}

/// Keeps the capabilities fresh.
pub(crate) async fn refresh(worker: Arc<Worker>) {
    let (shutdown, liveness) = (worker.context.shutdown.clone(), worker.context.liveness.clone());
    let waiting = worker.clone();
    let interval = move || {
        let known = waiting.host.as_ref().is_some_and(|host| host.capabilities.read().is_some());
        if known { REFRESH } else { FIRST_REFRESH }
    };
    let pass = |_tick| {
        let worker = worker.clone();
        async move {
            match &worker.host {
                Some(host) if host.hypervisor.connected() => {
                    host.read_capabilities().await.map(|_| Pass::Done)
                }
                _ => Ok(Pass::Done),
            }
        }
    };
    Loop::every_with("capabilities", interval)
        .max_silence(Duration::from_secs(60))
        .run(shutdown, liveness, pass)
        .await;
}

async fn probe_host(config: &NodeConfig) -> ProbeReport {
    let request = ProbeRequest {
        policy: match config.hypervisor_virt_type {
            VirtType::Auto => VirtPolicy::Auto,
            VirtType::Kvm => VirtPolicy::Kvm,
            VirtType::Qemu => VirtPolicy::Qemu,
        },
        allow_emulation: config.allow_emulation,
        qemu: PathBuf::from(format!("/usr/bin/qemu-system-{}", std::env::consts::ARCH)),
        cache: cache_file(&config.run_path),
    };
    tokio::task::spawn_blocking(move || probe(&request)).await.unwrap_or_else(|_| emulated_off())
}

fn cache_file(run_path: &Path) -> Option<PathBuf> {
    let directory = run_path.join("queues");
    std::fs::create_dir_all(&directory).ok()?;
    Some(directory.join("virt.json"))
}

fn emulated() -> ProbeReport {
    ProbeReport { virt_type: Some("qemu".into()), levels: Vec::new(), cached: false }
}

fn emulated_off() -> ProbeReport {
    ProbeReport { virt_type: None, ..emulated() }
}

fn driver(config: &NodeConfig, emulated: bool) -> Result<Arc<dyn Hypervisor>, QueuesError> {
    if config.hypervisor_driver == HypervisorDriver::Fake {
        return recording();
    }
    let settings = LibvirtConfig {
        uri: config.libvirt_uri.clone(),
        threads: usize::try_from(config.libvirt_threads).unwrap_or(8),
        emulated,
    };
    Ok(Arc::new(Libvirt::start(settings).map_err(QueuesError::Hypervisor)?))
}

#[cfg(feature = "test-hypervisor")]
fn recording() -> Result<Arc<dyn Hypervisor>, QueuesError> {
    tracing::warn!("the recording hypervisor is in use: no guest will run");
    Ok(Arc::new(sf_hypervisor::fake::FakeHypervisor::new(Duration::ZERO)))
}

#[cfg(not(feature = "test-hypervisor"))]
fn recording() -> Result<Arc<dyn Hypervisor>, QueuesError> {
    Err(QueuesError::FakeDriver)
}

/// The configured cache mode; `auto` depends on whether the store's file system can bypass the page cache.
fn cache_mode(config: &NodeConfig) -> DiskCacheMode {
    match config.disk_cache_mode {
        ConfiguredCache::None => DiskCacheMode::None,
        ConfiguredCache::Writeback => DiskCacheMode::Writeback,
        ConfiguredCache::Writethrough => DiskCacheMode::Writethrough,
        ConfiguredCache::Directsync => DiskCacheMode::Directsync,
        ConfiguredCache::Auto if bypasses_page_cache(&config.storage_path) => DiskCacheMode::None,
        ConfiguredCache::Auto => {
            tracing::warn!(path = %config.storage_path.display(), "the file system has no O_DIRECT: disks use writeback caching");
            DiskCacheMode::Writeback
        }
    }
}

/// Tested on files every store has: this daemon may not write in the instances' directories, and file systems without
/// the ability refuse already at open.
fn bypasses_page_cache(storage_path: &Path) -> bool {
    ["layout", "node_uuid"].into_iter().any(|name| {
        let mut options = File::options();
        options.read(true).custom_flags(nix::fcntl::OFlag::O_DIRECT.bits());
        options.open(storage_path.join(name)).is_ok()
    })
}
