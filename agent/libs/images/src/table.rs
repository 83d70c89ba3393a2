//! The image table: which short names stand for which URLs.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use regex::Regex;
use serde::Deserialize;
use url::Url;

use crate::checksum::ListFormat;

/// How many aliases a name may go through.
const MAX_HOPS: usize = 3;

/// Why a table is not used.
#[derive(Debug, thiserror::Error)]
pub enum TableError {
    /// The file is there and cannot be read.
    #[error("cannot read the image table {path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// The operating system's answer.
        #[source]
        source: io::Error,
    },
    /// The file is not what it should be.
    #[error("the image table {path} is not valid: {reason}")]
    Invalid {
        /// The file.
        path: PathBuf,
        /// What is wrong and where.
        reason: String,
    },
}

/// What a short name stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableImage {
    /// The name after aliases, for example `debian:12`.
    pub name: String,
    /// Where the bytes are; when the version must be looked up first, a template with `{tag}` in it.
    pub url: String,
    /// The listing that tells the newest version, for names without one.
    pub latest: Option<Latest>,
    /// Where the published checksums are.
    pub checksum_url: Option<String>,
    /// How they are written.
    pub checksum_format: Option<ListFormat>,
    /// Whether a fetch without a matching checksum fails.
    pub require_checksum: bool,
    /// The processor the image is for.
    pub architecture: Option<String>,
    /// `uefi` when the image boots in no other way.
    pub firmware: Option<String>,
}

/// How the newest version of an image is found.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Latest {
    /// A page that names all versions.
    pub url: String,
    /// An expression with one group that matches a version in it.
    pub pattern: String,
}

impl Latest {
    /// The newest version that the page names, compared number by number.
    pub fn newest(&self, page: &str) -> Option<String> {
        let pattern = Regex::new(&self.pattern).ok()?;
        let versions = pattern.captures_iter(page).filter_map(|found| Some(found.get(1)?.as_str()));
        versions.filter(|version| is_plain(version)).max_by_key(|version| numbers(version)).map(str::to_owned)
    }
}

fn numbers(version: &str) -> Vec<u64> {
    version.split(|letter: char| !letter.is_ascii_digit()).filter_map(|part| part.parse().ok()).collect()
}

impl TableImage {
    /// The same image with its version filled in.
    pub fn with_tag(mut self, tag: &str) -> Self {
        self.url = self.url.replace("{tag}", tag);
        self.checksum_url = self.checksum_url.map(|url| url.replace("{tag}", tag));
        self.latest = None;
        self
    }
}

/// The table. Immutable; a changed file makes a new one.
#[derive(Debug, Clone, Default)]
pub struct ImageTable {
    aliases: BTreeMap<String, String>,
    entries: Vec<Entry>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    aliases: BTreeMap<String, String>,
    #[serde(default)]
    images: Vec<Entry>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    #[serde(rename = "match")]
    pattern: String,
    url: String,
    checksum_url: Option<String>,
    checksum_format: Option<ListFormat>,
    #[serde(default)]
    require_checksum: bool,
    latest: Option<Latest>,
    architecture: Option<String>,
    firmware: Option<String>,
}

