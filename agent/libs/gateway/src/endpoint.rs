//! One gateway as a client sees it.

use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tonic::transport::{Channel, Endpoint as TonicEndpoint};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// A hung gateway is noticed after interval plus timeout, also when nothing is asked.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(5);

/// Whether an endpoint should be chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    /// Healthy, or not known to be otherwise.
    Ready,
    /// Failed lately: only when no other is ready.
    Suspect,
    /// About to end: only when there is no other at all.
    Draining,
}

/// A gateway with its lazily made connection.
pub(crate) struct Endpoint {
    pub(crate) name: String,
    pub(crate) channel: Channel,
    state: AtomicU8,
    last_serving: Mutex<Option<Instant>>,
}

impl Endpoint {
    /// No connection is made until the first call.
    pub(crate) fn new(host: &str, port: u16) -> Result<Self, tonic::transport::Error> {
        let channel = transport(host, port)?
            .http2_keep_alive_interval(KEEPALIVE_INTERVAL)
            .keep_alive_timeout(KEEPALIVE_TIMEOUT)
            .keep_alive_while_idle(true)
            .connect_lazy();
        Ok(Self {
            name: authority(host, port),
            channel,
            state: AtomicU8::new(0),
            last_serving: Mutex::new(None),
        })
    }

    pub(crate) fn state(&self) -> State {
        match self.state.load(Ordering::Relaxed) {
            0 => State::Ready,
            1 => State::Suspect,
            _ => State::Draining,
        }
    }

    pub(crate) fn set_state(&self, state: State) {
        let value = match state {
            State::Ready => 0,
            State::Suspect => 1,
            State::Draining => 2,
        };
        let before = self.state.swap(value, Ordering::Relaxed);
        if before != value {
            tracing::info!(endpoint = %self.name, ?state, "gateway changed state");
        }
        metrics::gauge!("databaseclient_endpoint_ready", "endpoint" => self.name.clone())
            .set(f64::from(u8::from(state == State::Ready)));
    }

    pub(crate) fn served_now(&self) {
        *self.last_serving.lock() = Some(Instant::now());
    }

    /// When the gateway last said that it serves.
    pub(crate) fn last_serving(&self) -> Option<Instant> {
        *self.last_serving.lock()
    }
}

/// Connection settings that every use shares.
pub(crate) fn transport(host: &str, port: u16) -> Result<TonicEndpoint, tonic::transport::Error> {
    let endpoint = TonicEndpoint::from_shared(format!("http://{}", authority(host, port)))?;
    Ok(endpoint.connect_timeout(CONNECT_TIMEOUT).tcp_nodelay(true))
}

fn authority(host: &str, port: u16) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}
