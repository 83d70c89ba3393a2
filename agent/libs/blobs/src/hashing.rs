//! The hash functions of the cluster and running states of several of them.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use sha1::Digest;

/// A hash function that blobs are known by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Algorithm {
    /// Integrity inside the cluster: transfers, verification, resumption, deduplication.
    Blake3,
    /// What clients compare with.
    Sha512,
    /// What image vendors publish.
    Sha256,
    /// For the checksum route only.
    Sha1,
    /// For the checksum route only; not cryptographic.
    Xxh128,
}

impl Algorithm {
    /// Every function the API knows.
    pub const ALL: [Algorithm; 5] = [Self::Blake3, Self::Sha512, Self::Sha256, Self::Sha1, Self::Xxh128];

    /// Those computed while bytes arrive from outside.
    pub const INLINE: [Algorithm; 3] = [Self::Blake3, Self::Sha512, Self::Sha256];

    /// The name used in the API and the database.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Blake3 => "blake3",
            Self::Sha512 => "sha512",
            Self::Sha256 => "sha256",
            Self::Sha1 => "sha1",
            Self::Xxh128 => "xxh128",
        }
    }

    /// Number of hexadecimal digits of a value.
    pub const fn hex_length(self) -> usize {
        match self {
            Self::Sha512 => 128,
            Self::Blake3 | Self::Sha256 => 64,
            Self::Sha1 => 40,
            Self::Xxh128 => 32,
        }
    }

    /// The canonical (lower-case) spelling of a value, or `None` when it is not a value of this function.
    pub fn normalise(self, value: &str) -> Option<String> {
        let well_formed =
            value.len() == self.hex_length() && value.bytes().all(|byte| byte.is_ascii_hexdigit());
        well_formed.then(|| value.to_ascii_lowercase())
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The text names no known hash function.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown hash algorithm: use one of sha1, sha256, sha512, xxh128, blake3")]
pub struct UnknownAlgorithm;

impl FromStr for Algorithm {
    type Err = UnknownAlgorithm;

    fn from_str(text: &str) -> Result<Self, UnknownAlgorithm> {
        Self::ALL.into_iter().find(|algorithm| algorithm.as_str() == text).ok_or(UnknownAlgorithm)
    }
}

/// Finished values in lower-case hexadecimal.
pub type Digests = BTreeMap<Algorithm, String>;

/// The running state of one function. Cloning it freezes a point to come back to.
#[derive(Clone)]
pub enum Hasher {
    /// BLAKE3.
    Blake3(Box<blake3::Hasher>),
    /// SHA-512.
    Sha512(sha2::Sha512),
    /// SHA-256.
    Sha256(sha2::Sha256),
    /// SHA-1.
    Sha1(sha1::Sha1),
    /// XXH3 with 128 bits.
    Xxh128(Box<xxhash_rust::xxh3::Xxh3>),
}

impl Hasher {
    /// The state before the first byte.
    pub fn new(algorithm: Algorithm) -> Self {
        match algorithm {
            Algorithm::Blake3 => Self::Blake3(Box::default()),
            Algorithm::Sha512 => Self::Sha512(sha2::Sha512::new()),
            Algorithm::Sha256 => Self::Sha256(sha2::Sha256::new()),
            Algorithm::Sha1 => Self::Sha1(sha1::Sha1::new()),
            Algorithm::Xxh128 => Self::Xxh128(Box::default()),
        }
    }

    /// Which function this is.
    pub const fn algorithm(&self) -> Algorithm {
        match self {
            Self::Blake3(_) => Algorithm::Blake3,
            Self::Sha512(_) => Algorithm::Sha512,
            Self::Sha256(_) => Algorithm::Sha256,
            Self::Sha1(_) => Algorithm::Sha1,
            Self::Xxh128(_) => Algorithm::Xxh128,
        }
    }

    /// Takes the next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Blake3(state) => {
                state.update(bytes);
            }
            Self::Sha512(state) => state.update(bytes),
            Self::Sha256(state) => state.update(bytes),
            Self::Sha1(state) => state.update(bytes),
            Self::Xxh128(state) => state.update(bytes),
        }
    }

    /// The value over everything taken so far.
    pub fn finish(&self) -> String {
        match self {
            Self::Blake3(state) => state.finalize().to_hex().to_string(),
            Self::Sha512(state) => hex::encode(state.clone().finalize()),
            Self::Sha256(state) => hex::encode(state.clone().finalize()),
            Self::Sha1(state) => hex::encode(state.clone().finalize()),
            Self::Xxh128(state) => format!("{:032x}", state.digest128()),
        }
    }
}