impl ImageTable {
    /// Reads the table; without a file the built-in names hold. `mirror` is `IMAGE_DOWNLOAD_URL`.
    ///
    /// # Errors
    /// The file cannot be read or is not valid; the caller keeps the table it has.
    pub fn load(path: &Path, mirror: &str) -> Result<Self, TableError> {
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self::built_in(mirror)),
            Err(source) => return Err(TableError::Read { path: path.to_owned(), source }),
        };
        Self::parse(&text).map_err(|reason| TableError::Invalid { path: path.to_owned(), reason })
    }

    /// Reads the text of a table. An empty one is legal: then short names stand for nothing.
    ///
    /// # Errors
    /// One sentence saying what is wrong.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.trim().is_empty() {
            return Ok(Self::default());
        }
        let file: File = serde_yaml::from_str(text).map_err(|error| error.to_string())?;
        let table = Self { aliases: file.aliases, entries: file.images };
        for alias in table.aliases.keys() {
            table.follow(alias).ok_or_else(|| {
                format!("the alias {alias} needs more than {MAX_HOPS} steps, or goes in a circle")
            })?;
        }
        for entry in &table.entries {
            let sample = entry.url.replace("{name}", "name").replace("{tag}", "tag");
            Url::parse(&sample)
                .map_err(|error| format!("the URL of {} is not valid: {error}", entry.pattern))?;
            if let Some(latest) = &entry.latest {
                Regex::new(&latest.pattern)
                    .map_err(|error| format!("the pattern of {} is not valid: {error}", entry.pattern))?;
            }
        }
        Ok(table)
    }

    /// The names everybody knows.
    pub fn built_in(mirror: &str) -> Self {
        let mut aliases: BTreeMap<String, String> = [
            ("debian", "debian:12"),
            ("ubuntu", "ubuntu:24.04"),
            ("rocky", "rocky:9"),
            ("centos", "centos:9-stream"),
            ("fedora", "fedora:42"),
        ]
        .map(|(from, to)| (from.to_owned(), to.to_owned()))
        .into();
        let mut entries = vec![Entry {
            pattern: "cirros:*".to_owned(),
            url: "https://download.cirros-cloud.net/{tag}/cirros-{tag}-x86_64-disk.img".to_owned(),
            checksum_url: Some("https://download.cirros-cloud.net/{tag}/MD5SUMS".to_owned()),
            checksum_format: Some(ListFormat::Md5sum),
            require_checksum: false,
            latest: Some(Latest {
                url: "https://download.cirros-cloud.net/".to_owned(),
                pattern: r#"href="([0-9]+\.[0-9]+\.[0-9]+)/""#.to_owned(),
            }),
            architecture: Some("x86_64".to_owned()),
            firmware: None,
        }];
        match Url::parse(mirror) {
            Ok(base) => entries.extend(["centos", "debian", "fedora", "rocky", "ubuntu"].map(|name| Entry {
                pattern: format!("{name}:*"),
                url: format!("{}/{{name}}:{{tag}}/latest.qcow2", base.as_str().trim_end_matches('/')),
                checksum_url: None,
                checksum_format: None,
                require_checksum: false,
                latest: None,
                architecture: None,
                firmware: None,
            })),
            Err(_) => aliases.clear(),
        }
        Self { aliases, entries }
    }

    /// What a short name stands for; `None` when the table does not know it.
    pub fn resolve(&self, name: &str) -> Option<TableImage> {
        let name = self.follow(name)?;
        let (base, tag) = match name.split_once(':') {
            Some((base, tag)) => (base, Some(tag)),
            None => (name, None),
        };
        if !is_plain(base) || !tag.is_none_or(is_plain) {
            return None;
        }
        let entry = self.entries.iter().find(|entry| entry.matches(base, tag))?;
        let image = TableImage {
            name: name.to_owned(),
            url: entry.url.replace("{name}", base),
            latest: entry.latest.clone(),
            checksum_url: entry.checksum_url.as_ref().map(|url| url.replace("{name}", base)),
            checksum_format: entry.checksum_format,
            require_checksum: entry.require_checksum,
            architecture: entry.architecture.clone(),
            firmware: entry.firmware.clone(),
        };
        match tag {
            Some(tag) => Some(image.with_tag(tag)),
            None if image.url.contains("{tag}") && image.latest.is_none() => None,
            None => Some(image),
        }
    }

    /// Follows aliases; `None` when there are too many.
    fn follow<'a>(&'a self, name: &'a str) -> Option<&'a str> {
        let mut current = name;
        for _ in 0..=MAX_HOPS {
            match self.aliases.get(current) {
                Some(next) => current = next,
                None => return Some(current),
            }
        }
        None
    }
}

