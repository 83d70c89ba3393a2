//! Placement affinity as users write it in instance metadata (`scheduler.md` §8.3).

use serde_json::Value;

/// At most this many tags in a list and on an instance.
pub const MAX_TAGS: usize = 64;
/// Longest tag in bytes.
pub const MAX_TAG_BYTES: usize = 128;

/// Wishes about neighbours in the same namespace.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Affinity {
    /// Every listed tag must be on the node already.
    pub require_with: Vec<String>,
    /// No listed tag may be on the node.
    pub require_without: Vec<String>,
    /// One point for each neighbour with such a tag.
    pub prefer_with: Vec<String>,
    /// One point less for each neighbour with such a tag.
    pub prefer_without: Vec<String>,
    /// The deprecated weighted form was used.
    pub weighted_form: bool,
}

/// Why affinity or tags are refused: the field and the expectation.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {expectation}")]
pub struct AffinityError {
    /// Path of the offending field.
    pub field: String,
    /// What was expected.
    pub expectation: &'static str,
}

impl Affinity {
    /// Whether a hard constraint exists.
    pub fn is_hard(&self) -> bool {
        !self.require_with.is_empty() || !self.require_without.is_empty()
    }

    /// Whether nothing was asked.
    pub fn is_empty(&self) -> bool {
        !self.is_hard() && self.prefer_with.is_empty() && self.prefer_without.is_empty()
    }

    /// Reads the metadata value `affinity`, in constraint form or in the deprecated weighted form.
    pub fn parse(value: &Value) -> Result<Self, AffinityError> {
        let Value::Object(map) = value else {
            return Err(error("affinity", "must be an object"));
        };
        let constraints = map.keys().filter(|key| RESERVED.contains(&key.as_str())).count();
        if constraints == map.len() {
            let list = |name: &str| {
                map.get(name).map_or(Ok(Vec::new()), |v| tag_list(&format!("affinity.{name}"), v))
            };
            Ok(Self {
                require_with: list("require_with_tag")?,
                require_without: list("require_without_tag")?,
                prefer_with: list("prefer_with_tag")?,
                prefer_without: list("prefer_without_tag")?,
                weighted_form: false,
            })
        } else if constraints == 0 {
            weighted(map)
        } else {
            Err(error("affinity", "must not mix constraint names and weighted tags"))
        }
    }
}

/// Reads the metadata value `tags`: a list of tags.
pub fn parse_tags(value: &Value) -> Result<Vec<String>, AffinityError> {
    tag_list("tags", value)
}

const RESERVED: [&str; 4] =
    ["require_with_tag", "require_without_tag", "prefer_with_tag", "prefer_without_tag"];

fn weighted(map: &serde_json::Map<String, Value>) -> Result<Affinity, AffinityError> {
    let mut affinity = Affinity { weighted_form: true, ..Affinity::default() };
    if map.len() > MAX_TAGS {
        return Err(error("affinity", "must hold at most 64 tags"));
    }
    for (tag, weight) in map {
        check_tag("affinity", tag)?;
        let weight = match weight {
            Value::Number(number) => number.as_i64(),
            Value::String(text) => text.parse().ok(),
            _ => None,
        }
        .ok_or_else(|| error(&format!("affinity.{tag}"), "must be an integer"))?;
        match weight.signum() {
            1 => affinity.prefer_with.push(tag.clone()),
            -1 => affinity.prefer_without.push(tag.clone()),
            _ => {}
        }
    }
    Ok(affinity)
}

fn tag_list(field: &str, value: &Value) -> Result<Vec<String>, AffinityError> {
    let Value::Array(items) = value else {
        return Err(error(field, "must be a list of strings"));
    };
    if items.len() > MAX_TAGS {
        return Err(error(field, "must hold at most 64 tags"));
    }
    let mut tags = Vec::with_capacity(items.len());
    for item in items {
        let Value::String(tag) = item else {
            return Err(error(field, "must be a list of strings"));
        };
        check_tag(field, tag)?;
        if !tags.contains(tag) {
            tags.push(tag.clone());
        }
    }
    Ok(tags)
}

fn check_tag(field: &str, tag: &str) -> Result<(), AffinityError> {
    if (1..=MAX_TAG_BYTES).contains(&tag.len()) && !tag.chars().any(char::is_control) {
        Ok(())
    } else {
        Err(error(field, "tags must be 1 to 128 bytes without control characters"))
    }
}

fn error(field: &str, expectation: &'static str) -> AffinityError {
    AffinityError { field: field.chars().take(64).collect(), expectation }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn constraint_form() {
        let affinity =
            Affinity::parse(&json!({"require_without_tag": ["web", "web"], "prefer_with_tag": ["db"]}))
                .unwrap();
        assert!(affinity.is_hard() && !affinity.weighted_form);
        assert_eq!(
            (affinity.require_without, affinity.prefer_with),
            (vec!["web".to_owned()], vec!["db".to_owned()])
        );
    }

    #[test]
    fn weighted_form_keeps_the_sign_only() {
        let affinity = Affinity::parse(&json!({"a": 10, "b": "-3", "c": 0})).unwrap();
        assert!(affinity.weighted_form && !affinity.is_hard());
        assert_eq!(
            (affinity.prefer_with, affinity.prefer_without),
            (vec!["a".to_owned()], vec!["b".to_owned()])
        );
    }

    #[test]
    fn malformed_values_are_refused() {
        for bad in [
            json!(null),
            json!([]),
            json!({"a": true}),
            json!({"a": null}),
            json!({"a": 1.5}),
            json!({"require_with_tag": "x"}),
            json!({"require_with_tag": [1]}),
            json!({"require_with_tag": ["x"], "a": 1}),
            json!({"require_with_tag": [""]}),
        ] {
            assert!(Affinity::parse(&bad).is_err(), "{bad}");
        }
        assert!(Affinity::parse(&json!({})).unwrap().is_empty());
        assert!(parse_tags(&json!({"a": 1})).is_err());
    }
}
