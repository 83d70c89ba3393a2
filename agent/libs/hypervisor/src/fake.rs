//! A recording hypervisor for tests of the control plane. It runs no guest; never use it outside tests.

use std::collections::HashMap;
use std::pin::Pin;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use parking_lot::Mutex;
use sf_model::InstanceId;
use sf_model::disk::MachineType;
use tokio::sync::broadcast;

use crate::api::{
    DomainEvent, DomainEventKind, DomainState, DomainStats, DomainSummary, Hypervisor, HypervisorEvent,
    StopDetail,
};
use crate::capabilities::CapabilitySnapshot;
use crate::domain::{Accelerator, DomainIdentity, parse_identity};
use crate::error::HypervisorError;

/// The recording hypervisor.
pub struct FakeHypervisor {
    state: Mutex<State>,
    events: broadcast::Sender<HypervisorEvent>,
    latency: Duration,
}

#[derive(Default)]
struct State {
    domains: HashMap<InstanceId, Domain>,
    calls: Vec<(&'static str, InstanceId)>,
    failures: Vec<(&'static str, HypervisorError)>,
    meanwhile: Option<Meanwhile>,
}

/// Something that happens elsewhere.
type Meanwhile = Pin<Box<dyn Future<Output = ()> + Send>>;

struct Domain {
    document: String,
    state: DomainState,
    running: Option<DomainIdentity>,
}

impl FakeHypervisor {
    /// A hypervisor without domains; every change takes `latency`.
    pub fn new(latency: Duration) -> Self {
        Self { state: Mutex::default(), events: broadcast::channel(4096).0, latency }
    }

    /// Every changing call so far, in order.
    pub fn calls(&self) -> Vec<(&'static str, InstanceId)> {
        self.state.lock().calls.clone()
    }

    /// The next call with this name fails.
    pub fn fail_next(&self, call: &'static str, error: HypervisorError) {
        self.state.lock().failures.push((call, error));
    }

    /// Something happens by itself: the domain takes the state and the event is announced.
    pub fn happen(&self, instance: InstanceId, state: DomainState, kind: DomainEventKind) {
        if let Some(domain) = self.state.lock().domains.get_mut(&instance) {
            domain.set(state);
        }
        self.announce(instance, kind);
    }

    /// Happens during the next listing: the domains have been looked at and the caller does not know of them yet.
    pub fn while_listing(&self, happens: impl Future<Output = ()> + Send + 'static) {
        self.state.lock().meanwhile = Some(Box::pin(happens));
    }

    fn announce(&self, instance: InstanceId, kind: DomainEventKind) {
        let _ = self.events.send(HypervisorEvent::Domain(DomainEvent { instance, kind, at: Instant::now() }));
    }

    /// Records a call, waits, fails if asked to, and applies the change.
    async fn change(
        &self,
        call: &'static str,
        instance: InstanceId,
        apply: impl FnOnce(&mut HashMap<InstanceId, Domain>) -> Result<Option<DomainEventKind>, HypervisorError>
        + Send,
    ) -> Result<(), HypervisorError> {
        tokio::time::sleep(self.latency).await;
        let event = {
            let mut state = self.state.lock();
            state.calls.push((call, instance));
            if let Some(position) = state.failures.iter().position(|(name, _)| *name == call) {
                return Err(state.failures.remove(position).1);
            }
            apply(&mut state.domains)?
        };
        if let Some(kind) = event {
            self.announce(instance, kind);
        }
        Ok(())
    }

    async fn set_state(
        &self,
        call: &'static str,
        instance: InstanceId,
        to: DomainState,
        event: DomainEventKind,
    ) -> Result<(), HypervisorError> {
        self.change(call, instance, |domains| {
            let domain = domains.get_mut(&instance).ok_or(HypervisorError::NoDomain)?;
            let changed = domain.state != to;
            domain.set(to);
            Ok(changed.then_some(event))
        })
        .await
    }
}

impl Domain {
    fn set(&mut self, state: DomainState) {
        self.state = state;
        let active = !matches!(state, DomainState::ShutOff | DomainState::Crashed);
        self.running =
            if active { self.running.take().or_else(|| parse_identity(&self.document)) } else { None };
    }

    fn summary(&self, instance: InstanceId) -> DomainSummary {
        let defined = parse_identity(&self.document);
        DomainSummary {
            instance,
            state: self.state,
            io_error: false,
            active: self.running.is_some(),
            defined_spec: defined.as_ref().map(|identity| identity.spec.clone()),
            identity: self.running.clone().or(defined),
        }
    }
}

#[async_trait]
impl Hypervisor for FakeHypervisor {
    fn connected(&self) -> bool {
        true
    }

    fn events(&self) -> broadcast::Receiver<HypervisorEvent> {
        self.events.subscribe()
    }

    async fn capabilities(&self, accelerator: Accelerator) -> Result<CapabilitySnapshot, HypervisorError> {
        let document = format!(
            "<domainCapabilities><path>/usr/bin/true</path><domain>{}</domain><machine>fake</machine><vcpu max='255'/>\
             <devices><disk><enum name='bus'><value>virtio</value><value>scsi</value><value>sata</value>\
             <value>usb</value></enum></disk><graphics><enum name='type'><value>vnc</value><value>spice</value></enum>\
             </graphics><video><enum name='modelType'><value>cirrus</value><value>vga</value><value>qxl</value>\
             <value>virtio</value></enum></video></devices></domainCapabilities>",
            accelerator.domain_type()
        );
        let mut snapshot = CapabilitySnapshot::default();
        snapshot.add(MachineType::Pc, &document);
        snapshot.add(MachineType::Q35, &document);
        Ok(snapshot)
    }

    async fn list(&self) -> Result<Vec<DomainSummary>, HypervisorError> {
        let (found, meanwhile) = {
            let mut state = self.state.lock();
            let found = state.domains.iter().map(|(instance, domain)| domain.summary(*instance)).collect();
            (found, state.meanwhile.take())
        };
        if let Some(happens) = meanwhile {
            happens.await;
        }
        Ok(found)
    }

    async fn lookup(&self, instance: InstanceId) -> Result<Option<DomainSummary>, HypervisorError> {
        Ok(self.state.lock().domains.get(&instance).map(|domain| domain.summary(instance)))
    }

    async fn define(&self, instance: InstanceId, xml: &str) -> Result<String, HypervisorError> {
        self.change("define", instance, |domains| {
            let domain = domains.entry(instance).or_insert(Domain {
                document: String::new(),
                state: DomainState::ShutOff,
                running: None,
            });
            domain.document = xml.to_owned();
            Ok(Some(DomainEventKind::Defined))
        })
        .await?;
        Ok(xml.to_owned())
    }

    async fn start(&self, instance: InstanceId) -> Result<(), HypervisorError> {
        self.set_state("start", instance, DomainState::Running, DomainEventKind::Started).await
    }

    async fn destroy(&self, instance: InstanceId) -> Result<(), HypervisorError> {
        let stopped = DomainEventKind::Stopped(StopDetail::Destroyed);
        match self.set_state("destroy", instance, DomainState::ShutOff, stopped).await {
            Err(HypervisorError::NoDomain) => Ok(()),
            other => other,
        }
    }

    async fn undefine(&self, instance: InstanceId) -> Result<(), HypervisorError> {
        self.change("undefine", instance, |domains| {
            Ok(domains.remove(&instance).map(|_| DomainEventKind::Undefined))
        })
        .await
    }

    async fn request_reboot(&self, instance: InstanceId) -> Result<(), HypervisorError> {
        self.set_state("reboot", instance, DomainState::Running, DomainEventKind::Rebooted).await
    }

    async fn reset(&self, instance: InstanceId) -> Result<(), HypervisorError> {
        self.set_state("reset", instance, DomainState::Running, DomainEventKind::Rebooted).await
    }

    async fn suspend(&self, instance: InstanceId) -> Result<(), HypervisorError> {
        let suspended = DomainEventKind::Suspended { io_error: false };
        self.set_state("suspend", instance, DomainState::Paused, suspended).await
    }

    async fn resume(&self, instance: InstanceId) -> Result<(), HypervisorError> {
        self.set_state("resume", instance, DomainState::Running, DomainEventKind::Resumed).await
    }

    async fn document(&self, instance: InstanceId) -> Result<Option<String>, HypervisorError> {
        Ok(self.state.lock().domains.get(&instance).map(|domain| domain.document.clone()))
    }

    async fn stats(&self) -> Result<Vec<DomainStats>, HypervisorError> {
        let running = |(instance, domain): (&InstanceId, &Domain)| {
            domain.running.is_some().then(|| DomainStats {
                instance: *instance,
                raw_state: 1,
                cpu_time_ns: 0,
                cpu_user_ns: 0,
                cpu_system_ns: 0,
                disks: Vec::new(),
                interfaces: Vec::new(),
            })
        };
        Ok(self.state.lock().domains.iter().filter_map(running).collect())
    }
}
