//! Why a fetch failed, and whether it is worth trying again.

use std::error::Error as _;
use std::time::Duration;

use http::StatusCode;
use sf_blobs::StoreError;
use url::Url;

use crate::policy::PolicyRefusal;

/// What to do after a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// Try again, not before this long when the origin said so.
    Transient(Option<Duration>),
    /// Try once more from the first byte.
    FromZero,
    /// Trying again gives the same.
    Permanent,
}

impl Class {
    /// The name used in metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Transient(_) => "transient",
            Self::FromZero => "from_zero",
            Self::Permanent => "permanent",
        }
    }
}

/// A failed fetch.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// The URL may not be fetched.
    #[error("{url}: {refusal}")]
    Policy {
        /// The URL without its query.
        url: String,
        /// The rule.
        refusal: PolicyRefusal,
    },
    /// The host name has no address.
    #[error("{url}: the host {host} cannot be resolved: {source}")]
    Resolve {
        /// The URL without its query.
        url: String,
        /// The host.
        host: String,
        /// The resolver's answer.
        #[source]
        source: std::io::Error,
    },
    /// The origin answered with an error.
    #[error("{url}: {host} answered {status}")]
    Status {
        /// The URL without its query.
        url: String,
        /// The host.
        host: String,
        /// The status.
        status: StatusCode,
        /// How long the origin asks to wait.
        retry_after: Option<Duration>,
    },
    /// The connection failed or broke.
    #[error("{url}: {host}: {cause}")]
    Transport {
        /// The URL without its query.
        url: String,
        /// The host.
        host: String,
        /// What happened.
        cause: String,
        /// Trying again gives the same, for example a certificate that does not fit.
        permanent: bool,
    },
    /// The answer cannot be used.
    #[error("{url}: {host} answered {what}")]
    Answer {
        /// The URL without its query.
        url: String,
        /// The host.
        host: String,
        /// What was wrong.
        what: String,
    },
    /// More bytes than are permitted.
    #[error("{url}: the image is larger than the permitted {limit} bytes")]
    TooLarge {
        /// The URL without its query.
        url: String,
        /// The limit, in bytes.
        limit: u64,
    },
    /// The bytes are not the announced ones.
    #[error("{url}: {what}")]
    Mismatch {
        /// The URL without its query.
        url: String,
        /// Which value was expected and which was found.
        what: String,
    },
    /// A checksum is required and cannot be had.
    #[error("{url}: {what}")]
    Checksum {
        /// The URL of the list.
        url: String,
        /// What was wrong.
        what: String,
    },
    /// The daemon is stopping.
    #[error("{url}: stopped because this node is shutting down")]
    Cancelled {
        /// The URL without its query.
        url: String,
    },
    /// The disk of this node.
    #[error("the node's storage: {0}")]
    Store(#[from] StoreError),
}

impl FetchError {
    /// What to do about it.
    pub fn class(&self) -> Class {
        match self {
            Self::Policy { .. } | Self::TooLarge { .. } => Class::Permanent,
            Self::Resolve { .. } | Self::Checksum { .. } | Self::Cancelled { .. } => Class::Transient(None),
            Self::Status { status, retry_after, .. } => classify_status(*status, *retry_after),
            Self::Transport { permanent: true, .. } | Self::Answer { .. } => Class::Permanent,
            Self::Transport { .. } => Class::Transient(None),
            Self::Mismatch { .. } => Class::FromZero,
            // Space may return; any other disk error will not go away by itself.
            Self::Store(_) => Class::Permanent,
        }
    }
}

/// The longest wait an origin may ask for.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(120);

fn classify_status(status: StatusCode, retry_after: Option<Duration>) -> Class {
    match status.as_u16() {
        408 | 425 | 429 | 500 | 502 | 503 | 504 => {
            Class::Transient(retry_after.map(|wait| wait.min(MAX_RETRY_AFTER)))
        }
        _ => Class::Permanent,
    }
}

/// A URL as it may be shown: without its query, which may carry a signature, and without its fragment.
pub fn shown(url: &Url) -> String {
    let mut url = url.clone();
    url.set_query(None);
    url.set_fragment(None);
    url.to_string()
}

/// The host of a URL, for messages.
pub(crate) fn host(url: &Url) -> String {
    url.host_str().unwrap_or_default().to_owned()
}

/// Turns the HTTP client's error into ours: its innermost cause says most, and a certificate that does not fit will
/// not fit next time.
pub(crate) fn transport(url: &Url, error: &reqwest::Error) -> FetchError {
    let mut cause = String::new();
    let mut current = error.source();
    while let Some(inner) = current {
        cause = inner.to_string();
        current = inner.source();
    }
    if cause.is_empty() {
        cause = if error.is_timeout() { "timed out".to_owned() } else { error.to_string() };
    }
    let permanent = cause.to_ascii_lowercase().contains("certificate");
    FetchError::Transport { url: shown(url), host: host(url), cause, permanent }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_are_classified() {
        for (status, class) in [
            (408, "transient"),
            (425, "transient"),
            (429, "transient"),
            (500, "transient"),
            (502, "transient"),
            (503, "transient"),
            (504, "transient"),
            (400, "permanent"),
            (401, "permanent"),
            (403, "permanent"),
            (404, "permanent"),
            (410, "permanent"),
            (501, "permanent"),
            (505, "permanent"),
        ] {
            assert_eq!(
                classify_status(StatusCode::from_u16(status).unwrap(), None).as_str(),
                class,
                "{status}"
            );
        }
        let long = Some(Duration::from_secs(9999));
        assert_eq!(
            classify_status(StatusCode::SERVICE_UNAVAILABLE, long),
            Class::Transient(Some(MAX_RETRY_AFTER))
        );
    }

    #[test]
    fn queries_are_never_shown() {
        let url = Url::parse("https://a.example/x?X-Amz-Signature=secret#y").unwrap();
        assert_eq!(shown(&url), "https://a.example/x");
    }
}
