//! What a call can end with, besides its reply.

use std::collections::HashMap;
use std::error::Error as _;

use prost::Message;
use sf_protos::common::ErrorInfo;
use tonic::{Code, Status};

/// Binary metadata in which a gateway explains a status: an encoded `ErrorInfo`.
pub const ERROR_INFO_KEY: &str = "sf-error-info-bin";
/// Milliseconds after which an overloaded gateway wants to be asked again.
pub const RETRY_AFTER_KEY: &str = "retry-after-ms";

/// Why there is no reply. No variant means "nothing there" except [`DbError::NotFound`].
#[derive(Debug, Clone, thiserror::Error)]
pub enum DbError {
    /// The object does not exist: the only source of "not found".
    #[error("{object_type} {object_id} does not exist")]
    NotFound {
        /// Kind of the object.
        object_type: String,
        /// Its id or name, as asked for.
        object_id: String,
    },
    /// Something with this identity exists and differs.
    #[error("{message}")]
    Conflict {
        /// Short stable word.
        reason: String,
        /// For people.
        message: String,
        /// More, by name.
        detail: HashMap<String, String>,
    },
    /// The object is not in a state that allows this: `bad-state`, `lock-lost`, `claim-lost`, `version-conflict`,
    /// `in-use`, ….
    #[error("{message}")]
    Precondition {
        /// Short stable word.
        reason: String,
        /// For people.
        message: String,
        /// More, by name.
        detail: HashMap<String, String>,
    },
    /// There is no room: `capacity`, `pool-empty`.
    #[error("{message}")]
    NoCapacity {
        /// Short stable word.
        reason: String,
        /// For people.
        message: String,
        /// The explanation, by name.
        detail: HashMap<String, String>,
    },
    /// Forbidden by a rule.
    #[error("{message}")]
    Refused {
        /// Short stable word.
        reason: String,
        /// For people.
        message: String,
    },
    /// No gateway answered in time, or none can reach the database. Nothing is known about the object.
    #[error("the database is unavailable: {message}")]
    DatabaseUnavailable {
        /// What the last attempt met.
        message: String,
    },
    /// The gateways do not know this call.
    #[error("the database tier does not know {operation}: upgrade the nodes that run sf-database first")]
    GatewayTooOld {
        /// The call.
        operation: &'static str,
    },
    /// The caller asked for nonsense, or the gateway failed inside.
    #[error("{operation} failed inside ({code:?}): {message}")]
    Bug {
        /// The call.
        operation: &'static str,
        /// The status code.
        code: Code,
        /// What the gateway said.
        message: String,
    },
}

impl DbError {
    /// Whether trying again later may help.
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::DatabaseUnavailable { .. })
    }

    /// Whether the tier has not judged the call: it was away, failed inside (a full disk of its database, say) or is too
    /// old for it. The same call may be answered later; nothing may be given up because of this error. A call that the
    /// tier cannot understand is judged: it will never be understood.
    pub fn is_unjudged(&self) -> bool {
        match self {
            Self::DatabaseUnavailable { .. } | Self::GatewayTooOld { .. } => true,
            Self::Bug { code, .. } => !matches!(code, Code::InvalidArgument | Code::OutOfRange),
            _ => false,
        }
    }

    /// The reason word of conflicts, preconditions, refusals and capacity.
    pub fn reason(&self) -> Option<&str> {
        match self {
            Self::Conflict { reason, .. }
            | Self::Precondition { reason, .. }
            | Self::NoCapacity { reason, .. }
            | Self::Refused { reason, .. } => Some(reason),
            _ => None,
        }
    }

    pub(crate) fn from_status(operation: &'static str, status: &Status) -> Self {
        let message = status.message().to_owned();
        let Some(info) = error_info(status) else {
            return match status.code() {
                // Made on this side when the connection broke, under whatever code: no gateway has judged the call.
                _ if is_transport(status) => Self::DatabaseUnavailable { message },
                Code::Unimplemented => Self::GatewayTooOld { operation },
                code @ (Code::InvalidArgument | Code::Internal | Code::OutOfRange | Code::DataLoss) => {
                    Self::Bug { operation, code, message }
                }
                code @ (Code::PermissionDenied | Code::Unauthenticated) => {
                    Self::Refused { reason: code.description().to_owned(), message }
                }
                code => Self::DatabaseUnavailable { message: format!("{code:?}: {message}") },
            };
        };
        let (reason, detail) = (info.reason, info.detail);
        match status.code() {
            Code::NotFound => Self::NotFound { object_type: info.object_type, object_id: info.object_id },
            Code::AlreadyExists => Self::Conflict { reason, message, detail },
            Code::FailedPrecondition => Self::Precondition { reason, message, detail },
            Code::ResourceExhausted if reason != OVERLOADED => Self::NoCapacity { reason, message, detail },
            Code::PermissionDenied | Code::Unauthenticated => Self::Refused { reason, message },
            Code::Unimplemented => Self::GatewayTooOld { operation },
            Code::ResourceExhausted | Code::Unavailable | Code::DeadlineExceeded | Code::Aborted => {
                Self::DatabaseUnavailable { message }
            }
            code => Self::Bug { operation, code, message },
        }
    }
}

