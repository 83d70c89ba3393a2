//! Blobs: immutable runs of bytes, where their copies are, and who may reach them (`storage.md` §3–§5, §11.6, §19).

mod commit;
mod dedup;
mod hashes;
mod leases;
mod open;
mod reach;
mod reap;
mod replicas;
mod reserve;
mod transfer;
mod view;

pub use commit::commit;
pub use hashes::{record_hash, request_hash};
pub use leases::renew_leases;
pub use open::open_for_read;
pub use reach::{is_owned, is_reachable, require_reachable};
pub use reap::{BATCH as REAP_BATCH, Garbage, forget_node, hard_delete, reap};
pub use replicas::{check_blobs, list_of_node, report_scan};
pub use reserve::{abort, reserve};
pub(crate) use reserve::{begin, discard};
pub use transfer::{acquire as acquire_transfer, finish as finish_transfer};
pub use view::{batch_get, find_by_hash, get, list, load};

use std::time::Duration;

/// Schema version of the view.
const VERSION: u32 = 1;
/// A writer that has not renewed for this long has lost its blob.
const WRITER_LEASE: Duration = Duration::from_secs(60);
/// Time after a lapsed lease, and between producer and reference, before a blob is reaped.
const GRACE: Duration = Duration::from_secs(300);
/// Algorithms the API knows, with the length of their values in hexadecimal digits.
pub const ALGORITHMS: [(&str, usize); 5] =
    [("sha1", 40), ("sha256", 64), ("sha512", 128), ("xxh128", 32), ("blake3", 64)];

/// Whether a hash is spelled as its algorithm demands.
pub(crate) fn well_formed(algorithm: &str, value: &str) -> bool {
    ALGORITHMS.iter().any(|(name, length)| *name == algorithm && value.len() == *length)
        && value.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_lower_case_and_of_their_length() {
        assert!(well_formed("sha1", &"a".repeat(40)));
        for (algorithm, value) in [
            ("sha1", "a".repeat(39)),
            ("sha1", "A".repeat(40)),
            ("md5", "a".repeat(32)),
            ("sha1", "g".repeat(40)),
        ] {
            assert!(!well_formed(algorithm, &value), "{algorithm} {value}");
        }
    }
}
