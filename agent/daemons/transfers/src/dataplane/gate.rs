//! Who may do what: the token of a request, checked without the database.

use std::net::SocketAddr;

use chrono::Utc;
use http::header::AUTHORIZATION;
use http::{HeaderMap, StatusCode};
use sf_blobs::token::{Claims, TokenError, TokenObject, TokenPurpose};
use sf_blobs::wire::AUTH_SCHEME;

use super::refusal::Refused;
use crate::service::Service;

impl Service {
    /// Checks the token of a request for `object`.
    pub(super) async fn authorise(
        &self,
        headers: &HeaderMap,
        peer: SocketAddr,
        object: TokenObject,
        purposes: &[TokenPurpose],
    ) -> Result<Claims, Refused> {
        let token = headers
            .get(AUTHORIZATION)
            .and_then(|value| value.to_str().ok())
            .and_then(|value| value.strip_prefix(AUTH_SCHEME))
            .map(str::trim)
            .ok_or(TokenError::Malformed)?;
        let claims = self.keys().verify(token, self.node(), object, purposes, Utc::now())?;
        // Only holders of the cluster's key get here.
        if !self.peers.speaks_for(peer.ip(), claims.destination).await {
            return Err(Refused::new(
                StatusCode::FORBIDDEN,
                "foreign_peer",
                "the token belongs to another node",
            ));
        }
        Ok(claims)
    }
}
