//! What other nodes may ask this one about its instances. Nothing here changes a domain.

use std::io::{Read, Seek, SeekFrom};
use std::net::SocketAddr;
use std::sync::Arc;

use sf_daemon::Door;
use sf_hypervisor::domain::graphics_endpoint;
use sf_hypervisor::power::power_of;
use sf_model::InstanceId;
use sf_privileged::{ConsolePart, PrivilegedError};
use sf_protos::instance_node::instance_node_server::{InstanceNode, InstanceNodeServer};
use sf_protos::instance_node::{
    GetDomainReply, GetDomainRequest, GetVdiEndpointReply, GetVdiEndpointRequest, ReadConsoleChunk,
    ReadConsoleRequest, TruncateConsoleReply, TruncateConsoleRequest,
};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tonic::{Request, Response, Status};

use crate::error::QueuesError;
use crate::worker::Worker;

/// Bytes of one piece of a console.
const PIECE: usize = 64 * 1024;
/// Pieces on their way to a slow reader.
const AHEAD: usize = 4;

/// Serves until shutdown.
pub(crate) async fn serve(worker: Arc<Worker>) -> Result<(), QueuesError> {
    let config = &worker.context.config;
    let address = SocketAddr::new(config.node_mesh_ip, config.node_rpc_port);
    let failed =
        |error: &dyn std::fmt::Display| QueuesError::NodeService { address, message: error.to_string() };
    let listener = TcpListener::bind(address).await.map_err(|error| failed(&error))?;
    let shutdown = worker.context.shutdown.clone();
    let door = Door::new(worker.peers.clone(), &["api"]);
    tonic::transport::Server::builder()
        .layer(door)
        .add_service(InstanceNodeServer::new(Service { worker }))
        .serve_with_incoming_shutdown(
            TcpListenerStream::new(listener),
            async move { shutdown.requested().await },
        )
        .await
        .map_err(|error| failed(&error))
}

struct Service {
    worker: Arc<Worker>,
}

#[tonic::async_trait]
impl InstanceNode for Service {
    type ReadConsoleStream = ReceiverStream<Result<ReadConsoleChunk, Status>>;

    async fn read_console(
        &self,
        request: Request<ReadConsoleRequest>,
    ) -> Result<Response<Self::ReadConsoleStream>, Status> {
        let request = request.into_inner();
        let instance = parse(&request.instance_uuid)?;
        let parts = self.worker.privexec.read_console(instance).await.map_err(|error| helper(&error))?;
        let limit = self.worker.context.config.console_log_max_bytes;
        let wanted = request.from_end.unwrap_or(limit).min(limit);
        let (sender, receiver) = mpsc::channel(AHEAD);
        tokio::task::spawn_blocking(move || {
            let send = |piece: Vec<u8>| sender.blocking_send(Ok(ReadConsoleChunk { data: piece })).is_ok();
            if let Err(error) = read_end(parts, wanted, send) {
                let _ = sender
                    .blocking_send(Err(Status::internal(format!("the console log cannot be read: {error}"))));
            }
        });
        Ok(Response::new(ReceiverStream::new(receiver)))
    }

    async fn truncate_console(
        &self,
        request: Request<TruncateConsoleRequest>,
    ) -> Result<Response<TruncateConsoleReply>, Status> {
        let instance = parse(&request.into_inner().instance_uuid)?;
        self.worker.privexec.truncate_console(instance).await.map_err(|error| helper(&error))?;
        Ok(Response::new(TruncateConsoleReply {}))
    }

    async fn get_vdi_endpoint(
        &self,
        request: Request<GetVdiEndpointRequest>,
    ) -> Result<Response<GetVdiEndpointReply>, Status> {
        let instance = parse(&request.into_inner().instance_uuid)?;
        let hypervisor =
            &*self.worker.host().map_err(|_| Status::unimplemented("not a hypervisor"))?.hypervisor;
        let unavailable = |error: sf_hypervisor::HypervisorError| Status::unavailable(error.to_string());
        let powered_off = || Status::failed_precondition("instance is powered off");
        let found = hypervisor.lookup(instance).await.map_err(unavailable)?;
        if !found.is_some_and(|domain| domain.active) {
            return Err(powered_off());
        }
        let document = hypervisor.document(instance).await.map_err(unavailable)?.ok_or_else(powered_off)?;
        let endpoint = graphics_endpoint(&document)
            .ok_or_else(|| Status::failed_precondition("instance has no graphical console"))?;
        let advertised = self.worker.context.config.console_advertised_host.clone();
        Ok(Response::new(GetVdiEndpointReply {
            kind: endpoint.kind,
            host: advertised.unwrap_or(endpoint.listen),
            port: endpoint.port.into(),
            tls_port: endpoint.tls_port.map_or(0, Into::into),
            password: endpoint.ticket.map(|ticket| ticket.expose().clone()).unwrap_or_default(),
            host_subject: String::new(),
        }))
    }

