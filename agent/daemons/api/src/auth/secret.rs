//! Generated secrets: `sfk_`, 32 random characters, and a checksum that tells a mistyped one without any look-up.

use rand::Rng;
use sha2::{Digest, Sha256};

const PREFIX: &str = "sfk_";
const SESSION_PREFIX: &str = "sfs_";
const RANDOM: usize = 32;
const CHECK: usize = 6;
const ALPHABET: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// What a presented secret looks like.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Presented {
    /// A generated one with the hex SHA-256 by which it is found.
    Generated(String),
    /// Has the prefix of a generated one but cannot be one: refused without hashing.
    Mistyped,
    /// Chosen by a user.
    Supplied,
}

impl Presented {
    /// Looks at a secret.
    pub fn look(secret: &str) -> Self {
        if !has_reserved_prefix(secret) {
            return Self::Supplied;
        }
        let body = secret.len().checked_sub(CHECK).and_then(|end| secret.split_at_checked(end));
        match body {
            Some((body, check)) if body.len() == PREFIX.len() + RANDOM && checksum(body) == check => {
                Self::Generated(digest(secret))
            }
            _ => Self::Mistyped,
        }
    }
}

/// Whether users may not choose a secret that begins so.
pub fn has_reserved_prefix(secret: &str) -> bool {
    secret.starts_with(PREFIX) || secret.starts_with(SESSION_PREFIX)
}

/// A new secret.
pub fn generate() -> String {
    let mut rng = rand::rng();
    let random = (0..RANDOM).map(|_| letter(rng.random_range(0..ALPHABET.len())));
    let body: String = PREFIX.chars().chain(random).collect();
    let check = checksum(&body);
    body + &check
}

/// Hex SHA-256: what is stored of a generated secret.
pub fn digest(secret: &str) -> String {
    hex::encode(Sha256::digest(secret.as_bytes()))
}

/// 128 random bits in hex, the nonce of a key.
pub fn nonce() -> String {
    hex::encode(rand::rng().random::<[u8; 16]>())
}

fn checksum(body: &str) -> String {
    let mut rest = u64::from(crc32fast::hash(body.as_bytes()));
    let mut letters = Vec::with_capacity(CHECK);
    for _ in 0..CHECK {
        letters.push(letter(usize::try_from(rest % 62).unwrap_or_default()));
        rest /= 62;
    }
    letters.into_iter().rev().collect()
}

fn letter(index: usize) -> char {
    ALPHABET.get(index).copied().map_or('0', char::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn generated_secrets_are_recognised() {
        let secret = generate();
        assert_eq!(secret.len(), 42);
        assert_eq!(Presented::look(&secret), Presented::Generated(digest(&secret)));
        assert_ne!(generate(), secret);
    }

    #[test]
    fn typing_errors_are_found_without_a_lookup() {
        let secret = generate();
        let wrong = if secret.ends_with('a') { 'b' } else { 'a' };
        let mut typo = secret.clone();
        typo.pop();
        typo.push(wrong);
        for bad in [typo.as_str(), "sfk_", "sfk_é", "sfs_x", &format!("{secret}0")] {
            assert_eq!(Presented::look(bad), Presented::Mistyped, "{bad}");
        }
        assert_eq!(Presented::look("hunter22"), Presented::Supplied);
    }
}
