//! libvirt's event loop and the meaning of its event numbers.

use std::sync::OnceLock;
use std::time::Duration;

use sf_model::InstanceId;
use virt_sys as sys;

use crate::api::{DomainEvent, DomainEventKind, DomainState, StopDetail};
use crate::ffi::libvirt::{RawDomain, RawEvent, RawKind};

/// Starts the process-wide event loop once; it must run before the first connection. libvirt knows exactly one loop
/// per process, which is why this is process-wide here too.
pub(super) fn start_event_loop() -> Result<(), String> {
    static STARTED: OnceLock<Result<(), String>> = OnceLock::new();
    STARTED
        .get_or_init(|| {
            virt::error::clear_error_callback();
            virt::event::event_register_default_impl().map_err(|error| error.to_string())?;
            let run = || {
                loop {
                    if let Err(error) = virt::event::event_run_default_impl() {
                        tracing::warn!(%error, "libvirt's event loop failed and goes on");
                        std::thread::sleep(Duration::from_millis(100));
                    }
                }
            };
            let spawned = std::thread::Builder::new().name("libvirt-events".into()).spawn(run);
            spawned.map(drop).map_err(|error| error.to_string())
        })
        .clone()
}

/// The instance a domain stands for, by its name and uuid. Other domains on the host are invisible to the agent.
pub(super) fn instance_of(name: &str, uuid: uuid::Uuid) -> Option<InstanceId> {
    let instance = InstanceId::from_uuid(uuid);
    (name.strip_prefix("sf:")? == instance.to_string()).then_some(instance)
}

/// Translates what a callback copied. `None`: not about an instance, or of no interest.
pub(super) fn translate(raw: RawEvent) -> Option<DomainEvent> {
    let (domain, kind) = match raw.kind {
        RawKind::Closed => return None,
        RawKind::Lifecycle { domain, event, detail } => {
            let kind = lifecycle(u32::try_from(event).ok()?, u32::try_from(detail).ok()?)?;
            (domain, kind)
        }
        RawKind::Reboot { domain } => (domain, DomainEventKind::Rebooted),
        RawKind::IoError { domain, alias, reason } => {
            (domain, DomainEventKind::IoError { device: alias, reason })
        }
    };
    let RawDomain { name, uuid } = domain;
    Some(DomainEvent { instance: instance_of(&name, uuid)?, kind, at: raw.at })
}

fn lifecycle(event: u32, detail: u32) -> Option<DomainEventKind> {
    Some(match event {
        sys::VIR_DOMAIN_EVENT_DEFINED => DomainEventKind::Defined,
        sys::VIR_DOMAIN_EVENT_UNDEFINED => DomainEventKind::Undefined,
        sys::VIR_DOMAIN_EVENT_STARTED => DomainEventKind::Started,
        sys::VIR_DOMAIN_EVENT_SUSPENDED => {
            DomainEventKind::Suspended { io_error: detail == sys::VIR_DOMAIN_EVENT_SUSPENDED_IOERROR }
        }
        sys::VIR_DOMAIN_EVENT_RESUMED => DomainEventKind::Resumed,
        sys::VIR_DOMAIN_EVENT_STOPPED => DomainEventKind::Stopped(match detail {
            sys::VIR_DOMAIN_EVENT_STOPPED_SHUTDOWN => StopDetail::Shutdown,
            sys::VIR_DOMAIN_EVENT_STOPPED_CRASHED | sys::VIR_DOMAIN_EVENT_STOPPED_FAILED => {
                StopDetail::Crashed
            }
            sys::VIR_DOMAIN_EVENT_STOPPED_SAVED | sys::VIR_DOMAIN_EVENT_STOPPED_MIGRATED => StopDetail::Saved,
            _ => StopDetail::Destroyed,
        }),
        sys::VIR_DOMAIN_EVENT_PMSUSPENDED => DomainEventKind::PmSuspended,
        sys::VIR_DOMAIN_EVENT_CRASHED => DomainEventKind::Crashed,
        _ => return None,
    })
}

/// State number of libvirt.
pub(super) fn state(number: u32) -> DomainState {
    match number {
        sys::VIR_DOMAIN_RUNNING => DomainState::Running,
        sys::VIR_DOMAIN_BLOCKED => DomainState::Blocked,
        sys::VIR_DOMAIN_PAUSED => DomainState::Paused,
        sys::VIR_DOMAIN_SHUTDOWN => DomainState::ShuttingDown,
        sys::VIR_DOMAIN_SHUTOFF => DomainState::ShutOff,
        sys::VIR_DOMAIN_CRASHED => DomainState::Crashed,
        sys::VIR_DOMAIN_PMSUSPENDED => DomainState::PmSuspended,
        _ => DomainState::NoState,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_domains_named_like_instances_are_seen() {
        let instance = InstanceId::random();
        assert_eq!(instance_of(&format!("sf:{instance}"), instance.as_uuid()), Some(instance));
        assert_eq!(instance_of("other", instance.as_uuid()), None);
        assert_eq!(instance_of(&format!("sf:{}", InstanceId::random()), instance.as_uuid()), None);
    }

    #[test]
    fn stops_are_told_apart() {
        let stopped = |detail| lifecycle(sys::VIR_DOMAIN_EVENT_STOPPED, detail);
        assert_eq!(stopped(0), Some(DomainEventKind::Stopped(StopDetail::Shutdown)));
        assert_eq!(stopped(1), Some(DomainEventKind::Stopped(StopDetail::Destroyed)));
        assert_eq!(stopped(2), Some(DomainEventKind::Stopped(StopDetail::Crashed)));
        assert_eq!(stopped(5), Some(DomainEventKind::Stopped(StopDetail::Crashed)));
        assert_eq!(lifecycle(3, 2), Some(DomainEventKind::Suspended { io_error: true }));
        assert_eq!(lifecycle(99, 0), None);
    }
}
