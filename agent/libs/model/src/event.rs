//! Event types (`events.md` §2.1).

use strum::{Display, EnumIter, EnumString, IntoStaticStr};

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

#[cfg(test)]
mod tests {
    use super::*;

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
