//! The one place where errors of the store become statuses.

use prost::Message;
use sf_gateway::{ERROR_INFO_KEY, RETRY_AFTER_KEY};
use sf_protos::common::ErrorInfo;
use sf_store::StoreError;
use tonic::metadata::MetadataValue;
use tonic::{Code, Status};

/// Reason of a gateway that is about to end.
pub(crate) const DRAINING: &str = "draining";
const OVERLOADED: &str = "overloaded";

/// The status of a store error, with the explanation that clients act on.
pub(crate) fn from_store(error: StoreError) -> Status {
    let message = error.to_string();
    match error {
        StoreError::Missing { object_type, id } => {
            let info = ErrorInfo { object_type, object_id: id, ..reason("object-missing") };
            explained(Code::NotFound, message, info)
        }
        StoreError::Exists { object_type, id } => {
            let info = ErrorInfo { object_type, object_id: id, ..reason("exists") };
            explained(Code::AlreadyExists, message, info)
        }
        StoreError::Precondition { reason: word, message, detail } => {
            let info = ErrorInfo { detail: detail.into_iter().collect(), ..reason(word) };
            explained(Code::FailedPrecondition, message, info)
        }
        StoreError::Capacity { reason: word, message, detail } => {
            let info = ErrorInfo { detail: detail.into_iter().collect(), ..reason(word) };
            explained(Code::ResourceExhausted, message, info)
        }
        StoreError::Refused { reason: word, message } => {
            explained(Code::PermissionDenied, message, reason(word))
        }
        StoreError::Invalid(_) => explained(Code::InvalidArgument, message, reason("malformed")),
        StoreError::Unsupported(_) => explained(Code::Unimplemented, message, reason("gateway-too-old")),
        StoreError::Unreachable(_) | StoreError::Setup(_) => {
            explained(Code::Unavailable, message, reason("database-unreachable"))
        }
        StoreError::ReadOnly => read_only(),
        StoreError::Deadline(_) => explained(Code::DeadlineExceeded, message, reason("deadline")),
        StoreError::Contended { .. } => explained(Code::Aborted, message, reason("contended")),
        StoreError::Corrupt(_) | StoreError::Db(_) => {
            tracing::error!(error = message, "a call failed inside");
            // The text of a database error may quote values; the log has it, the caller gets a word.
            explained(
                Code::Internal,
                "the database refused a statement, see the gateway's log".into(),
                reason("internal"),
            )
        }
    }
}

/// The server accepts no writes at the moment.
pub(crate) fn read_only() -> Status {
    explained(Code::Unavailable, "MariaDB is read-only".to_owned(), reason("read-only"))
}

/// This gateway is about to end; another one serves.
pub(crate) fn draining() -> Status {
    explained(Code::Unavailable, "this gateway is shutting down".to_owned(), reason(DRAINING))
}

/// Too much to do; the caller should come back.
pub(crate) fn overloaded(retry_after_ms: u64) -> Status {
    let mut status =
        explained(Code::ResourceExhausted, "this gateway has too much to do".to_owned(), reason(OVERLOADED));
    status.metadata_mut().insert(RETRY_AFTER_KEY, MetadataValue::from(retry_after_ms));
    status
}

/// The caller may not make this call.
pub(crate) fn refused(message: String) -> Status {
    explained(Code::PermissionDenied, message, reason("caller"))
}

/// The word by which metrics count a status.
pub(crate) fn reason_of(status: &Status) -> String {
    sf_gateway::error_info(status).map(|info| info.reason).unwrap_or_default()
}

fn reason(word: &str) -> ErrorInfo {
    ErrorInfo { reason: word.to_owned(), ..ErrorInfo::default() }
}

fn explained(code: Code, message: String, info: ErrorInfo) -> Status {
    let mut status = Status::new(code, message);
    status.metadata_mut().insert_bin(ERROR_INFO_KEY, MetadataValue::from_bytes(&info.encode_to_vec()));
    status
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_error_keeps_its_kind_and_reason() {
        let cases = [
            (StoreError::missing(sf_model::ObjectType::Network, "n"), Code::NotFound, "object-missing"),
            (StoreError::exists(sf_model::ObjectType::Network, "n"), Code::AlreadyExists, "exists"),
            (StoreError::precondition("in-use", "x"), Code::FailedPrecondition, "in-use"),
            (StoreError::capacity("pool-empty", "x"), Code::ResourceExhausted, "pool-empty"),
            (StoreError::invalid("x"), Code::InvalidArgument, "malformed"),
            (StoreError::Unreachable("x".into()), Code::Unavailable, "database-unreachable"),
            (StoreError::ReadOnly, Code::Unavailable, "read-only"),
            (StoreError::Deadline("x".into()), Code::DeadlineExceeded, "deadline"),
        ];
        for (error, code, word) in cases {
            let status = from_store(error);
            assert_eq!((status.code(), reason_of(&status).as_str()), (code, word));
        }
    }
}
