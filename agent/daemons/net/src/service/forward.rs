//! Asking other resolvers, from inside the network's namespace: queries leave by the network's own egress address, and a
//! network without a way out cannot reach outside through the resolver.

use std::io;
use std::net::{IpAddr, SocketAddr, TcpStream, UdpSocket};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use sf_model::NetworkId;
use sf_netstate::dns::{answers, failure, id, relay, set_id};
use sf_protos::net_privexec::SocketKind;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::dns::{read_message, write_message};
use crate::privexec::Privexec;

/// How long one resolver is waited for.
const PATIENCE: Duration = Duration::from_secs(2);
/// Questions asked at a time for one network.
const OUTSTANDING: usize = 100;
const PORT: u16 = 53;

/// The forwarder of one network. Every question has a socket, and so a port, of its own: harder to answer for a stranger.
#[derive(Clone)]
pub(super) struct Forwarder {
    network: NetworkId,
    privexec: Privexec,
    places: Arc<Semaphore>,
}

impl Forwarder {
    pub(super) fn new(network: NetworkId, privexec: Privexec) -> Self {
        Self { network, privexec, places: Arc::new(Semaphore::new(OUTSTANDING)) }
    }

    /// Asks the resolvers in order; the answer for the client, and how it went.
    pub(super) async fn ask(
        &self,
        query: &[u8],
        resolvers: &[IpAddr],
        udp: bool,
    ) -> (Option<Vec<u8>>, &'static str) {
        let Ok(_place) = self.places.try_acquire() else { return (failure(query), "overloaded") };
        for resolver in resolvers {
            let target = SocketAddr::new(*resolver, PORT);
            match timeout(PATIENCE, self.ask_one(query, target, udp)).await {
                Ok(Ok(answer)) => return (relay(query, answer, udp), "forwarded"),
                Ok(Err(error)) => {
                    tracing::debug!(network = %self.network, %resolver, %error, "a resolver failed")
                }
                Err(_) => tracing::debug!(network = %self.network, %resolver, "a resolver did not answer"),
            }
        }
        (failure(query), "servfail")
    }

    async fn ask_one(&self, query: &[u8], target: SocketAddr, udp: bool) -> io::Result<Vec<u8>> {
        let own_id = id(query).unwrap_or(0);
        let mut question = query.to_vec();
        let asked_id: u16 = rand::random();
        set_id(&mut question, asked_id);
        let mut answer = if udp {
            self.datagram(&question, target).await?
        } else {
            self.stream(&question, target).await?
        };
        set_id(&mut answer, own_id);
        Ok(answer)
    }

    async fn datagram(&self, question: &[u8], target: SocketAddr) -> io::Result<Vec<u8>> {
        let socket = UdpSocket::from(self.socket(SocketKind::UdpClient).await?);
        socket.set_nonblocking(true)?;
        let socket = tokio::net::UdpSocket::from_std(socket)?;
        // A connected socket takes nothing from anybody else.
        socket.connect(target).await?;
        socket.send(question).await?;
        let mut buffer = vec![0; 4_096];
        loop {
            let length = socket.recv(&mut buffer).await?;
            let answer = buffer.get(..length).unwrap_or_default();
            if id(answer) == id(question) && answers(question, answer) {
                return Ok(answer.to_vec());
            }
        }
    }

    async fn stream(&self, question: &[u8], target: SocketAddr) -> io::Result<Vec<u8>> {
        let socket = tokio::net::TcpSocket::from_std_stream({
            let stream = TcpStream::from(self.socket(SocketKind::TcpClient).await?);
            stream.set_nonblocking(true)?;
            stream
        });
        let mut stream = socket.connect(target).await?;
        write_message(&mut stream, question).await?;
        let answer = read_message(&mut stream).await?;
        if id(&answer) == id(question) && answers(question, &answer) {
            Ok(answer)
        } else {
            Err(io::Error::new(io::ErrorKind::InvalidData, "the answer belongs to another question"))
        }
    }

    async fn socket(&self, kind: SocketKind) -> io::Result<OwnedFd> {
        self.privexec.client_socket(self.network.to_string(), kind).await.map_err(io::Error::other)
    }
}
