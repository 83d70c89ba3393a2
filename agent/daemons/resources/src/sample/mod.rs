//! One reading of what the node has (`scheduler.md` §2.2).
//!
//! Each collector fills in what it can. One that fails is counted and leaves its figures out; it never spoils the others.

mod counters;
mod cpu;
mod disks;
mod guests;
mod memory;
mod patient;
mod processes;

use std::sync::Arc;

use serde_json::{Map, Value};
use sf_config::NodeConfig;
use sf_hypervisor::libvirt::Libvirt;
use sf_protos::nodes::{NodeMetrics, ProcessMetric};

use counters::Counters;
use disks::Disks;
use guests::Guests;
use processes::ProcessTimes;

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
    guests: Option<Guests>,
    disks: Disks,
    counters: Counters,
    processes: ProcessTimes,
}

impl Sampler {
    pub(crate) fn new(config: Arc<NodeConfig>, hypervisor: Option<Arc<Libvirt>>) -> Self {
        Self {
            disks: Disks::new(&config),
            config,
            guests: hypervisor.map(Guests::new),
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
        if let Some(guests) = &mut self.guests {
            collector("hypervisor", guests.collect(&mut sample).await);
        }
        collector("processes", self.processes.collect(&mut sample));
        sample
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
