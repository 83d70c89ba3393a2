//! Event types (`events.md` §2.1), and how the parts of an event are made to fit: whoever makes one uses these, so that
//! none is refused where it is stored.

use serde_json::{Value, json};
use strum::{Display, EnumIter, EnumString, IntoStaticStr};

use crate::redact::redact;
use crate::text::cut;

/// Longest message, bytes.
pub const MAX_MESSAGE: usize = 8192;
/// Largest `extra` as JSON, bytes.
pub const MAX_EXTRA: usize = 32 * 1024;
/// Most objects of one event.
pub const MAX_OBJECTS: usize = 64;
/// Longest object id, bytes.
pub const MAX_OBJECT_ID: usize = 255;
/// Longest request id, bytes.
pub const MAX_REQUEST_ID: usize = 64;
/// Longest name of the node that made the event, bytes.
pub const MAX_FQDN: usize = 255;

/// What kind of fact an event records. Unknown but well-formed types are stored too, so readers keep strings.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Display, EnumString, EnumIter, IntoStaticStr,
)]
#[strum(serialize_all = "lowercase")]
pub enum EventType {
    /// An action by a user, operator or the system on an object.
    Audit,
    /// An attribute or state changed.
    Mutate,
    /// Progress of work.
    Status,
    /// Billing sample.
    Usage,
    /// Node resource sample.
    Resources,
    /// Something was reaped.
    Prune,
    /// Node resource-health diagnosis.
    Health,
    /// Imported, type unknown.
    Historic,
}

impl EventType {
    /// Whether the last tenth of a spool is kept for this type (`events.md` §3.5).
    pub const fn uses_reserve(self) -> bool {
        matches!(self, Self::Audit | Self::Mutate | Self::Health | Self::Historic)
    }
}

/// Whether a string may be stored as an event type: `[a-z][a-z0-9-]{0,31}`.
pub fn is_well_formed(event_type: &str) -> bool {
    let mut bytes = event_type.bytes();
    event_type.len() <= 32
        && bytes.next().is_some_and(|b| b.is_ascii_lowercase())
        && bytes.all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}

/// A message that may be stored: not empty, and cut with an ellipsis.
pub fn fit_message(message: &str) -> String {
    const MORE: &str = "…";
    match message.len() {
        0 => "(no message)".to_owned(),
        n if n <= MAX_MESSAGE => message.to_owned(),
        _ => format!("{}{MORE}", cut(message, MAX_MESSAGE - MORE.len())),
    }
}

/// Details that may be stored, as text: a JSON object without secrets. Other values are wrapped; what is too large is left
/// out and said so.
pub fn fit_extra(mut extra: Value) -> String {
    if !extra.is_object() {
        extra = json!({ "value": extra });
    }
    redact(&mut extra);
    let text = extra.to_string();
    match text.len() {
        bytes if bytes > MAX_EXTRA => json!({ "truncated": true, "original_bytes": bytes }).to_string(),
        _ => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_messages_end_at_a_character() {
        let fitted = fit_message(&"é".repeat(5000));
        assert!(fitted.len() <= MAX_MESSAGE && fitted.ends_with('…'));
        assert_eq!(fit_message(""), "(no message)");
        assert_eq!(fit_message("m"), "m");
    }

    #[test]
    fn extra_is_an_object_without_secrets_and_not_too_large() {
        let fitted = |value| serde_json::from_str::<Value>(&fit_extra(value)).unwrap();
        assert_eq!(fitted(json!(3)), json!({ "value": 3 }));
        assert_eq!(fitted(json!({ "a": { "password": "x" } })), json!({ "a": { "password": "<redacted>" } }));
        let large = fitted(json!({ "a": "x".repeat(MAX_EXTRA) }));
        assert_eq!(large.get("truncated"), Some(&json!(true)));
        assert!(large.get("original_bytes").and_then(Value::as_u64).unwrap() > 32_768);
    }

    #[test]
    fn well_formed_types() {
        for good in ["audit", "a", "new-type-2"] {
            assert!(is_well_formed(good), "{good}");
        }
        for bad in ["", "Audit", "1x", "a_b", &"a".repeat(33)] {
            assert!(!is_well_formed(bad), "{bad}");
        }
    }
}
