//! Daemons of the nodes: where they are and connections to them.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::Utc;
use http::StatusCode;
use parking_lot::Mutex;
use sf_blobs::client::{DataPlane, Peer, PeerError};
use sf_blobs::token::TransferKeys;
use sf_gateway::{CallClass, Caller};
use sf_model::NodeId;
use sf_protos::nodes::GetNodeRequest;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Channel, Endpoint};

use crate::api::Api;
use crate::error::ApiError;

const CONNECT: Duration = Duration::from_secs(3);
/// How long an address is believed without asking again.
const ADDRESS_AGE: Duration = Duration::from_secs(60);

/// A connection to a service of a node, on which every call says who makes it.
pub type NodeChannel = InterceptedService<Channel, Caller>;

/// What is known of other nodes.
#[derive(Default)]
pub struct Nodes {
    places: Mutex<HashMap<String, (Place, Instant)>>,
    channels: Mutex<HashMap<SocketAddr, Channel>>,
    data_plane: Mutex<Option<DataPlane>>,
}

/// A node as other daemons reach it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Its name, for messages.
    pub name: String,
    /// Its address on the mesh.
    pub address: IpAddr,
}

impl Nodes {
    /// Nothing is known yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Where a node is.
    ///
    /// # Errors
    /// 503 when nobody knows.
    pub async fn place(&self, api: &Api, node: &str) -> Result<Place, ApiError> {
        let known = self.places.lock().get(node).cloned();
        if let Some((place, at)) = known
            && at.elapsed() < ADDRESS_AGE
        {
            return Ok(place);
        }
        let reply = api.tier(CallClass::Interactive, GetNodeRequest { reference: node.to_owned() }).await?;
        let found = reply.node.unwrap_or_default();
        let address = found.mesh_ip.parse().map_err(|_| no_answer(&found.name))?;
        let place = Place { name: found.name, address };
        self.places.lock().insert(node.to_owned(), (place.clone(), Instant::now()));
        Ok(place)
    }

    /// A connection to a service of a node; it connects when it is used.
    ///
    /// # Errors
    /// 503 when there cannot be one.
    pub fn channel(&self, api: &Api, place: &Place, port: u16) -> Result<NodeChannel, ApiError> {
        let caller = api.daemon.gateway.caller().clone();
        let address = SocketAddr::new(place.address, port);
        let mut channels = self.channels.lock();
        if let Some(channel) = channels.get(&address) {
            return Ok(InterceptedService::new(channel.clone(), caller));
        }
        let endpoint =
            Endpoint::from_shared(format!("http://{address}")).map_err(|_| no_answer(&place.name))?;
        let channel = endpoint.connect_timeout(CONNECT).tcp_nodelay(true).connect_lazy();
        channels.insert(address, channel.clone());
        Ok(InterceptedService::new(channel, caller))
    }

    /// The client of storage services, with the keys of now.
    ///
    /// # Errors
    /// 500 when no client can be made.
    pub fn data_plane(&self, api: &Api) -> Result<DataPlane, ApiError> {
        let secrets = api.daemon.cluster.current().transfer_secrets(Utc::now());
        let keys = Arc::new(TransferKeys::from_secrets(&secrets));
        let mut kept = self.data_plane.lock();
        if let Some(plane) = kept.as_ref() {
            return Ok(plane.with_keys(keys));
        }
        let plane = DataPlane::new(keys, api.daemon.node.uuid).map_err(|error| {
            tracing::error!(%error, "no client for storage services");
            ApiError::internal()
        })?;
        *kept = Some(plane.clone());
        Ok(plane)
    }
}

/// A storage service by node and address.
///
/// # Errors
/// 503 for a node whose identity or address cannot be read.
pub fn peer(api: &Api, node_uuid: &str, node_name: &str, mesh_ip: &str) -> Result<Peer, ApiError> {
    let node: NodeId = node_uuid.parse().map_err(|_| no_answer(node_name))?;
    let address: IpAddr = mesh_ip.parse().map_err(|_| no_answer(node_name))?;
    Ok(Peer { node, address: SocketAddr::new(address, api.daemon.config.transfers_port) })
}

/// What a client is told when a node does not answer.
pub fn no_answer(node_name: &str) -> ApiError {
    ApiError::unavailable(format!("node {node_name} did not answer, please retry"), 1)
}

/// What a client is told when a daemon of a node refuses.
pub fn refused(status: &tonic::Status, node_name: &str) -> ApiError {
    match status.code() {
        tonic::Code::NotFound => ApiError::conflict("the node does not have this object any more"),
        tonic::Code::InvalidArgument => ApiError::malformed(status.message()),
        tonic::Code::FailedPrecondition => ApiError::conflict(status.message()),
        tonic::Code::Internal => {
            tracing::error!(node = node_name, message = status.message(), "a node's daemon failed inside");
            ApiError::internal()
        }
        tonic::Code::PermissionDenied | tonic::Code::Unauthenticated => {
            let message = status.message();
            tracing::error!(node = node_name, message, "a node's daemon does not let this API in");
            no_answer(node_name)
        }
        _ => no_answer(node_name),
    }
}

/// What a client is told when a storage service fails or refuses; `what` is the kind of object that was asked for.
pub fn storage_error(error: &PeerError, what: &str, node_name: &str) -> ApiError {
    let PeerError::Refused { status, refusal, retry_after } = error else {
        tracing::info!(node = node_name, %error, "a storage service could not be used");
        return no_answer(node_name);
    };
    let passed_on = [
        StatusCode::BAD_REQUEST,
        StatusCode::CONFLICT,
        StatusCode::PAYLOAD_TOO_LARGE,
        StatusCode::INSUFFICIENT_STORAGE,
    ];
    let answer = match (*status, refusal.code.as_str()) {
        (status, _) if passed_on.contains(&status) => ApiError::new(status, refusal.error.clone()),
        (StatusCode::NOT_FOUND, _) => ApiError::not_found(what),
        (StatusCode::FORBIDDEN, "refused") => ApiError::forbidden(refusal.error.clone()),
        // The two services know different keys or nodes at the moment; both refresh what they know by themselves.
        (StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN, code) => {
            tracing::warn!(node = node_name, code, %error, "a storage service does not accept this node's token");
            no_answer(node_name)
        }
        (StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE, _) => {
            ApiError::unavailable(refusal.error.clone(), retry_after.unwrap_or(1))
        }
        _ => {
            tracing::error!(node = node_name, %error, "a storage service refused a request of ours");
            ApiError::internal()
        }
    };
    let answer = answer.code(&refusal.code);
    match refusal.size {
        Some(size) => answer.with("size", size),
        None => answer,
    }
}

#[cfg(test)]
mod tests {
    use sf_blobs::wire::Refusal;

    use super::*;

    #[test]
    fn what_a_storage_service_says() {
        for (status, code, answer) in [
            (400, "unsafe_image", 400),
            (401, "bad_token", 503),
            (403, "foreign_peer", 503),
            (403, "refused", 403),
            (404, "not_here", 404),
            (409, "offset_mismatch", 409),
            (413, "too_large", 413),
            (429, "busy", 503),
            (500, "storage_failed", 500),
            (503, "unavailable", 503),
            (507, "insufficient_space", 507),
        ] {
            let refusal = Refusal { error: "why".into(), code: code.into(), size: None };
            let status = StatusCode::from_u16(status).unwrap();
            let error = PeerError::Refused { status, refusal, retry_after: None };
            let told = storage_error(&error, "upload", "n1");
            assert_eq!(told.status().as_u16(), answer, "{status} {code}");
        }
    }
}
