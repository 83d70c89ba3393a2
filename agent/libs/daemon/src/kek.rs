//! The key-encryption key: with it the secrets that make tokens stand in the database, and pass the gateway, as
//! ciphertext only (`security.md` §14). The nodes that run `sf-api` have it, and nobody else.

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use rand::RngCore;
use sf_config::{NodeConfig, WRAPPED, is_wrapped, read_secret};
use sf_model::Secret;
use sha2::{Digest, Sha256};

/// Name of the systemd credential.
const CREDENTIAL: &str = "kek";
/// Bytes of the key.
const LENGTH: usize = 32;

/// Why a wrapped value cannot be read, or the key cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KekError {
    /// The text is not a key.
    #[error("the key-encryption key must be 32 bytes in base64; make one with: openssl rand -base64 32")]
    Malformed,
    /// Nothing of that size can be encrypted in one piece.
    #[error("{0} is too long to be encrypted")]
    TooLong(String),
    /// There is a wrapped value and no key.
    #[error(
        "{0} is encrypted in the database: give this node the key-encryption key, as credential `kek` or by kek_file"
    )]
    Missing(String),
    /// The value was wrapped with another key, or changed.
    #[error("{0} was encrypted with another key-encryption key than the one of this node, or was altered")]
    Other(String),
}

/// A key-encryption key.
pub struct Kek {
    key: LessSafeKey,
    id: String,
}

impl Kek {
    /// Parses a key.
    ///
    /// # Errors
    /// [`KekError::Malformed`].
    pub fn parse(text: &str) -> Result<Self, KekError> {
        let bytes = BASE64_STANDARD.decode(text.trim()).map_err(|_| KekError::Malformed)?;
        let bytes = Secret::new(bytes);
        if bytes.expose().len() != LENGTH {
            return Err(KekError::Malformed);
        }
        let key = UnboundKey::new(&AES_256_GCM, bytes.expose()).map_err(|_| KekError::Malformed)?;
        // Tells keys apart and says nothing about them.
        let id = Sha256::new().chain_update(b"sf-kek-id").chain_update(bytes.expose()).finalize();
        Ok(Self { key: LessSafeKey::new(key), id: hex::encode(id).chars().take(8).collect() })
    }

    /// The key of this node: the systemd credential `kek`, else `kek_file`; `None` when it has none.
    ///
    /// # Errors
    /// The file cannot be read, or holds no key.
    pub fn of_node(config: &NodeConfig) -> Result<Option<Self>, crate::DaemonError> {
        let text = read_secret(CREDENTIAL, config.kek_file.as_deref())
            .map_err(|problem| sf_config::ConfigError::from(vec![problem]))?;
        Ok(text.map(|text| Self::parse(text.expose())).transpose()?)
    }

    /// The ciphertext of a value, bound to the name of its key.
    ///
    /// # Errors
    /// [`KekError::TooLong`].
    pub fn wrap(&self, name: &str, value: &str) -> Result<String, KekError> {
        let mut nonce = [0; NONCE_LEN];
        rand::rng().fill_bytes(&mut nonce);
        let mut sealed = value.as_bytes().to_vec();
        let associated = self.associated(name);
        self.key
            .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), associated, &mut sealed)
            .map_err(|_| KekError::TooLong(name.to_owned()))?;
        let text = BASE64_STANDARD.encode([nonce.as_slice(), &sealed].concat());
        Ok(format!("{WRAPPED}{}:{text}", self.id))
    }

    /// The value of a ciphertext.
    ///
    /// # Errors
    /// [`KekError::Other`].
    pub fn unwrap(&self, name: &str, text: &str) -> Result<Secret<String>, KekError> {
        let other = || KekError::Other(name.to_owned());
        let (id, body) =
            text.strip_prefix(WRAPPED).and_then(|rest| rest.split_once(':')).ok_or_else(other)?;
        let bytes = BASE64_STANDARD.decode(body).map_err(|_| other())?;
        let (nonce, sealed) = bytes.split_at_checked(NONCE_LEN).ok_or_else(other)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| other())?;
        if id != self.id {
            return Err(other());
        }
        let mut sealed = sealed.to_vec();
        let plain = self.key.open_in_place(nonce, self.associated(name), &mut sealed).map_err(|_| other())?;
        String::from_utf8(plain.to_vec()).map(Secret::new).map_err(|_| other())
    }

    fn associated(&self, name: &str) -> Aad<Vec<u8>> {
        Aad::from(format!("{}:{}", name.to_ascii_uppercase(), self.id).into_bytes())
    }
}

/// A value as stored, in the open: unwrapped if it is wrapped.
///
/// # Errors
/// See [`KekError`].
pub(crate) fn open(kek: Option<&Kek>, name: &str, text: &str) -> Result<String, KekError> {
    if !is_wrapped(text) {
        return Ok(text.to_owned());
    }
    let kek = kek.ok_or_else(|| KekError::Missing(name.to_ascii_lowercase()))?;
    kek.unwrap(name, text).map(|value| value.expose().clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kek(byte: u8) -> Kek {
        Kek::parse(&BASE64_STANDARD.encode([byte; LENGTH])).unwrap()
    }

    #[test]
    fn a_value_comes_back_by_its_key_and_name_only() {
        let text = kek(1).wrap("AUTH_SECRET_SEED", "a seed").unwrap();
        assert!(is_wrapped(&text) && !text.contains("a seed"));
        assert_ne!(text, kek(1).wrap("AUTH_SECRET_SEED", "a seed").unwrap(), "never twice the same");
        assert_eq!(open(Some(&kek(1)), "auth_secret_seed", &text).unwrap(), "a seed");
        assert!(matches!(open(None, "AUTH_SECRET_SEED", &text), Err(KekError::Missing(_))));
        assert!(matches!(open(Some(&kek(2)), "AUTH_SECRET_SEED", &text), Err(KekError::Other(_))));
        assert!(matches!(open(Some(&kek(1)), "OTHER_SECRET", &text), Err(KekError::Other(_))));
        let mut altered = text.clone().into_bytes();
        let last = altered.len() - 5;
        altered[last] = if altered[last] == b'A' { b'B' } else { b'A' };
        let altered = String::from_utf8(altered).unwrap();
        assert!(matches!(open(Some(&kek(1)), "AUTH_SECRET_SEED", &altered), Err(KekError::Other(_))));
        assert_eq!(open(None, "AUTH_SECRET_SEED", "in the open").unwrap(), "in the open");
    }

    #[test]
    fn a_key_is_thirty_two_bytes() {
        for bad in ["", "short", "AAAA", &BASE64_STANDARD.encode([0; 33])] {
            assert_eq!(Kek::parse(bad).err(), Some(KekError::Malformed), "{bad}");
        }
    }
}
