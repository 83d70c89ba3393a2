//! One gateway as a client sees it.

use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, Instant};

use hyper_util::client::legacy::connect::HttpConnector;
use parking_lot::Mutex;
use tonic::transport::{Channel, Endpoint as TonicEndpoint};
use tower::service_fn;

use crate::names::{Look, Lookup, Name};

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
    /// How a connection is made, now and when the name leads elsewhere.
    transport: TonicEndpoint,
    host: Option<Name>,
    channel: Mutex<Channel>,
    state: AtomicU8,
    last_serving: Mutex<Option<Instant>>,
}

impl Endpoint {
    /// No connection is made until the first call.
    pub(crate) fn new(host: &str, port: u16, lookup: Lookup) -> Result<Self, tonic::transport::Error> {
        let transport = transport(host, port)?
            .http2_keep_alive_interval(KEEPALIVE_INTERVAL)
            .keep_alive_timeout(KEEPALIVE_TIMEOUT)
            .keep_alive_while_idle(true);
        let (name, host) = (authority(host, port), Name::new(host, lookup));
        Ok(Self {
            name,
            channel: Mutex::new(connection(&transport, host.as_ref())),
            transport,
            host,
            state: AtomicU8::new(0),
            last_serving: Mutex::new(None),
        })
    }

    /// The present connection.
    pub(crate) fn channel(&self) -> Channel {
        self.channel.lock().clone()
    }

    /// Whether it is known by a name and not by an address.
    pub(crate) fn has_name(&self) -> bool {
        self.host.is_some()
    }

    /// Looks the name up again and begins a new connection when it leads elsewhere. Calls under way end where they are. A
    /// name that cannot be looked up leaves everything as it is.
    pub(crate) async fn follow_name(&self) {
        let Some(host) = &self.host else { return };
        match host.look_again().await {
            Ok(Look::Same) => {}
            Ok(Look::Moved(addresses)) => {
                tracing::info!(endpoint = %self.name, ?addresses, "the gateway's name leads elsewhere now");
                *self.channel.lock() = connection(&self.transport, Some(host));
            }
            Err(error) => {
                tracing::warn!(endpoint = %self.name, %error, "the gateway's name cannot be looked up again");
            }
        }
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

/// A connection that is made when it is used. Names are looked up by our own lookup, so that it is known what the
/// connection was made to.
fn connection(transport: &TonicEndpoint, host: Option<&Name>) -> Channel {
    let Some(host) = host.cloned() else { return transport.connect_lazy() };
    let mut connector = HttpConnector::new_with_resolver(service_fn(move |_| host.clone().resolve()));
    connector.enforce_http(false);
    connector.set_nodelay(true);
    // Shared by all addresses of the name: one that is silent does not keep the next from being tried.
    connector.set_connect_timeout(Some(CONNECT_TIMEOUT));
    transport.connect_with_connector_lazy(connector)
}

/// Connection settings that every use shares.
pub(crate) fn transport(host: &str, port: u16) -> Result<TonicEndpoint, tonic::transport::Error> {
    let endpoint = TonicEndpoint::from_shared(format!("http://{}", authority(host, port)))?;
    Ok(endpoint.connect_timeout(CONNECT_TIMEOUT).tcp_nodelay(true))
}

fn authority(host: &str, port: u16) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::net::IpAddr;
    use std::sync::Arc;

    use futures::FutureExt;
    use tokio::net::TcpListener;
    use tokio_stream::wrappers::TcpListenerStream;
    use tonic_health::ServingStatus;

    use super::*;
    use crate::health::{HealthError, check};

    const LIMIT: Duration = Duration::from_secs(20);

    /// A gateway that says of itself whether it serves.
    async fn serve(address: IpAddr, port: u16, status: ServingStatus) -> u16 {
        let listener = TcpListener::bind((address, port)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (reporter, health) = tonic_health::server::health_reporter();
        reporter.set_service_status("", status).await;
        let server = tonic::transport::Server::builder().add_service(health);
        tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
        port
    }

    #[tokio::test]
    async fn a_connection_follows_the_name_although_the_old_place_answers() {
        let [old, new]: [IpAddr; 2] = [[127, 0, 0, 1].into(), [127, 0, 0, 2].into()];
        let port = serve(old, 0, ServingStatus::Serving).await;
        serve(new, port, ServingStatus::NotServing).await;
        let zone = Arc::new(Mutex::new(Some(vec![old])));
        let lookup: Lookup = {
            let zone = zone.clone();
            Arc::new(move |_| {
                let answer = zone.lock().clone().ok_or_else(|| io::Error::other("no resolver"));
                async move { answer }.boxed()
            })
        };
        let endpoint = Endpoint::new("gateway.example.com", port, lookup).unwrap();
        let at_old = async || check(endpoint.channel(), LIMIT).await.is_ok();
        assert!(at_old().await);
        // Neither an order that changed, nor a name without address, nor a dead resolver is a move.
        for answer in [Some(vec![old, old]), Some(vec![]), None] {
            *zone.lock() = answer;
            endpoint.follow_name().await;
            assert!(at_old().await);
        }
        *zone.lock() = Some(vec![new]);
        assert!(at_old().await, "nobody has looked yet");
        endpoint.follow_name().await;
        let answer = check(endpoint.channel(), LIMIT).await;
        assert!(matches!(answer, Err(HealthError::NotServing)), "{answer:?}");
    }

    #[test]
    fn an_address_is_no_name() {
        for (host, name) in [("10.0.0.1", "10.0.0.1:13005"), ("fd00::1", "[fd00::1]:13005")] {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            let endpoint =
                runtime.block_on(async { Endpoint::new(host, 13005, crate::names::system()) }).unwrap();
            assert_eq!((endpoint.has_name(), endpoint.name.as_str()), (false, name));
        }
    }
}
