//! Artifacts: named, versioned indexes of blobs (`storage.md` §1, §7, §9, §16).

mod base;
mod bases;
mod change;
mod complete;
mod delete;
mod fetch;
mod flight;
mod hold;
mod resolve;
mod versions;
mod view;

pub use bases::resolve_bases;
pub use change::{add_version_call, delete_version, set_max_versions, set_shared};
pub use complete::complete_fetch;
pub use delete::{delete, delete_all, delete_next_of, delete_one, hard_delete};
pub use fetch::{NO_STORE, ensure_for_fetch, fetch_node, request_fetch};
pub use flight::{begin_fetch, renew_flights};
pub(crate) use hold::{Held, NewArtifact, take_for_writing};
pub use resolve::resolve;
pub(crate) use versions::add_version;
pub use view::{get, list, load};

/// Schema version of the view.
const VERSION: u32 = 1;
/// Reason of a refusal to share: answered with 403.
pub const NOT_SHAREABLE: &str = "not-shareable";
/// Reason of a refusal because there is no version with that index: answered with 404.
pub const NO_SUCH_INDEX: &str = "no-such-index";

/// Key of a live artifact: one exists for each namespace, type and source.
fn live_key(namespace: &str, artifact_type: &str, source_url: &str) -> [u8; 32] {
    digest(&[namespace, artifact_type, source_url])
}

/// SHA-256 over parts that cannot run into one another.
fn digest(parts: &[&str]) -> [u8; 32] {
    use sha2::Digest as _;
    let mut hash = sha2::Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part.as_bytes());
    }
    hash.finalize().into()
}

/// Name of an artifact that was given none: the last segment of its source without query, at most 255 characters.
fn default_name(source_url: &str) -> String {
    let path = source_url.split(['?', '#']).next().unwrap_or_default().trim_end_matches('/');
    let last = path.rsplit('/').next().unwrap_or_default();
    let name: String = last.chars().filter(|c| !c.is_control()).take(255).collect();
    if name.is_empty() { "image".to_owned() } else { name }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn live_keys_do_not_run_into_one_another() {
        assert_ne!(live_key("ab", "c", "d"), live_key("a", "bc", "d"));
        assert_eq!(live_key("a", "b", "c"), live_key("a", "b", "c"));
    }

    #[test]
    fn names_come_from_the_last_segment() {
        for (source, name) in [
            ("https://x/y/debian.qcow2?token=1", "debian.qcow2"),
            ("debian:12", "debian:12"),
            ("https://x/y/", "y"),
            ("/", "image"),
        ] {
            assert_eq!(default_name(source), name, "{source}");
        }
    }
}
