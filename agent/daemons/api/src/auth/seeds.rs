//! The window of seeds from which signing keys are derived: at most two, so that a rotation is not noticed.

use chrono::{DateTime, Utc};
use serde::Deserialize;

/// One seed and when it counts.
#[derive(Clone, Deserialize)]
pub struct Seed {
    /// The secret text.
    pub seed: String,
    /// From when on it signs; always when absent.
    #[serde(default)]
    pub activate_at: Option<DateTime<Utc>>,
    /// From when on it is not accepted any more; never when absent.
    #[serde(default)]
    pub retire_at: Option<DateTime<Utc>>,
}

impl Seed {
    fn is_retired(&self, now: DateTime<Utc>) -> bool {
        self.retire_at.is_some_and(|at| at <= now)
    }

    fn is_active(&self, now: DateTime<Utc>) -> bool {
        self.activate_at.is_none_or(|at| at <= now)
    }
}

/// The seeds to verify with at `now`, the one to sign with first. `text` is the configured value: a window as a JSON
/// list, or a bare seed.
pub fn usable(text: &str, now: DateTime<Utc>) -> Vec<String> {
    let bare = || vec![Seed { seed: text.to_owned(), activate_at: None, retire_at: None }];
    let mut window = if text.trim_start().starts_with('[') {
        serde_json::from_str(text).unwrap_or_else(|_| bare())
    } else {
        bare()
    };
    window.retain(|seed| !seed.is_retired(now) && !seed.seed.is_empty());
    // Active ones first, and of those the newest; one that will become active must be accepted already.
    window.sort_by_key(|seed| (!seed.is_active(now), std::cmp::Reverse(seed.activate_at)));
    window.into_iter().map(|seed| seed.seed).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bare_value_is_a_window_of_one() {
        assert_eq!(usable("secret", Utc::now()), ["secret"]);
        assert!(usable("", Utc::now()).is_empty());
    }

    #[test]
    fn the_newest_active_seed_signs_and_retired_ones_are_gone() {
        let now = DateTime::from_timestamp(1_700_000_000, 0).unwrap();
        let window = r#"[
            {"kid":"a","seed":"old","activate_at":"2023-01-01T00:00:00Z","retire_at":"2030-01-01T00:00:00Z"},
            {"kid":"b","seed":"new","activate_at":"2023-06-01T00:00:00Z"},
            {"kid":"c","seed":"next","activate_at":"2030-01-01T00:00:00Z"},
            {"kid":"d","seed":"gone","retire_at":"2023-01-01T00:00:00Z"}]"#;
        assert_eq!(usable(window, now), ["new", "old", "next"]);
    }
}
