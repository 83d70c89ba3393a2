//! The DNS server of one network, over datagrams and streams.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use sf_netstate::dhcp::Limiter;
use sf_netstate::dns::{Decision, Zone, decide};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::Semaphore;

use super::ERROR_PAUSE;
use super::forward::Forwarder;

/// Queries of one source in a second.
const PER_SOURCE: u32 = 200;
/// Queries of a network in a second.
const PER_NETWORK: u32 = 20_000;
/// Streams open at a time.
const MAX_STREAMS: usize = 64;
/// How long a stream may be silent, and how long it may leave an answer unread.
const STREAM_PATIENCE: Duration = Duration::from_secs(10);

/// The server. Cheap to clone.
#[derive(Clone)]
pub(super) struct Server {
    zone: Arc<ArcSwap<Zone>>,
    forwarder: Forwarder,
    limiter: Arc<Mutex<Limiter<IpAddr>>>,
    started: Instant,
}

impl Server {
    pub(super) fn new(zone: Arc<ArcSwap<Zone>>, forwarder: Forwarder) -> Self {
        let limiter = Arc::new(Mutex::new(Limiter::new(PER_SOURCE, PER_NETWORK)));
        Self { zone, forwarder, limiter, started: Instant::now() }
    }

    /// Answers datagrams until the task is ended.
    pub(super) async fn run_udp(self, socket: UdpSocket) {
        let socket = Arc::new(socket);
        let mut buffer = vec![0; 4_096];
        loop {
            let Ok((length, client)) = socket.recv_from(&mut buffer).await else {
                tokio::time::sleep(ERROR_PAUSE).await;
                continue;
            };
            if !self.admits(client) {
                count("limited");
                continue;
            }
            let query = buffer.get(..length).unwrap_or_default();
            match decide(query, &self.zone.load(), true) {
                Decision::Reply(answer, label) => {
                    count(label);
                    let _ = socket.send_to(&answer, client).await;
                }
                Decision::Drop => count("dropped"),
                Decision::Forward => {
                    let (server, socket, query) = (self.clone(), socket.clone(), query.to_vec());
                    tokio::spawn(async move {
                        if let Some(answer) = server.forward(&query, true).await {
                            let _ = socket.send_to(&answer, client).await;
                        }
                    });
                }
            }
        }
    }

    /// Answers streams until the task is ended.
    pub(super) async fn run_tcp(self, listener: TcpListener) {
        let places = Arc::new(Semaphore::new(MAX_STREAMS));
        loop {
            let Ok((stream, client)) = listener.accept().await else {
                tokio::time::sleep(ERROR_PAUSE).await;
                continue;
            };
            let Ok(place) = places.clone().try_acquire_owned() else { continue };
            let server = self.clone();
            tokio::spawn(async move {
                // A client that breaks off is its own business.
                let _ = server.converse(stream, client).await;
                drop(place);
            });
        }
    }

    async fn converse(&self, mut stream: TcpStream, client: SocketAddr) -> std::io::Result<()> {
        loop {
            let query = tokio::time::timeout(STREAM_PATIENCE, read_message(&mut stream)).await??;
            if !self.admits(client) {
                count("limited");
                return Ok(());
            }
            let decision = decide(&query, &self.zone.load(), false);
            let answer = match decision {
                Decision::Reply(answer, label) => {
                    count(label);
                    Some(answer)
                }
                Decision::Drop => return Ok(()),
                Decision::Forward => self.forward(&query, false).await,
            };
            let Some(answer) = answer else { return Ok(()) };
            tokio::time::timeout(STREAM_PATIENCE, write_message(&mut stream, &answer)).await??;
        }
    }

    async fn forward(&self, query: &[u8], udp: bool) -> Option<Vec<u8>> {
        let began = Instant::now();
        let forwarders = self.zone.load().forwarders.clone();
        let (answer, label) = self.forwarder.ask(query, &forwarders, udp).await;
        count(label);
        metrics::histogram!("sf_net_dns_seconds").record(began.elapsed().as_secs_f64());
        answer
    }

