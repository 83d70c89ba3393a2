//! The grammar of disk bases (`storage.md` §9.2): pure.

use sf_model::id::parse_hyphenated;
use sf_model::{ArtifactId, BlobId};

/// What a user wrote as the base of a disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Base<'a> {
    /// No base.
    Blank,
    /// That blob.
    Blob(BlobId),
    /// A version of that artifact, the current one without an index.
    Artifact(ArtifactId, Option<u32>),
    /// The artifact with this source, in any visible namespace.
    Source(&'a str),
    /// A label of the target namespace.
    Label(&'a str),
    /// An entry of the image table, never a local artifact.
    Table(&'a str),
    /// An address.
    Url(&'a str),
    /// A bare name.
    Name(&'a str),
}

/// Reads a base.
///
/// # Errors
/// What is wrong with it, as a sentence.
pub(super) fn parse(text: &str) -> Result<Base<'_>, String> {
    if text.is_empty() || text.eq_ignore_ascii_case("none") {
        return Ok(Base::Blank);
    }
    if let Some(rest) = text.strip_prefix("sf://") {
        return internal(text, rest).ok_or_else(|| "an sf:// reference that means nothing".to_owned());
    }
    if text.starts_with("http://") || text.starts_with("https://") {
        return Ok(Base::Url(text));
    }
    if text.contains("://") {
        return Err("only http, https and sf addresses can be a disk base".to_owned());
    }
    match text.split_once(':') {
        Some(("label", name)) if named(name) => Ok(Base::Label(name)),
        Some(("image", name)) if named(name) => Ok(Base::Table(name)),
        _ if named(text) => Ok(Base::Name(text)),
        _ => Err("a name of an image has no slash".to_owned()),
    }
}

fn internal<'a>(text: &'a str, rest: &'a str) -> Option<Base<'a>> {
    let (kind, value) = rest.split_once('/')?;
    Some(match kind {
        "blob" => Base::Blob(BlobId::from_uuid(parse_hyphenated(value)?)),
        "snapshot" => Base::Artifact(ArtifactId::from_uuid(parse_hyphenated(value)?), None),
        "artifact" => {
            let (uuid, index) = match value.split_once('@') {
                Some((uuid, index)) => (uuid, Some(index.parse().ok()?)),
                None => (value, None),
            };
            Base::Artifact(ArtifactId::from_uuid(parse_hyphenated(uuid)?), index)
        }
        "label" | "upload" | "instance" => {
            let (owner, name) = value.split_once('/')?;
            if owner.is_empty() || !named(name) {
                return None;
            }
            Base::Source(text)
        }
        _ => return None,
    })
}

fn named(name: &str) -> bool {
    !name.is_empty() && !name.contains('/')
}

/// The three names nearest to one that means nothing, nearest first.
pub(super) fn nearest(name: &str, known: Vec<String>) -> Vec<String> {
    let mut ranked: Vec<(usize, String)> = known.into_iter().map(|k| (distance(name, &k), k)).collect();
    ranked.sort();
    ranked.dedup();
    ranked.into_iter().take(3).map(|(_, known)| known).collect()
}

/// Edits that turn one text into the other.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut left = i + 1;
        let mut diagonal = i;
        let mut next = vec![left];
        for (y, above) in b.iter().zip(row.iter().skip(1)) {
            left = (diagonal + usize::from(x != *y)).min(left + 1).min(above + 1);
            diagonal = *above;
            next.push(left);
        }
        row = next;
    }
    row.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bases_mean_what_the_table_says() {
        let id = "6d1c1f9a-0b5e-4a5e-9f2a-0c7f1f0a9b11";
        let uuid = parse_hyphenated(id).unwrap();
        for (text, meaning) in [
            ("", Base::Blank),
            ("None", Base::Blank),
            (&format!("sf://blob/{id}"), Base::Blob(BlobId::from_uuid(uuid))),
            (&format!("sf://artifact/{id}"), Base::Artifact(ArtifactId::from_uuid(uuid), None)),
            (&format!("sf://artifact/{id}@7"), Base::Artifact(ArtifactId::from_uuid(uuid), Some(7))),
            (&format!("sf://snapshot/{id}"), Base::Artifact(ArtifactId::from_uuid(uuid), None)),
            ("sf://label/ns/web", Base::Source("sf://label/ns/web")),
            ("sf://upload/ns/web", Base::Source("sf://upload/ns/web")),
            ("label:web", Base::Label("web")),
            ("image:debian:12", Base::Table("debian:12")),
            ("https://x/y", Base::Url("https://x/y")),
            ("debian:12", Base::Name("debian:12")),
        ] {
            assert_eq!(parse(text), Ok(meaning), "{text}");
        }
        for bad in [
            "ftp://x/y",
            "sf://blob/x",
            "sf://artifact/x@y",
            "sf://label/web",
            "sf://label/ns/a/b",
            "a/b",
            "label:",
        ] {
            assert!(parse(bad).is_err() || bad == "label:", "{bad}");
        }
    }

    #[test]
    fn nearest_names_come_first() {
        let known = ["debian:12", "debian:11", "ubuntu:22.04", "cirros"].map(str::to_owned).to_vec();
        assert_eq!(nearest("debain:12", known).first().map(String::as_str), Some("debian:12"));
        assert_eq!(distance("abc", "abc"), 0);
        assert_eq!(distance("", "abc"), 3);
    }
}
