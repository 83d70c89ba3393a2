//! The hypervisor behind libvirt.
//!
//! One connection is kept open and re-made when it breaks; every call runs on a dedicated thread with a deadline;
//! lifecycle events arrive through libvirt's event loop. After a failed call the domain's state is read again and
//! decides, because the drivers disagree about error codes.

mod calls;
mod connection;
mod events;
mod pool;
mod stats;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use sf_model::InstanceId;
use sf_model::disk::MachineType;
use tokio::sync::broadcast;
use virt::connect::Connect;

use crate::api::{DomainStats, DomainSummary, Hypervisor, HypervisorEvent};
use crate::capabilities::{CapabilitySnapshot, virt_type};
use crate::domain::Accelerator;
use crate::error::HypervisorError;
use connection::Link;

const STATE_DEADLINE: Duration = Duration::from_secs(5);
const DEFAULT_DEADLINE: Duration = Duration::from_secs(10);
const DESTROY_DEADLINE: Duration = Duration::from_secs(30);
const START_DEADLINE: Duration = Duration::from_secs(60);
/// Emulated guests take this much longer to start.
const EMULATION_FACTOR: u32 = 5;

/// Settings of the libvirt hypervisor.
#[derive(Debug, Clone)]
pub struct LibvirtConfig {
    /// Connection address, for example `qemu:///system`.
    pub uri: String,
    /// Threads for calls.
    pub threads: usize,
    /// Guests are emulated: starting them may take longer.
    pub emulated: bool,
}

/// What a libvirt that is well needs to answer [`version`], many times over: it may look at its emulators first.
const VERSION_PATIENCE: Duration = Duration::from_secs(60);

/// The version of the libvirt at an address, asked over a connection of its own. Blocks until it answers, a minute at most:
/// a connection that systemd holds open for a libvirt which does not run is never refused.
///
/// # Errors
/// What libvirt says of why it does not answer, or that it says nothing.
pub fn version(uri: &str) -> Result<String, String> {
    let (tell, told) = std::sync::mpsc::channel();
    let uri = uri.to_owned();
    // A call of the library cannot be ended: one that hangs stays behind in its thread.
    std::thread::spawn(move || tell.send(ask_version(&uri)));
    let silent = |_| format!("it did not answer within {} s", VERSION_PATIENCE.as_secs());
    told.recv_timeout(VERSION_PATIENCE).map_err(silent)?
}

fn ask_version(uri: &str) -> Result<String, String> {
    // Otherwise libvirt writes what is returned here to standard error as well.
    virt::error::clear_error_callback();
    let said = |error: virt::error::Error| error.message().to_owned();
    let mut connection = Connect::open_read_only(Some(uri)).map_err(said)?;
    let answer = connection.get_lib_version().map_err(said);
    // The answer is what counts; a connection that cannot be closed is gone.
    let _ = connection.close();
    let number = answer?;
    Ok(format!("{}.{}.{}", number / 1_000_000, number / 1_000 % 1_000, number % 1_000))
}

/// A connection to libvirt that heals itself.
pub struct Libvirt {
    link: Arc<Link>,
    start_deadline: Duration,
    keeper: tokio::task::AbortHandle,
}

impl Libvirt {
    /// Starts connecting in the background. Calls wait for the outcome of the first attempt; as long as attempts fail they
    /// fail with [`HypervisorError::Disconnected`] and the cause.
    /// Must run inside a tokio runtime.
    ///
    /// # Errors
    /// When libvirt's event loop cannot be set up.
    pub fn start(config: LibvirtConfig) -> Result<Self, HypervisorError> {
        events::start_event_loop().map_err(|message| HypervisorError::Refused {
            call: "register event loop",
            code: "event-loop".into(),
            message,
        })?;
        let factor = if config.emulated { EMULATION_FACTOR } else { 1 };
        let link = Arc::new(Link::new(config.uri, config.threads));
        let keeper = tokio::spawn(connection::keep(link.clone())).abort_handle();
        Ok(Self { link, start_deadline: START_DEADLINE * factor, keeper })
    }

    /// Waits until libvirt answers. Cancel-safe.
    pub async fn wait_connected(&self) {
        let mut events = self.events();
        while !self.connected() {
            // Whatever arrived, or was missed, the flag tells.
            let _ = tokio::time::timeout(Duration::from_secs(1), events.recv()).await;
        }
    }