    fn admits(&self, client: SocketAddr) -> bool {
        self.limiter.lock().admit(client.ip(), self.started.elapsed().as_secs())
    }
}

/// Reads one message of a stream: its length, then itself.
pub(super) async fn read_message(stream: &mut TcpStream) -> std::io::Result<Vec<u8>> {
    let length = stream.read_u16().await?;
    let mut message = vec![0; usize::from(length)];
    stream.read_exact(&mut message).await?;
    Ok(message)
}

/// Writes one message to a stream.
pub(super) async fn write_message(stream: &mut TcpStream, message: &[u8]) -> std::io::Result<()> {
    let length = u16::try_from(message.len()).map_err(|_| std::io::ErrorKind::InvalidData)?;
    let mut framed = length.to_be_bytes().to_vec();
    framed.extend(message);
    stream.write_all(&framed).await
}

fn count(outcome: &'static str) {
    metrics::counter!("sf_net_dns_queries_total", "outcome" => outcome).increment(1);
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use sf_netstate::intent::Dns;

    use super::*;
    use crate::privexec::Privexec;

    /// Asks for the address of `web`.
    const QUERY: [u8; 21] = [0, 7, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 3, b'w', b'e', b'b', 0, 0, 1, 0, 1];

    fn server(addresses: u8) -> Server {
        let records = (0..addresses).map(|n| ("web".to_owned(), Ipv4Addr::new(10, 0, 0, n))).collect();
        let data =
            Dns { zone: "tenant.shakenfist".into(), records, forwarders: vec![Ipv4Addr::LOCALHOST.into()] };
        let zone = Zone::new("10.0.0.0/24".parse().unwrap(), &data);
        let nowhere = Privexec::new(std::path::Path::new("/nonexistent/net-privexec.sock"));
        let forwarder = Forwarder::new(sf_model::NetworkId::random(), nowhere);
        Server::new(Arc::new(ArcSwap::from_pointee(zone)), forwarder)
    }

    async fn ask(server: Server, query: &[u8]) -> Vec<u8> {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        let running = tokio::spawn(server.run_udp(socket));
        let client = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        client.send_to(query, address).await.unwrap();
        let mut buffer = vec![0; 4_096];
        let length = client.recv(&mut buffer).await.unwrap();
        running.abort();
        buffer.truncate(length);
        buffer
    }

    #[tokio::test]
    async fn datagrams_are_answered_from_the_newest_snapshot() {
        let answer = ask(server(1), &QUERY).await;
        assert_eq!((&answer[..2], answer[7]), (&[0, 7][..], 1), "one answer to query 7");
        let replaced = server(1);
        replaced.zone.store(server(2).zone.load_full());
        assert_eq!(ask(replaced, &QUERY).await[7], 2);
    }

    #[tokio::test]
    async fn what_datagrams_cannot_carry_comes_over_a_stream() {
        let cut = ask(server(100), &QUERY).await;
        assert_eq!(cut[2] & 2, 2, "the answer says that it is cut");
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let running = tokio::spawn(server(100).run_tcp(listener));
        let mut stream = TcpStream::connect(address).await.unwrap();
        for _ in 0..2 {
            write_message(&mut stream, &QUERY).await.unwrap();
            let whole = read_message(&mut stream).await.unwrap();
            assert_eq!((whole[2] & 2, whole[7]), (0, 100));
        }
        running.abort();
    }

    #[tokio::test]
    async fn without_a_resolver_the_client_is_told() {
        let mut query = QUERY.to_vec();
        query.splice(16..17, [3, b'c', b'o', b'm', 0]);
        let answer = ask(server(1), &query).await;
        assert_eq!(answer[3] & 0x0f, 2, "SERVFAIL");
    }
}