impl Entry {
    fn matches(&self, base: &str, tag: Option<&str>) -> bool {
        match self.pattern.strip_suffix(":*") {
            // A bare name fits when the URL can do without a version, or the newest one can be looked up.
            Some(any) => {
                any == base && (tag.is_some() || self.latest.is_some() || !self.url.contains("{tag}"))
            }
            None => match self.pattern.split_once(':') {
                Some((own, own_tag)) => own == base && tag == Some(own_tag),
                None => self.pattern == base && tag.is_none(),
            },
        }
    }
}

/// Only these may be put into a URL.
fn is_plain(part: &str) -> bool {
    !part.is_empty()
        && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'+' | b'-'))
        && !part.bytes().all(|byte| byte == b'.')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_familiar_names_keep_working() {
        let table = ImageTable::built_in("https://images.example.com/");
        let url = |name: &str| table.resolve(name).map(|image| image.url);
        assert_eq!(url("debian").as_deref(), Some("https://images.example.com/debian:12/latest.qcow2"));
        assert_eq!(
            url("ubuntu:22.04").as_deref(),
            Some("https://images.example.com/ubuntu:22.04/latest.qcow2")
        );
        assert_eq!(
            url("cirros:0.6.2").as_deref(),
            Some("https://download.cirros-cloud.net/0.6.2/cirros-0.6.2-x86_64-disk.img")
        );
        assert_eq!(url("windows"), None);
        assert_eq!(url("debian:../../etc"), None);
        assert_eq!(url("debian:.."), None);
        assert_eq!(url("debian:a/b"), None);
        assert_eq!(url("debian:"), None);
    }

    #[test]
    fn a_name_without_version_asks_the_listing() {
        let table = ImageTable::built_in("https://images.example.com");
        let cirros = table.resolve("cirros").unwrap();
        let page =
            r#"<a href="0.5.2/">x</a> <a href="0.10.0/">x</a> <a href="0.6.9/">x</a> <a href="nightly/">"#;
        let newest = cirros.latest.as_ref().unwrap().newest(page).unwrap();
        assert_eq!(newest, "0.10.0");
        let image = cirros.with_tag(&newest);
        assert!(image.url.ends_with("/0.10.0/cirros-0.10.0-x86_64-disk.img"));
        assert!(image.checksum_url.unwrap().ends_with("/0.10.0/MD5SUMS"));
    }

    #[test]
    fn the_first_match_of_a_file_wins() {
        let table = ImageTable::parse(
            "aliases: {a: b, b: tool}\nimages:\n- {match: 'tool:1', url: 'http://x/one'}\n- {match: 'tool:*', url: 'http://x/{name}/{tag}', firmware: uefi}\n- {match: tool, url: 'http://x/plain'}\n",
        )
        .unwrap();
        for (name, url) in
            [("tool:1", "http://x/one"), ("tool:2", "http://x/tool/2"), ("a", "http://x/plain")]
        {
            assert_eq!(table.resolve(name).map(|image| image.url).as_deref(), Some(url), "{name}");
        }
        assert_eq!(table.resolve("tool:2").unwrap().firmware.as_deref(), Some("uefi"));
    }

    #[test]
    fn bad_tables_are_refused_and_an_empty_one_is_legal() {
        assert!(ImageTable::parse("").unwrap().resolve("debian").is_none());
        for bad in [
            "aliases: {a: b, b: a}",
            "aliases: {a: b, b: c, c: d, d: e}",
            "images: [{match: x, url: 'not a url'}]",
            "images: [{match: x, url: 'http://x/', latest: {url: 'http://x/', pattern: '('}}]",
            "images: [{match: x, url: 'http://x/', colour: red}]",
            "unknown: 1",
        ] {
            assert!(ImageTable::parse(bad).is_err(), "{bad}");
        }
    }
}
