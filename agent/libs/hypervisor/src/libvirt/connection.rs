//! One connection to libvirt, made again whenever it breaks.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{broadcast, mpsc, watch};
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
    state: watch::Sender<State>,
    events: broadcast::Sender<HypervisorEvent>,
    raw_sender: mpsc::UnboundedSender<RawEvent>,
    raw_receiver: Mutex<Option<mpsc::UnboundedReceiver<RawEvent>>>,
}

/// Where the connection stands.
enum State {
    /// The first attempt is under way.
    Opening,
    /// It is there.
    Open(Arc<Guarded>),
    /// There is none, for this reason.
    Closed(String),
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
            state: watch::Sender::new(State::Opening),
            events: broadcast::channel(EVENT_BACKLOG).0,
            raw_sender,
            raw_receiver: Mutex::new(Some(raw_receiver)),
        }
    }

    pub(super) fn connected(&self) -> bool {
        matches!(&*self.state.borrow(), State::Open(_)) && !self.pool.wedged()
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
        let connection = self.connection(deadline).await?;
        let outcome = self.pool.call(name, deadline, move || {
            let raw = connection.0.as_ref()?;
            // Whether the connection still lives is asked on the same thread: the answer decides what the error means.
            Some(work(raw).map_err(|error| (error, raw.is_alive().unwrap_or(false))))
        });
        match outcome.await?.ok_or_else(|| self.disconnected("it is being closed"))? {
            Ok(value) => Ok(value),
            Err((error, alive)) => {
                let code = error.code();
                metrics::counter!("sf_libvirt_call_errors_total", "call" => name, "code" => code.to_string())
                    .increment(1);
                Err(match (alive, code) {
                    (false, _) => self.disconnected(error.message()),
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

    /// The present connection. A daemon that has just started gets the outcome of the first attempt: libvirt may itself be
    /// started by that attempt.
    async fn connection(&self, patience: Duration) -> Result<Arc<Guarded>, HypervisorError> {
        let mut state = self.state.subscribe();
        let ended = state.wait_for(|state| !matches!(state, State::Opening));
        // Whether it ended in time, the state tells.
        let _ = tokio::time::timeout(patience, ended).await;
        match &*self.state.borrow() {
            State::Open(connection) => Ok(connection.clone()),
            State::Closed(cause) => Err(self.disconnected(cause)),
            State::Opening => Err(self.disconnected("it is still being opened")),
        }
    }

    fn disconnected(&self, cause: &str) -> HypervisorError {
        HypervisorError::Disconnected { uri: self.uri.clone(), cause: cause.to_owned() }
    }

    /// There is no connection any more, or still none. Said once for each cause.
    fn close(&self, cause: String) {
        if !matches!(&*self.state.borrow(), State::Closed(known) if *known == cause) {
            tracing::warn!(uri = %self.uri, cause, "no connection to libvirt, tried again until there is one");
        }
        self.state.send_replace(State::Closed(cause));
    }

    async fn open(&self, generation: u64) -> Result<Connect, String> {
        let uri = self.uri.clone();
        let sink = EventSink { generation, sender: self.raw_sender.clone() };
        let opened = self.pool.call("open", OPEN_DEADLINE, move || {
            let connection = Connect::open(Some(&uri))?;
            register_callbacks(&connection, &sink)?;
            // Drivers inside this process have no connection to keep alive.
            let _ = connection.set_keep_alive(KEEP_ALIVE.0, KEEP_ALIVE.1);
            Ok::<_, virt::error::Error>(connection)
        });
        opened.await.map_err(|error| error.to_string())?.map_err(|error| error.message().to_owned())
    }

    fn announce(&self, event: HypervisorEvent) {
        // Nobody listening is fine.
        let _ = self.events.send(event);
    }
}

/// Keeps a connection open for ever and forwards its events. Ends only by being aborted.
pub(super) async fn keep(link: Arc<Link>) {
    let Some(mut raw) = link.raw_receiver.lock().take() else { return };
    // Told before the first attempt, so that a host that never connects is seen.
    metrics::gauge!("sf_libvirt_connected").set(0.0);
    let mut retry = FIRST_RETRY;
    for generation in 1.. {
        match link.open(generation).await {
            Ok(connection) => {
                retry = FIRST_RETRY;
                link.state.send_replace(State::Open(Arc::new(Guarded(Some(connection)))));
                tracing::info!(uri = %link.uri, "connected to libvirt");
                metrics::gauge!("sf_libvirt_connected").set(1.0);
                link.announce(HypervisorEvent::Connected);
                forward(&link, generation, &mut raw).await;
                metrics::gauge!("sf_libvirt_connected").set(0.0);
                link.close("the connection was lost".to_owned());
                link.announce(HypervisorEvent::Disconnected);
            }
            Err(cause) => {
                link.close(cause);
                retry = (retry * 2).min(LAST_RETRY);
            }
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
