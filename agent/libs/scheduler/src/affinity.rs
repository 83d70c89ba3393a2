//! Neighbours: what must be, must not be, and would be nice to have on a node (`scheduler.md` §8.3).

use std::collections::BTreeMap;

use sf_model::affinity::Affinity;

use crate::stage::Reason;

/// The first hard constraint a node does not satisfy.
pub fn violation(affinity: &Affinity, tags: &BTreeMap<String, u32>) -> Option<Reason> {
    let present = |tag: &&String| tags.get(*tag).is_some_and(|&count| count > 0);
    if let Some(tag) = affinity.require_with.iter().find(|tag| !present(tag)) {
        return Some(Reason::TagMissing(tag.clone()));
    }
    affinity.require_without.iter().find(present).map(|tag| Reason::TagPresent(tag.clone()))
}

/// One point for every neighbour with a preferred tag, one less for every neighbour with an unwanted one. A sum, so no
/// single tag is a veto.
pub fn score(affinity: &Affinity, tags: &BTreeMap<String, u32>) -> i64 {
    let count = |list: &[String]| {
        list.iter().map(|tag| i64::from(tags.get(tag).copied().unwrap_or(0))).fold(0, i64::saturating_add)
    };
    count(&affinity.prefer_with).saturating_sub(count(&affinity.prefer_without))
}

/// The hard constraints in words, for the refusal: `require_with_tag [db], require_without_tag [web]`.
pub fn describe_hard(affinity: &Affinity) -> String {
    let mut parts = Vec::new();
    for (name, list) in
        [("require_with_tag", &affinity.require_with), ("require_without_tag", &affinity.require_without)]
    {
        if !list.is_empty() {
            parts.push(format!("{name} [{}]", list.join(", ")));
        }
    }
    parts.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tags(list: &[(&str, u32)]) -> BTreeMap<String, u32> {
        list.iter().map(|(tag, count)| ((*tag).to_owned(), *count)).collect()
    }

    fn list(tags: &[&str]) -> Vec<String> {
        tags.iter().map(|tag| (*tag).to_owned()).collect()
    }

    #[test]
    fn hard_constraints() {
        let affinity = Affinity {
            require_with: list(&["db", "cache"]),
            require_without: list(&["web"]),
            ..Affinity::default()
        };
        for (present, expected) in [
            (tags(&[("db", 1), ("cache", 2)]), None),
            (tags(&[("db", 1)]), Some(Reason::TagMissing("cache".into()))),
            (tags(&[("db", 1), ("cache", 0)]), Some(Reason::TagMissing("cache".into()))),
            (tags(&[("db", 1), ("cache", 1), ("web", 1)]), Some(Reason::TagPresent("web".into()))),
        ] {
            assert_eq!(violation(&affinity, &present), expected, "{present:?}");
        }
        assert_eq!(describe_hard(&affinity), "require_with_tag [db, cache], require_without_tag [web]");
    }

    #[test]
    fn soft_score_is_a_sum() {
        let affinity =
            Affinity { prefer_with: list(&["a", "b"]), prefer_without: list(&["c"]), ..Affinity::default() };
        assert_eq!(score(&affinity, &tags(&[("a", 2), ("b", 1), ("c", 4), ("d", 9)])), -1);
        assert_eq!(score(&affinity, &BTreeMap::new()), 0);
    }
}
