//! The window of a secret of the cluster: at most two at a time, so that a rotation is not noticed (`security.md` §4.3).

use std::cmp::Reverse;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Deserializer};
use sf_model::Secret;

/// A secret from which keys are derived, as it stands in the configuration: bare text, or a JSON list of entries with the
/// times between which they count.
pub struct SecretWindow(Vec<Entry>);

#[derive(Deserialize)]
struct Entry {
    /// The secret text.
    #[serde(deserialize_with = "secret")]
    seed: Secret<String>,
    /// From when on it signs; always when absent.
    #[serde(default)]
    activate_at: Option<DateTime<Utc>>,
    /// From when on it is not accepted any more; never when absent.
    #[serde(default)]
    retire_at: Option<DateTime<Utc>>,
}

impl SecretWindow {
    /// Reads the configured text.
    ///
    /// # Errors
    /// It looks like a list and is none of one or two entries. The text is not repeated.
    pub fn parse(text: &str) -> Result<Self, String> {
        let window: Vec<Entry> = if text.trim_start().starts_with('[') {
            serde_yaml::from_str(text).map_err(|_| {
                "must be a text, or a JSON list of {\"seed\", \"activate_at\", \"retire_at\"} with times such as \
                 2030-01-31T12:00:00Z"
                    .to_owned()
            })?
        } else {
            vec![Entry { seed: Secret::new(text.to_owned()), activate_at: None, retire_at: None }]
        };
        if window.is_empty() || window.len() > 2 || window.iter().any(|entry| entry.seed.expose().is_empty())
        {
            return Err("must have one or two entries, none of them empty".to_owned());
        }
        Ok(Self(window))
    }

    /// The secrets to verify with at `now`, the one to sign with first.
    pub fn usable(&self, now: DateTime<Utc>) -> Vec<Secret<String>> {
        let mut usable: Vec<&Entry> =
            self.0.iter().filter(|entry| entry.retire_at.is_none_or(|at| at > now)).collect();
        // Active ones first, and of those the newest, which is the one that stays where no times of activation are given; one
        // that will become active must be accepted already.
        usable.sort_by_key(|entry| {
            let waits = entry.activate_at.is_some_and(|at| at > now);
            let retires = entry.retire_at.unwrap_or(DateTime::<Utc>::MAX_UTC);
            (waits, Reverse(entry.activate_at), Reverse(retires))
        });
        usable.into_iter().map(|entry| entry.seed.duplicate()).collect()
    }
}

fn secret<'de, D: Deserializer<'de>>(from: D) -> Result<Secret<String>, D::Error> {
    String::deserialize(from).map(Secret::new)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    fn usable(text: &str, now: DateTime<Utc>) -> Vec<String> {
        let window = SecretWindow::parse(text).unwrap();
        window.usable(now).iter().map(|secret| secret.expose().clone()).collect()
    }

    #[test]
    fn a_bare_value_is_a_window_of_one() {
        assert_eq!(usable("secret", Utc::now()), ["secret"]);
    }

    #[test]
    fn a_rotation_overlaps() {
        let window = r#"[
            {"kid":"a","seed":"old","retire_at":"2026-01-01T00:10:00Z"},
            {"kid":"b","seed":"new","activate_at":"2026-01-01T00:01:00Z"}]"#;
        for (moment, secrets) in [
            ("2026-01-01T00:00:59Z", ["old", "new"].as_slice()),
            ("2026-01-01T00:01:00Z", &["new", "old"]),
            ("2026-01-01T00:09:59Z", &["new", "old"]),
            ("2026-01-01T00:10:00Z", &["new"]),
        ] {
            assert_eq!(usable(window, at(moment)), secrets, "{moment}");
        }
    }

    #[test]
    fn of_two_that_count_the_one_that_stays_signs() {
        let window = r#"[{"seed":"old","retire_at":"2026-01-01T00:10:00Z"},{"seed":"new"}]"#;
        assert_eq!(usable(window, at("2026-01-01T00:00:00Z")), ["new", "old"]);
    }

    #[test]
    fn what_looks_like_a_window_and_is_none_is_no_secret() {
        let three = r#"[{"seed":"a"},{"seed":"b"},{"seed":"c"}]"#;
        for text in
            ["", "[", "[]", "[1]", r#"[{"seed":""}]"#, r#"[{"seed":"hush","retire_at":"soon"}]"#, three]
        {
            let why = SecretWindow::parse(text).err().unwrap_or_else(|| panic!("{text} was taken"));
            assert!(!why.contains("hush"), "{why}");
        }
    }
}
