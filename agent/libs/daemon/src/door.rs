//! The door of a service that daemons of other nodes call: who calls is established before any handler runs.

use std::convert::Infallible;
use std::net::IpAddr;
use std::pin::Pin;
use std::task::{Context, Poll};

use http::{HeaderMap, Request, Response};
use sf_model::NodeId;
use tonic::Status;
use tonic::body::Body;
use tonic::transport::server::TcpConnectInfo;
use tower::{Layer, Service};

use crate::peers::Peers;

/// Who calls.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerIdentity {
    /// The daemon, without `sf-`.
    pub daemon: String,
    /// The node it runs on.
    pub node: NodeId,
}

/// Lets the named daemons of the cluster's nodes in and nobody else. Handlers find a [`PeerIdentity`] in the extensions of
/// a request.
#[derive(Clone)]
pub struct Door {
    peers: Peers,
    daemons: &'static [&'static str],
}

impl Door {
    /// A door for these daemons.
    pub fn new(peers: Peers, daemons: &'static [&'static str]) -> Self {
        Self { peers, daemons }
    }

    /// What a caller says of itself, if that would let it in, and where it calls from.
    fn hear<B>(&self, request: &Request<B>) -> Result<(PeerIdentity, IpAddr), Status> {
        let identity = claimed(request.headers())?;
        if !self.daemons.contains(&identity.daemon.as_str()) {
            return Err(Status::permission_denied(format!("sf-{} may not call this", identity.daemon)));
        }
        let address = request.extensions().get::<TcpConnectInfo>().and_then(TcpConnectInfo::remote_addr);
        let address = address.ok_or_else(|| Status::unauthenticated("the caller has no address"))?;
        Ok((identity, address.ip()))
    }

    async fn believe(&self, identity: PeerIdentity, address: IpAddr) -> Result<PeerIdentity, Status> {
        if self.peers.speaks_for(address, identity.node).await {
            return Ok(identity);
        }
        tracing::warn!(%address, node = %identity.node, "a caller named a node that is not at its address");
        Err(Status::permission_denied(format!("{address} is not the address of the node it names")))
    }
}

fn claimed(headers: &HeaderMap) -> Result<PeerIdentity, Status> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let missing = || Status::unauthenticated("the caller does not say which daemon of which node it is");
    let node = text("caller-node").and_then(|node| node.parse().ok()).ok_or_else(missing)?;
    let daemon = text("caller-daemon").ok_or_else(missing)?.to_owned();
    Ok(PeerIdentity { daemon, node })
}

impl<S> Layer<S> for Door {
    type Service = Guarded<S>;

    fn layer(&self, inner: S) -> Guarded<S> {
        Guarded { door: self.clone(), inner }
    }
}

/// A service behind a [`Door`].
#[derive(Clone)]
pub struct Guarded<S> {
    door: Door,
    inner: S,
}

impl<S> Service<Request<Body>> for Guarded<S>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        let door = self.door.clone();
        let fresh = self.inner.clone();
        // The service that was polled is the one that is ready.
        let mut inner = std::mem::replace(&mut self.inner, fresh);
        let heard = door.hear(&request);
        Box::pin(async move {
            let believed = match heard {
                Ok((identity, address)) => door.believe(identity, address).await,
                Err(status) => Err(status),
            };
            match believed {
                Ok(identity) => {
                    request.extensions_mut().insert(identity);
                    inner.call(request).await
                }
                Err(status) => Ok(status.into_http()),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_caller_has_to_say_who_it_is() {
        let mut headers = HeaderMap::new();
        assert!(claimed(&headers).is_err());
        headers.insert("caller-daemon", "api".parse().unwrap());
        assert!(claimed(&headers).is_err());
        headers.insert("caller-node", "n1".parse().unwrap());
        assert!(claimed(&headers).is_err(), "a name is not an identity");
        let node = NodeId::random();
        headers.insert("caller-node", node.to_string().parse().unwrap());
        assert_eq!(claimed(&headers).unwrap(), PeerIdentity { daemon: "api".to_owned(), node });
    }
}
