//! The few words that both ends of the data plane must spell alike.

use serde::{Deserialize, Serialize};

/// Scheme of the `Authorization` header.
pub const AUTH_SCHEME: &str = "SF-Transfer";

/// Where the client believes the upload ends; makes an append idempotent.
pub const UPLOAD_OFFSET: &str = "upload-offset";

/// `1` when the proxy knows that the answer to the previous chunk never reached the client.
pub const PREVIOUS_UNDELIVERED: &str = "sf-previous-undelivered";

/// Media type of protobuf bodies.
pub const PROTOBUF: &str = "application/x-protobuf";

/// Body of every refusal of the data plane.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// One sentence.
    pub error: String,
    /// Stable slug, for example `upload_busy`.
    pub code: String,
    /// Bytes the upload holds, for refusals that are about them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
}
