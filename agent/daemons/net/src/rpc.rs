//! The node service: reading calls of `sf-api`.

use std::net::{IpAddr, Ipv4Addr};

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
        .add_service(NetNodeServer::new(Service { state }))
        .serve_with_incoming_shutdown(
            TcpListenerStream::new(listener),
            async move { shutdown.requested().await },
        )
        .await
        .map_err(|error| failed(std::io::Error::other(error)))
}

struct Service {
    state: State,
}

#[tonic::async_trait]
impl NetNode for Service {
    async fn ping(&self, request: Request<PingRequest>) -> Result<Response<PingReply>, Status> {
        let PingRequest { network_uuid, address } = request.into_inner();
        if address.parse::<Ipv4Addr>().is_err() {
            return Err(Status::invalid_argument(format!("{address:?} is not an IPv4 address")));
        }
        match self.state.privexec.ping(network_uuid, address).await {
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