/// Reason of a gateway that has too much to do.
pub(crate) const OVERLOADED: &str = "overloaded";
/// Reason of a gateway that is about to end.
pub(crate) const DRAINING: &str = "draining";

/// A status made on this side, because the connection broke.
pub(crate) fn is_transport(status: &Status) -> bool {
    status.source().is_some()
}

/// What a gateway says about a status; `None` when it was not a gateway that made the status.
pub fn error_info(status: &Status) -> Option<ErrorInfo> {
    let bytes = status.metadata().get_bin(ERROR_INFO_KEY)?.to_bytes().ok()?;
    ErrorInfo::decode(bytes).ok()
}

#[cfg(test)]
mod tests {
    use tonic::metadata::MetadataValue;

    use super::*;

    fn status(code: Code, reason: &str) -> Status {
        let info = ErrorInfo {
            reason: reason.into(),
            object_type: "instance".into(),
            object_id: "i-1".into(),
            detail: HashMap::from([("free".into(), "3".into())]),
        };
        let mut status = Status::new(code, "why");
        status.metadata_mut().insert_bin(ERROR_INFO_KEY, MetadataValue::from_bytes(&info.encode_to_vec()));
        status
    }

    #[test]
    fn statuses_become_errors_that_callers_can_act_on() {
        let from = |code, reason| DbError::from_status("Op", &status(code, reason));
        assert!(
            matches!(from(Code::NotFound, "object-missing"), DbError::NotFound { object_id, .. } if object_id == "i-1")
        );
        assert!(matches!(from(Code::AlreadyExists, "exists"), DbError::Conflict { .. }));
        assert!(
            matches!(from(Code::FailedPrecondition, "bad-state"), DbError::Precondition { reason, .. } if reason == "bad-state")
        );
        assert!(
            matches!(from(Code::ResourceExhausted, "capacity"), DbError::NoCapacity { detail, .. } if detail["free"] == "3")
        );
        assert!(from(Code::ResourceExhausted, "overloaded").is_transient());
        assert!(from(Code::Unavailable, "read-only").is_transient());
        assert!(matches!(from(Code::PermissionDenied, "claim-ceiling"), DbError::Refused { .. }));
        assert!(matches!(from(Code::InvalidArgument, "x"), DbError::Bug { .. }));
    }

    #[test]
    fn a_tier_that_fails_inside_has_not_judged() {
        let unjudged = |code, reason| DbError::from_status("Op", &status(code, reason)).is_unjudged();
        for code in [Code::Internal, Code::Unknown, Code::DataLoss, Code::Unimplemented, Code::Unavailable] {
            assert!(unjudged(code, "x"), "{code:?}");
        }
        for code in [Code::InvalidArgument, Code::NotFound, Code::FailedPrecondition, Code::PermissionDenied]
        {
            assert!(!unjudged(code, "x"), "{code:?}");
        }
        assert!(DbError::from_status("Op", &Status::internal("disk full")).is_unjudged());
    }

    #[test]
    fn a_bare_not_found_is_not_an_answer() {
        assert!(DbError::from_status("Op", &Status::not_found("no route")).is_transient());
        let mut broken = Status::internal("h2 protocol error");
        broken.set_source(std::sync::Arc::new(std::io::Error::other("the connection broke")));
        assert!(DbError::from_status("Op", &broken).is_transient());
        assert!(matches!(
            DbError::from_status("Op", &Status::unimplemented("")),
            DbError::GatewayTooOld { .. }
        ));
    }
}
