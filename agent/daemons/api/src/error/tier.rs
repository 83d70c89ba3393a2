//! What the database tier's refusals mean to a client (`database-tier.md` §7.3, `rest-api.md` §1.7).

use std::collections::HashMap;

use http::StatusCode;
use sf_gateway::DbError;
use sf_model::state::{InstanceState, NetworkState, Readiness};

use super::ApiError;

impl From<DbError> for ApiError {
    fn from(error: DbError) -> Self {
        match error {
            DbError::NotFound { object_type, .. } => Self::not_found(kind(&object_type)),
            DbError::Conflict { message, .. } => Self::conflict(message),
            DbError::Precondition { reason, message, detail } => match precondition(&reason, &detail) {
                StatusCode::NOT_FOUND => gone(&reason, message, &detail),
                StatusCode::SERVICE_UNAVAILABLE => Self::unavailable(message, 1),
                status => Self::new(status, message).code(&reason.replace('-', "_")),
            },
            DbError::NoCapacity { message, .. } => Self::no_room(message),
            DbError::Refused { reason, message } if reason == CALLER => {
                tracing::error!(%message, "the database tier refuses a call to this daemon");
                Self::internal()
            }
            DbError::Refused { message, .. } => Self::forbidden(message),
            DbError::DatabaseUnavailable { message } => {
                tracing::info!(%message, "the database tier did not answer");
                Self::unavailable("the database is not reachable, please retry", 1)
            }
            DbError::GatewayTooOld { operation } => {
                tracing::error!(operation, "the database tier does not know a call: upgrade it first");
                Self::internal().with("code", "gateway_too_old").with("operation", operation)
            }
            DbError::Bug { operation, code, message } => {
                tracing::error!(operation, ?code, %message, "a call to the database tier failed inside");
                Self::internal()
            }
        }
    }
}

/// How users call the kinds of objects.
fn kind(object_type: &str) -> &str {
    match object_type {
        "networkinterface" => "interface",
        "clusteroperation" => "cluster operation",
        "namespace_key" => "key name",
        "artifact_version" => "artifact index",
        "" => "object",
        other => other,
    }
}

/// Reason of a refusal that is about this daemon, not about its client.
const CALLER: &str = "caller";

/// The answer for what was there once, or never was.
fn gone(reason: &str, message: String, detail: &HashMap<String, String>) -> ApiError {
    match reason {
        "unknown-image" => {
            let text =
                if message.contains("not found") { message } else { format!("image not found: {message}") };
            ApiError::new(StatusCode::NOT_FOUND, text).code("unknown_image")
        }
        "no-such-index" => ApiError::not_found("artifact index"),
        "blob_deleted" => ApiError::not_found("blob"),
        _ => ApiError::not_found(detail.get("object_type").map_or("object", |object_type| kind(object_type))),
    }
}

/// The status of a failed precondition. A state that will pass is 406, which clients repeat until it has; everything
/// that cannot resolve itself must be something else.
fn precondition(reason: &str, detail: &HashMap<String, String>) -> StatusCode {
    match reason {
        "not-ready" => StatusCode::NOT_ACCEPTABLE,
        "bad-state" => match detail.get("state").map(|state| readiness(state)) {
            Some(Readiness::NotYet) => StatusCode::NOT_ACCEPTABLE,
            Some(Readiness::Gone) => StatusCode::NOT_FOUND,
            _ => StatusCode::CONFLICT,
        },
        "ambiguous-reference"
        | "bad-reference"
        | "bad-address"
        | "bad-interface"
        | "bad-metadata"
        | "bad-netblock"
        | "namespace-in-use"
        | "invalid" => StatusCode::BAD_REQUEST,
        "unknown-image" | "no-such-index" | "blob_deleted" => StatusCode::NOT_FOUND,
        "no-store" => StatusCode::SERVICE_UNAVAILABLE,
        "forbidden" => StatusCode::FORBIDDEN,
        _ => StatusCode::CONFLICT,
    }
}

/// Readiness by the text of a state; the words mean the same for every kind of object.
fn readiness(state: &str) -> Readiness {
    let instance = state.parse::<InstanceState>().map(InstanceState::readiness);
    instance
        .or_else(|_| state.parse::<NetworkState>().map(NetworkState::readiness))
        .unwrap_or(Readiness::Never)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failed(reason: &str, state: Option<&str>) -> u16 {
        let detail = state.map(|state| ("state".to_owned(), state.to_owned())).into_iter().collect();
        let error = DbError::Precondition { reason: reason.into(), message: "why".into(), detail };
        ApiError::from(error).status().as_u16()
    }

    #[test]
    fn only_what_passes_by_itself_is_406() {
        for (reason, state, status) in [
            ("bad-state", Some("initial"), 406),
            ("bad-state", Some("creating"), 406),
            ("bad-state", Some("error"), 409),
            ("bad-state", Some("creating-error"), 409),
            ("bad-state", Some("delete-wait"), 409),
            ("bad-state", Some("deleted"), 404),
            ("bad-state", None, 409),
            ("not-ready", None, 406),
            ("ambiguous-reference", None, 400),
            ("bad-metadata", None, 400),
            ("unknown-image", None, 404),
            ("no-store", None, 503),
            ("forbidden", None, 403),
            ("in-use", None, 409),
            ("something-new", None, 409),
        ] {
            assert_eq!(failed(reason, state), status, "{reason} {state:?}");
        }
    }

    #[test]
    fn missing_objects_are_named_as_users_call_them() {
        let missing = |object_type: &str| {
            let error = DbError::NotFound { object_type: object_type.into(), object_id: "x".into() };
            ApiError::from(error).body()["error"].clone()
        };
        assert_eq!(missing("instance"), "instance not found");
        assert_eq!(missing("networkinterface"), "interface not found");
    }

    #[test]
    fn an_outage_is_never_another_thing() {
        let error = ApiError::from(DbError::DatabaseUnavailable { message: "secret host".into() });
        assert_eq!(error.status().as_u16(), 503);
        assert!(!error.body().to_string().contains("secret"));
    }
}