    async fn get_domain(
        &self,
        request: Request<GetDomainRequest>,
    ) -> Result<Response<GetDomainReply>, Status> {
        let instance = parse(&request.into_inner().instance_uuid)?;
        let hypervisor =
            &*self.worker.host().map_err(|_| Status::unimplemented("not a hypervisor"))?.hypervisor;
        let found =
            hypervisor.lookup(instance).await.map_err(|error| Status::unavailable(error.to_string()))?;
        let Some(domain) = found else { return Ok(Response::new(GetDomainReply::default())) };
        let mut reply = GetDomainReply {
            exists: true,
            active: domain.active,
            power_state: power_of(domain.state).as_str().to_owned(),
            ..GetDomainReply::default()
        };
        if let Some(identity) = domain.identity {
            reply.cluster_id = identity.cluster.to_string();
            reply.placement_seq = identity.placement;
            reply.boot_id = identity.boot.to_string();
        }
        Ok(Response::new(reply))
    }
}

/// Reads the last `wanted` bytes of the parts, oldest first, in pieces. `send` answers whether anybody listens.
fn read_end(
    parts: Vec<ConsolePart>,
    wanted: u64,
    mut send: impl FnMut(Vec<u8>) -> bool,
) -> std::io::Result<()> {
    let total: u64 = parts.iter().map(|part| part.size).sum();
    let mut skip = total.saturating_sub(wanted);
    for mut part in parts {
        let skipped = skip.min(part.size);
        skip -= skipped;
        part.file.seek(SeekFrom::Start(skipped))?;
        let mut rest = part.file.take(part.size - skipped);
        loop {
            let mut piece = Vec::with_capacity(PIECE);
            rest.by_ref().take(PIECE as u64).read_to_end(&mut piece)?;
            if piece.is_empty() {
                break;
            }
            if !send(piece) {
                return Ok(());
            }
        }
    }
    Ok(())
}

fn parse(text: &str) -> Result<InstanceId, Status> {
    text.parse().map_err(|_| Status::invalid_argument("not an instance uuid"))
}

fn helper(error: &PrivilegedError) -> Status {
    if error.is_unavailable() {
        Status::unavailable(error.to_string())
    } else {
        Status::internal(error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn part(content: &[u8]) -> ConsolePart {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(content).unwrap();
        ConsolePart { file, size: u64::try_from(content.len()).unwrap() }
    }

    fn read(wanted: u64) -> String {
        let mut text = Vec::new();
        read_end(vec![part(b"old "), part(b"mid "), part(b"new")], wanted, |piece| {
            text.extend(piece);
            true
        })
        .unwrap();
        String::from_utf8(text).unwrap()
    }

    #[test]
    fn the_end_of_a_console_spans_its_parts() {
        assert_eq!(read(u64::MAX), "old mid new");
        assert_eq!(read(5), "d new");
        assert_eq!(read(3), "new");
        assert_eq!(read(0), "");
    }

    #[test]
    fn large_parts_arrive_in_pieces_and_a_reader_may_leave() {
        let big = vec![7u8; PIECE * 2 + 1];
        let mut sizes = Vec::new();
        read_end(vec![part(&big)], u64::MAX, |piece| {
            sizes.push(piece.len());
            true
        })
        .unwrap();
        assert_eq!(sizes, [PIECE, PIECE, 1]);
        let mut pieces = 0;
        read_end(vec![part(&big)], u64::MAX, |_| {
            pieces += 1;
            false
        })
        .unwrap();
        assert_eq!(pieces, 1);
    }
}
