//! One reading of what the node has (`scheduler.md` §2.2).
//!
//! Each collector fills in what it can. One that fails is counted and leaves its figures out; it never spoils the others.

mod counters;
mod cpu;
mod disks;
mod memory;
mod patient;
mod processes;

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value};
use sf_config::NodeConfig;
use sf_hypervisor::Hypervisor;
use sf_hypervisor::domain::Accelerator;
use sf_hypervisor::libvirt::Libvirt;
use sf_protos::nodes::{NodeMetrics, ProcessMetric};

use counters::Counters;
use disks::Disks;
use processes::ProcessTimes;

/// Time for libvirt to answer. One that has just started looks at its emulators first, and what the node can hold must not
/// wait for that.
const PATIENCE: Duration = Duration::from_secs(2);
/// Limit of libvirt for a guest when it cannot be asked.
const UNKNOWN_MAX_VCPUS: u32 = 255;

/// One reading.
pub(crate) struct Sample {
    typed: NodeMetrics,
    flat: Map<String, Value>,
    processes: Vec<ProcessMetric>,
    disks_measured: bool,
}

impl Sample {
    /// The reading as a check-in carries it: typed figures, and the whole map beside them. `None` when the disks did not
    /// answer: the limits of the node would be computed without them, so the last ones stay until they are too old.
    pub(crate) fn to_wire(&self) -> Option<NodeMetrics> {
        let extra_json = Value::Object(self.flat.clone()).to_string();
        self.disks_measured.then(|| NodeMetrics { extra_json, ..self.typed.clone() })
    }

    /// Every figure by its contract name.
    pub(crate) fn flat(&self) -> &Map<String, Value> {
        &self.flat
    }

    /// Processor use of the node's own daemons.
    pub(crate) fn processes(&self) -> Vec<ProcessMetric> {
        self.processes.clone()
    }

    fn put(&mut self, name: &str, value: impl Into<Value>) {
        self.flat.insert(name.to_owned(), value.into());
    }
}

/// Takes readings and remembers counters between them.
pub(crate) struct Sampler {
    config: Arc<NodeConfig>,
    hypervisor: Option<Arc<Libvirt>>,
    disks: Disks,
    counters: Counters,
    processes: ProcessTimes,
}

impl Sampler {
    pub(crate) fn new(config: Arc<NodeConfig>, hypervisor: Option<Arc<Libvirt>>) -> Self {
        Self {
            disks: Disks::new(&config),
            config,
            hypervisor,
            counters: Counters::default(),
            processes: ProcessTimes::default(),
        }
    }

    /// Reads everything.
    pub(crate) async fn take(&mut self) -> Sample {
        let mut sample = Sample {
            typed: NodeMetrics::default(),
            flat: Map::new(),
            processes: Vec::new(),
            disks_measured: false,
        };
        sample.put("is_hypervisor", self.config.node_is_hypervisor);
        sample.put("is_network_node", self.config.carrier_eligible);
        collector("cpu", cpu::collect(&self.config, &mut sample));
        collector("memory", memory::collect(&self.config, &mut sample));
        collector("disks", self.disks.collect(&mut sample).await);
        collector("counters", self.counters.collect(&mut sample));
        let asked = tokio::time::timeout(PATIENCE, self.ask_hypervisor(&mut sample)).await;
        collector("hypervisor", asked.unwrap_or_else(|_| Err("libvirt did not answer in time".to_owned())));
        collector("processes", self.processes.collect(&mut sample));
        sample
    }

    async fn ask_hypervisor(&self, sample: &mut Sample) -> Result<(), String> {
        let Some(hypervisor) = &self.hypervisor else { return Ok(()) };
        sample.typed.cpu_max_per_instance = UNKNOWN_MAX_VCPUS;
        let domains = hypervisor.list().await.map_err(|error| error.to_string())?;
        let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        sample.typed.instances_total = count(domains.len());
        sample.typed.instances_active = count(domains.iter().filter(|domain| domain.active).count());
        sample.put("instances_total", sample.typed.instances_total);
        sample.put("instances_active", sample.typed.instances_active);
        let capabilities =
            hypervisor.capabilities(Accelerator::Qemu).await.map_err(|error| error.to_string())?;
        let most = capabilities.machines.values().map(|machine| machine.max_vcpus).min();
        if let Some(most) = most.filter(|most| *most > 0) {
            sample.typed.cpu_max_per_instance = most;
        }
        sample.put("cpu_max_per_instance", sample.typed.cpu_max_per_instance);
        Ok(())
    }
}

fn collector(name: &'static str, outcome: Result<(), String>) {
    if let Err(error) = outcome {
        metrics::counter!("sf_resources_collector_errors_total", "collector" => name).increment(1);
        tracing::warn!(collector = name, error, "some figures of the node could not be read");
    }
}

/// Reads a small text file of the kernel.
fn read(path: &str) -> Result<String, String> {
    std::fs::read_to_string(path).map_err(|error| format!("{path}: {error}"))
}