/// Running states of several functions over the same bytes.
#[derive(Clone)]
pub struct HasherSet(Vec<Hasher>);

/// Below this many bytes a thread costs more than it saves.
const PARALLEL_FROM: usize = 128 * 1024;

impl HasherSet {
    /// The states before the first byte.
    pub fn new(algorithms: &[Algorithm]) -> Self {
        Self(algorithms.iter().copied().map(Hasher::new).collect())
    }

    /// Takes the next bytes; large pieces are hashed by one thread per function, so that the time is that of the
    /// slowest function and not of the sum.
    pub fn update(&mut self, bytes: &[u8]) {
        if bytes.len() < PARALLEL_FROM || self.0.len() < 2 {
            self.0.iter_mut().for_each(|hasher| hasher.update(bytes));
            return;
        }
        std::thread::scope(|scope| {
            for hasher in &mut self.0 {
                scope.spawn(move || hasher.update(bytes));
            }
        });
    }

    /// The values over everything taken so far.
    pub fn finish(&self) -> Digests {
        self.0.iter().map(|hasher| (hasher.algorithm(), hasher.finish())).collect()
    }

    /// The separate states, to be driven by separate threads.
    pub fn into_inner(self) -> Vec<Hasher> {
        self.0
    }
}

impl FromIterator<Hasher> for HasherSet {
    fn from_iter<I: IntoIterator<Item = Hasher>>(hashers: I) -> Self {
        Self(hashers.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[rstest::rstest]
    #[case(Algorithm::Blake3, "6437b3ac38465133ffb63b75273a8db548c558465d79db03fd359c6cd5bd9d85")]
    #[case(Algorithm::Sha256, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad")]
    #[case(Algorithm::Sha1, "a9993e364706816aba3e25717850c26c9cd0d89d")]
    #[case(Algorithm::Xxh128, "06b05ab6733a618578af5f94892f3950")]
    fn known_values_of_abc(#[case] algorithm: Algorithm, #[case] expected: &str) {
        let mut set = HasherSet::new(&[algorithm]);
        set.update(b"a");
        set.update(b"bc");
        assert_eq!(set.finish().get(&algorithm).map(String::as_str), Some(expected));
        assert_eq!(expected.len(), algorithm.hex_length());
    }

    #[test]
    fn threads_change_no_value() {
        let bytes: Vec<u8> = (0..PARALLEL_FROM * 2).map(|at| (at % 251) as u8).collect();
        let mut whole = HasherSet::new(&Algorithm::ALL);
        whole.update(&bytes);
        let mut pieces = HasherSet::new(&Algorithm::ALL);
        bytes.chunks(1000).for_each(|piece| pieces.update(piece));
        assert_eq!(whole.finish(), pieces.finish());
    }

    #[test]
    fn values_are_checked_for_shape() {
        assert_eq!(
            Algorithm::Sha1.normalise("A9993E364706816ABA3E25717850C26C9CD0D89D").as_deref(),
            Some("a9993e364706816aba3e25717850c26c9cd0d89d")
        );
        assert_eq!(Algorithm::Sha1.normalise("zz993e364706816aba3e25717850c26c9cd0d89d"), None);
        assert_eq!(Algorithm::Sha256.normalise("abc"), None);
        assert_eq!("md5".parse::<Algorithm>(), Err(UnknownAlgorithm));
    }
}
