//! The node service: reading calls of `sf-api`.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use parking_lot::Mutex;
use sf_daemon::Door;
use sf_netstate::wire::CallError;
use sf_protos::net_node::net_node_server::{NetNode, NetNodeServer};
use sf_protos::net_node::{PingReply, PingRequest};
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Request, Response, Status};

use crate::error::NetError;
use crate::state::State;

/// Serves until shutdown.
pub(crate) async fn serve(state: State) -> Result<(), NetError> {
    let address: (IpAddr, u16) = (state.context.config.node_mesh_ip, state.context.config.net_rpc_port);
    let failed = |source| NetError::Listen { address: format!("{}:{}", address.0, address.1), source };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let shutdown = state.context.shutdown.clone();
    let door = Door::new(state.peers.clone(), &["api"]);
    tonic::transport::Server::builder()
        .layer(door)
        .add_service(NetNodeServer::new(Service { state, pings: Pings::default() }))
        .serve_with_incoming_shutdown(
            TcpListenerStream::new(listener),
            async move { shutdown.requested().await },
        )
        .await
        .map_err(|error| failed(std::io::Error::other(error)))
}

/// Pings at a time. Each takes a conversation with the privileged helper for as long as nobody answers, and renders need those.
const MOST_PINGS: usize = 8;

struct Service {
    state: State,
    pings: Pings,
}

/// Pings under way: a few in all, and one in each network.
#[derive(Clone, Default)]
struct Pings(Arc<Mutex<BTreeSet<String>>>);

/// A ping's place. It is free again when this is dropped.
struct Place {
    pings: Pings,
    network: String,
}

impl Pings {
    fn enter(&self, network: &str) -> Option<Place> {
        let mut networks = self.0.lock();
        let admitted = networks.len() < MOST_PINGS && networks.insert(network.to_owned());
        admitted.then(|| Place { pings: self.clone(), network: network.to_owned() })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.pings.0.lock().remove(&self.network);
    }
}

#[tonic::async_trait]
impl NetNode for Service {
    async fn ping(&self, request: Request<PingRequest>) -> Result<Response<PingReply>, Status> {
        let PingRequest { network_uuid, address } = request.into_inner();
        if address.parse::<Ipv4Addr>().is_err() {
            return Err(Status::invalid_argument(format!("{address:?} is not an IPv4 address")));
        }
        let Some(place) = self.pings.enter(&network_uuid) else {
            return Err(Status::unavailable("too many pings are under way, please retry"));
        };
        match self.state.privexec.ping(network_uuid, address, place).await {
            Ok(reply) => {
                let (stdout_lines, stderr_lines) = (reply.stdout_lines, reply.stderr_lines);
                Ok(Response::new(PingReply { stdout_lines, stderr_lines }))
            }
            Err(CallError::Refused(failure)) if failure.code == "network.invalid_intent" => {
                Err(Status::not_found(failure.message))
            }
            Err(error) => Err(Status::unavailable(error.to_string())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_ping_in_a_network_and_a_few_in_all() {
        let pings = Pings::default();
        let first = pings.enter("a").unwrap();
        assert!(pings.enter("a").is_none());
        let rest: Vec<_> = (1..MOST_PINGS).map(|number| pings.enter(&number.to_string()).unwrap()).collect();
        assert!(pings.enter("b").is_none());
        drop(first);
        assert!(pings.enter("b").is_some());
        drop(rest);
        assert!(pings.0.lock().is_empty());
    }
}
