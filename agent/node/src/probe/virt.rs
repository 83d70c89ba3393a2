//! `sf-node probe-virt`: the one implementation of the question whether acceleration works here.

use std::path::PathBuf;

use sf_config::{NodeConfig, VirtType};
use sf_hypervisor::probe::{ProbeReport, ProbeRequest, VirtPolicy, probe};

use crate::answer::{Answer, table};
use crate::failure::Failure;

/// The emulator of this architecture.
pub(super) const QEMU: &str = "/usr/bin/qemu-system-x86_64";

/// Probes with the node's configuration, or with the defaults of a machine that has none yet.
pub(crate) fn run(config: Option<&NodeConfig>, fresh: bool) -> Result<Answer, Failure> {
    let allowed = config.is_some_and(|c| c.allow_emulation);
    let report = probe_host(config, allowed, fresh);
    let usable = report.virt_type.clone().unwrap_or_else(|| "none".to_owned());
    let levels = report.levels.iter().map(|level| {
        let verdict = if level.passed { "passed" } else { "failed" };
        vec![level.level.clone(), verdict.to_owned(), level.detail.clone()]
    });
    let text = format!("guests would run with: {usable}\n{}", table(&["level", "result", "detail"], levels));
    let value = serde_json::to_value(&report).map_err(anyhow::Error::from)?;
    Ok(Answer::new(value, text))
}

/// The report alone.
pub(super) fn probe_host(config: Option<&NodeConfig>, allow_emulation: bool, fresh: bool) -> ProbeReport {
    let policy = match config.map(|c| c.hypervisor_virt_type) {
        Some(VirtType::Kvm) => VirtPolicy::Kvm,
        Some(VirtType::Qemu) => VirtPolicy::Qemu,
        _ => VirtPolicy::Auto,
    };
    probe(&ProbeRequest {
        policy,
        allow_emulation,
        qemu: PathBuf::from(QEMU),
        cache: config.filter(|_| !fresh).map(|c| c.run_path.join("queues/virt.json")),
    })
}
