//! The token of a request and the caller it stands for. Nothing is cached: the key's nonce is the revocation handle.

use std::net::IpAddr;

use chrono::Utc;
use http::HeaderMap;
use http::header::AUTHORIZATION;
use sf_gateway::{CallClass, DbError};
use sf_protos::namespaces::{GetPrincipalReply, GetPrincipalRequest};
use subtle::ConstantTimeEq;

use crate::api::Api;
use crate::auth::{Claims, Refusal, Signer};
use crate::caller::Caller;
use crate::error::ApiError;
use crate::routes::Route;

pub(super) async fn authenticate(
    api: &Api,
    headers: &HeaderMap,
    route: &Route,
    source: IpAddr,
) -> Result<Caller, ApiError> {
    // Names are those of a token that we signed.
    let refused = |names: Option<(&str, &str)>, reason: &'static str, detail: &str| {
        let (namespace, key) = names.unwrap_or_default();
        tracing::info!(%source, namespace, key, route = route.path, reason, detail, "credential refused");
        metrics::counter!("sf_auth_denied_total", "reason" => reason).increment(1);
        api.refusals.note(Refusal::Authentication, names.map(|(namespace, _)| namespace), source);
        ApiError::unauthorized()
    };
    let token = bearer(headers).ok_or_else(|| refused(None, "no-token", "no bearer token"))?;
    let cluster = api.daemon.cluster.current();
    let claims = Signer::new(&cluster, Utc::now())
        .verify(token)
        .map_err(|fault| refused(None, "bad-token", &fault.to_string()))?;
    let names = claims.subject().ok_or_else(|| refused(None, "bad-token", "no subject"))?;
    let (namespace, key_name) = names;
    let request = GetPrincipalRequest { namespace: namespace.to_owned(), key_name: key_name.to_owned() };
    let principal = match api.daemon.gateway.call(CallClass::Interactive, request).await {
        Ok(principal) => principal,
        Err(DbError::NotFound { .. }) => return Err(refused(Some(names), "no-key", "no such key")),
        Err(error) => return Err(error.into()),
    };
    if !matches(&claims, &principal) {
        return Err(refused(Some(names), "changed-key", "the key was changed"));
    }
    Ok(Caller {
        namespace: namespace.to_owned(),
        key_name: key_name.to_owned(),
        // A scope this build does not know grants nothing.
        scopes: claims.scopes.iter().filter_map(|scope| scope.parse().ok()).collect(),
        key_expires_at: principal.expires_at.map(|at| at.seconds),
        trusted_by: principal.trusted_by,
    })
}

/// The one token of a request. Several headers, other schemes and empty tokens are none.
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let (value, more) = (values.next()?, values.next());
    if more.is_some() {
        return None;
    }
    let (scheme, token) = value.to_str().ok()?.split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
}

fn matches(claims: &Claims, principal: &GetPrincipalReply) -> bool {
    let same_nonce: bool = claims.nonce.as_bytes().ct_eq(principal.nonce.as_bytes()).into();
    let sorted = |scopes: &[String]| {
        let mut scopes = scopes.to_vec();
        scopes.sort();
        scopes
    };
    same_nonce && sorted(&claims.scopes) == sorted(&principal.scopes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    #[test]
    fn exactly_one_bearer_token() {
        let mut headers = HeaderMap::new();
        assert_eq!(bearer(&headers), None);
        for (value, token) in [
            ("Bearer abc", Some("abc")),
            ("bEaReR abc", Some("abc")),
            ("Basic abc", None),
            ("Bearer ", None),
            ("Bearer", None),
            ("None", None),
        ] {
            headers.insert(AUTHORIZATION, HeaderValue::from_static(value));
            assert_eq!(bearer(&headers), token, "{value}");
        }
        headers.insert(AUTHORIZATION, HeaderValue::from_static("Bearer a"));
        headers.append(AUTHORIZATION, HeaderValue::from_static("Bearer a"));
        assert_eq!(bearer(&headers), None);
    }
}
