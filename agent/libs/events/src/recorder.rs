//! What code that records events holds.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use sf_protos::events as pb;

use crate::decode::encode;
use crate::event::Event;
use crate::spool::{Append, DropReason, Spool};

/// How long recording may hold up its caller.
const STALL: Duration = Duration::from_secs(2);

/// What became of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Recorded {
    /// Kept until the database tier has it.
    Stored,
    /// Lost, and counted. The caller goes on regardless.
    Dropped(DropReason),
}

/// Records the events of one daemon. Cheap to clone.
#[derive(Clone)]
pub struct Recorder {
    spool: Spool,
    fqdn: Arc<str>,
    daemon: Arc<str>,
    echo: Arc<AtomicBool>,
}

impl Recorder {
    /// A recorder of `daemon` (`sf-api`, …) on the node named `fqdn`.
    pub fn new(spool: Spool, fqdn: &str, daemon: &str) -> Self {
        Self { spool, fqdn: fqdn.into(), daemon: daemon.into(), echo: Arc::new(AtomicBool::new(true)) }
    }

    /// A recorder of another daemon of the same process.
    pub fn for_daemon(&self, daemon: &str) -> Self {
        Self { daemon: daemon.into(), ..self.clone() }
    }

    /// Turns the log line of each event on or off. The record is not touched.
    pub fn set_echo(&self, on: bool) {
        self.echo.store(on, Ordering::Relaxed);
    }

    /// Records an event. Resolves when it is committed: it survives the end of this process, and a power loss but for
    /// the last 200 ms.
    pub async fn record(&self, event: Event) -> Recorded {
        self.wait_for(event, false).await
    }

    /// As [`Recorder::record`], and resolves only when the event survives a power loss. For records that must precede
    /// an act that cannot be undone.
    pub async fn record_durable(&self, event: Event) -> Recorded {
        self.wait_for(event, true).await
    }

    /// Records without waiting for anything; for code that is not asynchronous or must not be held up.
    pub fn record_detached(&self, event: Event) {
        let append = self.append(&event, false);
        self.spool.append_detached(append);
    }

    /// The event as it would be recorded, for mutations that carry their events themselves
    /// (`MutationContext.events`). It may be recorded as well: it is stored once.
    pub fn stamp(&self, event: &Event) -> pb::Event {
        event.stamp(&self.fqdn, &self.daemon)
    }

    /// Events recorded and not yet in the database tier.
    pub fn depth(&self) -> u64 {
        self.spool.depth()
    }

    async fn wait_for(&self, event: Event, durable: bool) -> Recorded {
        let append = self.append(&event, durable);
        match tokio::time::timeout(STALL, self.spool.append(append)).await {
            Ok(outcome) => outcome,
            Err(_) => {
                self.spool.count_drop(DropReason::Stalled);
                Recorded::Dropped(DropReason::Stalled)
            }
        }
    }

    fn append(&self, event: &Event, durable: bool) -> Append {
        if self.echo.load(Ordering::Relaxed) && !event.quiet {
            self.echo(event);
        }
        Append {
            payload: encode(&self.stamp(event)),
            keeps_reserve: event.event_type.uses_reserve(),
            durable,
        }
    }

    fn echo(&self, event: &Event) {
        let objects: Vec<String> =
            event.objects.iter().map(|o| format!("{}={}", o.object_type, o.object_id)).collect();
        let objects = objects.join(" ");
        macro_rules! line {
            ($level:ident) => {
                tracing::$level!(
                    event_type = %event.event_type,
                    fqdn = %self.fqdn,
                    duration = event.duration_seconds(),
                    event_message = %event.message,
                    extra = event.extra.as_deref(),
                    "request-id" = event.request_id(),
                    objects,
                    "Added event"
                )
            };
        }
        if event.error { line!(error) } else { line!(info) }
    }
}