    async fn call<T: Send + 'static>(
        &self,
        name: &'static str,
        deadline: Duration,
        work: impl FnOnce(&Connect) -> Result<T, virt::error::Error> + Send + 'static,
    ) -> Result<T, HypervisorError> {
        self.link.call(name, deadline, work).await
    }

    /// Runs an action; if it fails, the state read afterwards may say that its goal is reached all the same.
    async fn act(
        &self,
        name: &'static str,
        deadline: Duration,
        instance: InstanceId,
        action: calls::Action,
        reached: fn(Option<&DomainSummary>) -> bool,
    ) -> Result<(), HypervisorError> {
        let failed = match self.call(name, deadline, move |connection| action(connection, instance)).await {
            Ok(()) => return Ok(()),
            Err(error) => error,
        };
        match self.lookup(instance).await {
            Ok(summary) if reached(summary.as_ref()) => Ok(()),
            _ => Err(failed),
        }
    }
}

impl Drop for Libvirt {
    fn drop(&mut self) {
        self.keeper.abort();
    }
}

#[async_trait]
impl Hypervisor for Libvirt {
    fn connected(&self) -> bool {
        self.link.connected()
    }

    fn events(&self) -> broadcast::Receiver<HypervisorEvent> {
        self.link.subscribe()
    }

    async fn capabilities(&self, accelerator: Accelerator) -> Result<CapabilitySnapshot, HypervisorError> {
        let mut snapshot = CapabilitySnapshot::default();
        for family in [MachineType::Pc, MachineType::Q35] {
            let document = self.call("domain-capabilities", DEFAULT_DEADLINE, move |connection| {
                calls::capabilities(connection, family, virt_type(accelerator))
            });
            match document.await {
                Ok(document) => snapshot.add(family, &document),
                // A family this QEMU does not have is simply not offered.
                Err(HypervisorError::Refused { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(snapshot)
    }

    async fn list(&self) -> Result<Vec<DomainSummary>, HypervisorError> {
        self.call("list", STATE_DEADLINE, calls::list).await
    }

    async fn lookup(&self, instance: InstanceId) -> Result<Option<DomainSummary>, HypervisorError> {
        let found =
            self.call("state", STATE_DEADLINE, move |connection| calls::lookup(connection, instance)).await;
        match found {
            Ok(summary) => Ok(Some(summary)),
            Err(HypervisorError::NoDomain) => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn define(&self, instance: InstanceId, xml: &str) -> Result<String, HypervisorError> {
        let xml = xml.to_owned();
        self.call("define", DEFAULT_DEADLINE, move |connection| calls::define(connection, instance, &xml))
            .await
    }

    async fn start(&self, instance: InstanceId) -> Result<(), HypervisorError> {
        let running = |summary: Option<&DomainSummary>| summary.is_some_and(|summary| summary.active);
        self.act("start", self.start_deadline, instance, calls::start, running).await
    }

    async fn destroy(&self, instance: InstanceId) -> Result<(), HypervisorError> {
        let stopped = |summary: Option<&DomainSummary>| summary.is_none_or(|summary| !summary.active);
        self.act("destroy", DESTROY_DEADLINE, instance, calls::destroy, stopped).await
    }

    async fn undefine(&self, instance: InstanceId) -> Result<(), HypervisorError> {
        self.act("undefine", DEFAULT_DEADLINE, instance, calls::undefine, |summary| summary.is_none()).await
    }

    async fn request_reboot(&self, instance: InstanceId) -> Result<(), HypervisorError> {
        self.act("reboot", DEFAULT_DEADLINE, instance, calls::request_reboot, |_| false).await
    }

    async fn reset(&self, instance: InstanceId) -> Result<(), HypervisorError> {
        self.act("reset", DEFAULT_DEADLINE, instance, calls::reset, |_| false).await
    }

    async fn suspend(&self, instance: InstanceId) -> Result<(), HypervisorError> {
        self.act("suspend", DEFAULT_DEADLINE, instance, calls::suspend, calls::is_paused).await
    }

    async fn resume(&self, instance: InstanceId) -> Result<(), HypervisorError> {
        self.act("resume", DEFAULT_DEADLINE, instance, calls::resume, calls::is_running).await
    }

    async fn document(&self, instance: InstanceId) -> Result<Option<String>, HypervisorError> {
        let found =
            self.call("document", DEFAULT_DEADLINE, move |connection| calls::document(connection, instance));
        match found.await {
            Ok(document) => Ok(Some(document)),
            Err(HypervisorError::NoDomain) => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn stats(&self) -> Result<Vec<DomainStats>, HypervisorError> {
        let records = self.call("stats", DEFAULT_DEADLINE, crate::ffi::libvirt::all_domain_stats).await?;
        Ok(records.iter().filter_map(stats::counters).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::version;

    #[test]
    fn only_what_answers_has_a_version() {
        let answer = version("test:///default").unwrap();
        assert!(answer.split('.').count() == 3 && !answer.starts_with("0."), "{answer}");
        assert!(
            version("qemu+unix:///system?socket=/nowhere/at/all").unwrap_err().contains("/nowhere/at/all")
        );
    }
}
