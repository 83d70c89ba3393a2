//! What libvirt says of guests.

use std::sync::Arc;
use std::time::Duration;

use sf_hypervisor::Hypervisor;
use sf_hypervisor::domain::Accelerator;
use sf_hypervisor::libvirt::Libvirt;
use tokio::task::JoinHandle;

use super::Sample;

/// Time for libvirt to answer. One that has just started looks at its emulators first, and what the node can hold must not
/// wait for that.
const PATIENCE: Duration = Duration::from_secs(2);
/// Limit of libvirt for a guest while it is not known.
const UNKNOWN_MAX_VCPUS: u32 = 255;

/// What was said last.
#[derive(Debug, Clone, Copy)]
struct Figures {
    total: u32,
    active: u32,
    max_vcpus: u32,
}

type Answer = Result<Figures, String>;

/// Asks libvirt, and remembers its last answer.
pub(super) struct Guests {
    hypervisor: Arc<Libvirt>,
    /// A question that was not answered in time. It is not put again beside itself, and ends by its own deadline.
    asked: Option<JoinHandle<Answer>>,
    last: Option<Figures>,
}

impl Guests {
    pub(super) fn new(hypervisor: Arc<Libvirt>) -> Self {
        Self { hypervisor, asked: None, last: None }
    }

    /// Fills in what was said now, or else before.
    pub(super) async fn collect(&mut self, sample: &mut Sample) -> Result<(), String> {
        let outcome = self.look().await;
        if let Ok(figures) = &outcome {
            self.last = Some(*figures);
        }
        sample.typed.cpu_max_per_instance = self.last.map_or(UNKNOWN_MAX_VCPUS, |figures| figures.max_vcpus);
        if let Some(Figures { total, active, max_vcpus }) = self.last {
            sample.typed.instances_total = total;
            sample.typed.instances_active = active;
            sample.put("instances_total", total);
            sample.put("instances_active", active);
            sample.put("cpu_max_per_instance", max_vcpus);
        }
        outcome.map(drop)
    }

    async fn look(&mut self) -> Answer {
        let hypervisor = self.hypervisor.clone();
        let asked = self.asked.get_or_insert_with(|| tokio::spawn(async move { ask(&hypervisor).await }));
        let answer = tokio::time::timeout(PATIENCE, &mut *asked).await;
        let answer = answer.map_err(|_| "libvirt did not answer in time".to_owned())?;
        self.asked = None;
        answer.map_err(|error| error.to_string())?
    }
}

async fn ask(hypervisor: &Libvirt) -> Answer {
    let domains = hypervisor.list().await.map_err(|error| error.to_string())?;
    let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    let capabilities = hypervisor.capabilities(Accelerator::Qemu).await.map_err(|error| error.to_string())?;
    let most = capabilities.machines.values().map(|machine| machine.max_vcpus).min();
    Ok(Figures {
        total: count(domains.len()),
        active: count(domains.iter().filter(|domain| domain.active).count()),
        max_vcpus: most.filter(|most| *most > 0).unwrap_or(UNKNOWN_MAX_VCPUS),
    })
}
