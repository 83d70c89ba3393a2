//! One connection to libvirt, made again whenever it breaks.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Mutex, RwLock};
use tokio::sync::{broadcast, mpsc};
use virt::connect::Connect;
use virt::error::ErrorNumber;

use super::events::translate;
use super::pool::Pool;
use crate::api::HypervisorEvent;
use crate::error::HypervisorError;
use crate::ffi::libvirt::{EventSink, RawEvent, RawKind, register_callbacks};

/// Events a slow receiver may lag behind before it must compare everything.
const EVENT_BACKLOG: usize = 4096;
const OPEN_DEADLINE: Duration = Duration::from_secs(10);
const FIRST_RETRY: Duration = Duration::from_millis(200);
const LAST_RETRY: Duration = Duration::from_secs(5);
/// Seconds between keep-alive messages, and how many may stay unanswered.
const KEEP_ALIVE: (i32, u32) = (5, 3);

/// The place where the present connection is found.
pub(super) struct Link {
    uri: String,
    pool: Pool,
    current: RwLock<Option<Arc<Guarded>>>,
    events: broadcast::Sender<HypervisorEvent>,
    raw_sender: mpsc::UnboundedSender<RawEvent>,
    raw_receiver: Mutex<Option<mpsc::UnboundedReceiver<RawEvent>>>,
}

/// A raw connection. The binding closes nothing by itself, closing may block, and it may panic: hence a thread of its
/// own.
struct Guarded(Option<Connect>);

impl Drop for Guarded {
    fn drop(&mut self) {
        let Some(mut connection) = self.0.take() else { return };
        let close = move || {
            let closed = catch_unwind(AssertUnwindSafe(|| connection.close()));
            if !matches!(closed, Ok(Ok(_))) {
                tracing::debug!("closing a libvirt connection failed");
            }
        };
        let _ = std::thread::Builder::new().name("libvirt-close".into()).spawn(close);
    }
}

impl Link {
    pub(super) fn new(uri: String, threads: usize) -> Self {
        let (raw_sender, raw_receiver) = mpsc::unbounded_channel();
        Self {
            uri,
            pool: Pool::new(threads),
            current: RwLock::new(None),
            events: broadcast::channel(EVENT_BACKLOG).0,
            raw_sender,
            raw_receiver: Mutex::new(Some(raw_receiver)),
        }
    }

    pub(super) fn connected(&self) -> bool {
        self.current.read().is_some() && !self.pool.wedged()
    }

    pub(super) fn subscribe(&self) -> broadcast::Receiver<HypervisorEvent> {
        self.events.subscribe()
    }

    pub(super) async fn call<T: Send + 'static>(
        &self,
        name: &'static str,
        deadline: Duration,
        work: impl FnOnce(&Connect) -> Result<T, virt::error::Error> + Send + 'static,
    ) -> Result<T, HypervisorError> {
        let disconnected = || HypervisorError::Disconnected { uri: self.uri.clone() };
        let connection = self.current.read().clone().ok_or_else(disconnected)?;
        let outcome = self.pool.call(name, deadline, move || {
            let raw = connection.0.as_ref()?;
            // Whether the connection still lives is asked on the same thread: the answer decides what the error means.
            Some(work(raw).map_err(|error| (error, raw.is_alive().unwrap_or(false))))
        });
        match outcome.await?.ok_or_else(disconnected)? {
            Ok(value) => Ok(value),
            Err((error, alive)) => {
                let code = error.code();
                metrics::counter!("sf_libvirt_call_errors_total", "call" => name, "code" => code.to_string())
                    .increment(1);
                Err(match (alive, code) {
                    (false, _) => disconnected(),
                    (true, ErrorNumber::NoDomain) => HypervisorError::NoDomain,
                    (true, code) => HypervisorError::Refused {
                        call: name,
                        code: code.to_string(),
                        message: error.message().to_owned(),
                    },
                })
            }
        }
    }

    async fn open(&self, generation: u64) -> Result<Connect, HypervisorError> {
        let uri = self.uri.clone();
        let sink = EventSink { generation, sender: self.raw_sender.clone() };
        let opened = self.pool.call("open", OPEN_DEADLINE, move || {
            let connection = Connect::open(Some(&uri))?;
            register_callbacks(&connection, &sink)?;
            // Drivers inside this process have no connection to keep alive.
            let _ = connection.set_keep_alive(KEEP_ALIVE.0, KEEP_ALIVE.1);
            Ok::<_, virt::error::Error>(connection)
        });
        opened.await?.map_err(|error| {
            tracing::debug!(%error, uri = %self.uri, "libvirt does not answer");
            HypervisorError::Disconnected { uri: self.uri.clone() }
        })
    }

    fn announce(&self, event: HypervisorEvent) {
        // Nobody listening is fine.
        let _ = self.events.send(event);
    }
}

/// Keeps a connection open for ever and forwards its events. Ends only by being aborted.
pub(super) async fn keep(link: Arc<Link>) {
    let Some(mut raw) = link.raw_receiver.lock().take() else { return };
    let mut retry = FIRST_RETRY;
    for generation in 1.. {
        match link.open(generation).await {
            Ok(connection) => {
                retry = FIRST_RETRY;
                *link.current.write() = Some(Arc::new(Guarded(Some(connection))));
                metrics::gauge!("sf_libvirt_connected").set(1.0);
                link.announce(HypervisorEvent::Connected);
                forward(&link, generation, &mut raw).await;
                *link.current.write() = None;
                metrics::gauge!("sf_libvirt_connected").set(0.0);
                tracing::warn!(uri = %link.uri, "lost the connection to libvirt");
                link.announce(HypervisorEvent::Disconnected);
            }
            Err(_) => retry = (retry * 2).min(LAST_RETRY),
        }
        tokio::time::sleep(retry).await;
    }
}

/// Forwards events until this generation's connection is closed. Events of older connections are dropped: a full
/// comparison follows every reconnect.
async fn forward(link: &Link, generation: u64, raw: &mut mpsc::UnboundedReceiver<RawEvent>) {
    while let Some(event) = raw.recv().await {
        if event.generation != generation {
            continue;
        }
        if matches!(event.kind, RawKind::Closed) {
            return;
        }
        if let Some(event) = translate(event) {
            let kind = event_label(&event.kind);
            metrics::counter!("sf_libvirt_events_total", "kind" => kind).increment(1);
            link.announce(HypervisorEvent::Domain(event));
        }
    }
}

fn event_label(kind: &crate::api::DomainEventKind) -> &'static str {
    use crate::api::DomainEventKind as Kind;
    match kind {
        Kind::Defined => "defined",
        Kind::Undefined => "undefined",
        Kind::Started => "started",
        Kind::Resumed => "resumed",
        Kind::Suspended { .. } => "suspended",
        Kind::Stopped(_) => "stopped",
        Kind::PmSuspended => "pm-suspended",
        Kind::Crashed => "crashed",
        Kind::Rebooted => "rebooted",
        Kind::IoError { .. } => "io-error",
    }
}
