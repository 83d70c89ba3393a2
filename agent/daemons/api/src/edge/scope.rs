//! Whether the key is meant for this kind of request.

use std::net::IpAddr;

use sf_model::access::Scope;

use crate::api::Api;
use crate::auth::Refusal;
use crate::caller::Caller;
use crate::error::ApiError;

const REFUSED: &str = "token is not scoped for this operation";

pub(super) fn check(caller: &Caller, required: Scope) -> Result<(), ApiError> {
    if caller.may(required) {
        return Ok(());
    }
    Err(ApiError::forbidden(REFUSED).with("scope", required.to_string()))
}

/// Counts a refusal for the audit trail. `class`: the key lacks a scope, or the caller may not do this to this target.
pub(super) fn refused(api: &Api, caller: &Caller, source: IpAddr, class: &'static str) {
    metrics::counter!("sf_authz_refusals_total", "class" => class).increment(1);
    api.refusals.note(Refusal::Authorisation, Some(&caller.namespace), source);
}

/// What administrator routes ask for besides the scope of their family.
pub(crate) fn administrator(caller: &Caller) -> Result<(), ApiError> {
    if !caller.is_system() {
        return Err(ApiError::forbidden("only the system namespace may do this"));
    }
    check(caller, Scope::Admin)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn administrators_need_namespace_and_scope() {
        assert!(administrator(&Caller::sample("system", &["*"])).is_ok());
        assert!(administrator(&Caller::sample("system", &["admin", "node.read"])).is_ok());
        let refused = administrator(&Caller::sample("system", &["node.*"])).unwrap_err();
        assert_eq!(refused.body()["error"], REFUSED);
        let refused = administrator(&Caller::sample("t1", &["*", "admin"])).unwrap_err();
        assert_eq!(refused.body()["error"], "only the system namespace may do this");
    }

    #[test]
    fn the_missing_scope_is_named() {
        let refused = check(&Caller::sample("t1", &["blob.read"]), "node.read".parse().unwrap()).unwrap_err();
        assert_eq!((refused.status().as_u16(), &refused.body()["scope"]), (403, &"node.read".into()));
    }
}
