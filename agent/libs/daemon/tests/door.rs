//! The door of a node service, over real gRPC. The database does not answer, so nobody but the host itself is known.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may fail loudly")]

use std::net::{IpAddr, SocketAddr};

use sf_daemon::{Door, PeerIdentity, Peers};
use sf_gateway::{Caller, Gateway, GatewayOptions};
use sf_model::NodeId;
use sf_protos::net_node::net_node_client::NetNodeClient;
use sf_protos::net_node::net_node_server::{NetNode, NetNodeServer};
use sf_protos::net_node::{PingReply, PingRequest};
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::transport::{Channel, Endpoint, Server};
use tonic::{Code, Request, Response, Status};

/// Answers who called.
struct Mirror;

#[tonic::async_trait]
impl NetNode for Mirror {
    async fn ping(&self, request: Request<PingRequest>) -> Result<Response<PingReply>, Status> {
        let PeerIdentity { daemon, node } = request.extensions().get::<PeerIdentity>().unwrap().clone();
        let stdout_lines = vec![format!("{daemon} of {node}")];
        Ok(Response::new(PingReply { stdout_lines, ..PingReply::default() }))
    }
}

fn caller(daemon: &str, node: NodeId) -> Caller {
    Caller { daemon: daemon.to_owned(), node: node.to_string(), version: "0".to_owned() }
}

/// A service behind the door of a node with this mesh address.
async fn service(own: NodeId, own_address: IpAddr) -> Channel {
    let endpoints = vec![("127.0.0.1".to_owned(), 1)];
    let gateway = Gateway::new(GatewayOptions { endpoints, caller: caller("net", own) }).unwrap();
    let door = Door::new(Peers::new(gateway, own, own_address), &["api"]);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address: SocketAddr = listener.local_addr().unwrap();
    let server = Server::builder().layer(door).add_service(NetNodeServer::new(Mirror));
    tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
    Endpoint::from_shared(format!("http://{address}")).unwrap().connect().await.unwrap()
}

async fn call(channel: &Channel, caller: Caller) -> Result<String, Code> {
    let mut client = NetNodeClient::with_interceptor(channel.clone(), caller);
    let reply = client.ping(PingRequest::default()).await.map_err(|status| status.code())?;
    Ok(reply.into_inner().stdout_lines.concat())
}

#[tokio::test]
async fn the_api_of_the_host_itself_is_let_in_and_other_daemons_are_not() {
    let (own, neighbour) = (NodeId::random(), NodeId::random());
    let channel = service(own, [127, 0, 0, 1].into()).await;
    assert_eq!(call(&channel, caller("api", own)).await, Ok(format!("api of {own}")));
    assert_eq!(call(&channel, caller("api", neighbour)).await, Ok(format!("api of {neighbour}")));
    assert_eq!(call(&channel, caller("queues", own)).await, Err(Code::PermissionDenied));
    let mut nameless = NetNodeClient::new(channel);
    assert_eq!(nameless.ping(PingRequest::default()).await.unwrap_err().code(), Code::Unauthenticated);
}

#[tokio::test]
async fn an_address_that_is_not_the_nodes_is_turned_away() {
    let own = NodeId::random();
    let channel = service(own, [10, 0, 0, 1].into()).await;
    assert_eq!(call(&channel, caller("api", own)).await, Ok(format!("api of {own}")), "over loopback");
    assert_eq!(call(&channel, caller("api", NodeId::random())).await, Err(Code::PermissionDenied));
}
