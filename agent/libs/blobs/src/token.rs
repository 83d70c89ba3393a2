//! The capability that opens the data plane: a short-lived statement, signed with a key of the cluster, of who may do
//! what to which object. Sources check it offline. Tokens are never logged.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, TimeDelta, Utc};
use hkdf::Hkdf;
use hmac::{Hmac, Mac};
use serde::{Deserialize, Serialize};
use sf_model::secret::{Secret, Wipe};
use sf_model::{BlobId, NodeId, TransferId, UploadId};
use sha2::Sha256;

/// How long after its making a token may start a request. A running stream is not cut.
pub const TOKEN_LIFETIME: TimeDelta = TimeDelta::seconds(60);

const KEY_LABEL: &[u8] = b"sf-transfer-v1";
const VERSION: u8 = 1;

/// What a token is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TokenPurpose {
    /// Read bytes for a client of the API.
    Read,
    /// Read bytes for a new replica.
    Pull,
    /// Create, append to, cut, commit or discard an upload.
    Upload,
}

/// The one object a token opens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TokenObject {
    /// A blob.
    Blob(BlobId),
    /// An upload.
    Upload(UploadId),
}

/// What a token says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Claims {
    version: u8,
    /// The object.
    pub object: TokenObject,
    /// The node that may serve; any when absent.
    pub source: Option<NodeId>,
    /// The node that asks.
    pub destination: NodeId,
    /// What for.
    pub purpose: TokenPurpose,
    /// Seconds since 1970 after which no request may start.
    expires: i64,
    /// The grant it belongs to, if any.
    pub transfer: Option<TransferId>,
}

impl Claims {
    /// A statement that holds from now for [`TOKEN_LIFETIME`].
    pub fn new(
        object: TokenObject,
        purpose: TokenPurpose,
        source: Option<NodeId>,
        destination: NodeId,
        now: DateTime<Utc>,
    ) -> Self {
        let expires = (now + TOKEN_LIFETIME).timestamp();
        Self { version: VERSION, object, source, destination, purpose, expires, transfer: None }
    }
}

/// Why a token does not open anything. The text names no part of the token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// Not of our form.
    #[error("the transfer token is malformed")]
    Malformed,
    /// Not made with a key of this cluster.
    #[error("the transfer token has a wrong signature")]
    Signature,
    /// Too old.
    #[error("the transfer token has expired")]
    Expired,
    /// For something else.
    #[error("the transfer token is for another object, node or purpose")]
    Elsewhere,
}

struct KeyBytes([u8; 32]);

impl Wipe for KeyBytes {
    fn wipe(&mut self) {
        self.0 = [0; 32];
        std::hint::black_box(&self.0);
    }
}

/// The keys tokens are made and checked with: the newest first.
pub struct TransferKeys(Vec<Secret<KeyBytes>>);

impl fmt::Debug for TransferKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TransferKeys({})", self.0.len())
    }
}

impl TransferKeys {
    /// Derives one key from each secret of the cluster. The first signs; all of them are accepted, so that a rotation
    /// is not noticed.
    pub fn derive<'a>(secrets: impl IntoIterator<Item = &'a [u8]>) -> Self {
        let derive = |secret: &[u8]| {
            let mut key = [0; 32];
            // 32 bytes are within what HKDF can give, so this cannot fail.
            let _ = Hkdf::<Sha256>::new(None, secret).expand(KEY_LABEL, &mut key);
            Secret::new(KeyBytes(key))
        };
        Self(secrets.into_iter().map(derive).collect())
    }

    /// The keys that follow from the secrets of the cluster (`TRANSFER_SECRET`), the one to sign with first.
    pub fn from_secrets(secrets: &[Secret<String>]) -> Self {
        Self::derive(secrets.iter().map(|secret| secret.expose().as_bytes()))
    }

    /// Makes a token. `None` when there is no key.
    pub fn sign(&self, claims: &Claims) -> Option<String> {
        let payload = URL_SAFE_NO_PAD.encode(serde_json::to_vec(claims).ok()?);
        let tag = mac(self.0.first()?, &payload)?.finalize().into_bytes();
        Some(format!("{payload}.{}", URL_SAFE_NO_PAD.encode(tag)))
    }

    /// Checks a token that was presented to `here` for `object` and one of `purposes`.
    ///
    /// # Errors
    /// See [`TokenError`].
    pub fn verify(
        &self,
        token: &str,
        here: NodeId,
        object: TokenObject,
        purposes: &[TokenPurpose],
        now: DateTime<Utc>,
    ) -> Result<Claims, TokenError> {
        let (payload, tag) = token.split_once('.').ok_or(TokenError::Malformed)?;
        let tag = URL_SAFE_NO_PAD.decode(tag).map_err(|_| TokenError::Malformed)?;
        // Comparison is in constant time, and every key is tried before the payload is looked at.
        let signed =
            self.0.iter().any(|key| mac(key, payload).is_some_and(|mac| mac.verify_slice(&tag).is_ok()));
        if !signed {
            return Err(TokenError::Signature);
        }
        let payload = URL_SAFE_NO_PAD.decode(payload).map_err(|_| TokenError::Malformed)?;
        let claims: Claims = serde_json::from_slice(&payload).map_err(|_| TokenError::Malformed)?;
        if claims.version != VERSION {
            return Err(TokenError::Malformed);
        }
        if now.timestamp() > claims.expires {
            return Err(TokenError::Expired);
        }
        let matches = claims.object == object
            && purposes.contains(&claims.purpose)
            && claims.source.is_none_or(|source| source == here);
        if matches { Ok(claims) } else { Err(TokenError::Elsewhere) }
    }
}

fn mac(key: &Secret<KeyBytes>, payload: &str) -> Option<Hmac<Sha256>> {
    let mut mac = Hmac::<Sha256>::new_from_slice(&key.expose().0).ok()?;
    mac.update(payload.as_bytes());
    Some(mac)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> DateTime<Utc> {
        DateTime::from_timestamp(1_700_000_000, 0).unwrap()
    }

    #[test]
    fn a_token_opens_exactly_what_it_names() {
        let keys = TransferKeys::derive([b"seed".as_slice()]);
        let (here, there) = (NodeId::random(), NodeId::random());
        let blob = TokenObject::Blob(BlobId::random());
        let claims = Claims::new(blob, TokenPurpose::Read, Some(here), there, now());
        let token = keys.sign(&claims).unwrap();
        let verify = |keys: &TransferKeys, token: &str, node, object, purpose, later| {
            keys.verify(token, node, object, &[purpose], now() + TimeDelta::seconds(later))
        };
        assert_eq!(verify(&keys, &token, here, blob, TokenPurpose::Read, 60), Ok(claims));
        assert_eq!(verify(&keys, &token, here, blob, TokenPurpose::Read, 61), Err(TokenError::Expired));
        assert_eq!(verify(&keys, &token, there, blob, TokenPurpose::Read, 0), Err(TokenError::Elsewhere));
        assert_eq!(verify(&keys, &token, here, blob, TokenPurpose::Upload, 0), Err(TokenError::Elsewhere));
        let other = TokenObject::Blob(BlobId::random());
        assert_eq!(verify(&keys, &token, here, other, TokenPurpose::Read, 0), Err(TokenError::Elsewhere));
        let foreign = TransferKeys::derive([b"another".as_slice()]);
        assert_eq!(verify(&foreign, &token, here, blob, TokenPurpose::Read, 0), Err(TokenError::Signature));
        let rotated = TransferKeys::derive([b"another".as_slice(), b"seed"]);
        assert!(verify(&rotated, &token, here, blob, TokenPurpose::Read, 0).is_ok());
    }

    #[test]
    fn every_altered_token_is_refused() {
        let keys = TransferKeys::derive([b"seed".as_slice()]);
        let here = NodeId::random();
        let object = TokenObject::Upload(UploadId::random());
        let token = keys.sign(&Claims::new(object, TokenPurpose::Upload, None, here, now())).unwrap();
        for at in 0..token.len() {
            let mut bytes = token.clone().into_bytes();
            bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
            let altered = String::from_utf8(bytes).unwrap();
            // The last character of a base64 text may carry bits that are not used; such a text is malformed.
            assert!(keys.verify(&altered, here, object, &[TokenPurpose::Upload], now()).is_err(), "at {at}");
            assert!(
                keys.verify(&token[..at], here, object, &[TokenPurpose::Upload], now()).is_err(),
                "cut at {at}"
            );
        }
    }

    #[test]
    fn keys_are_never_shown() {
        assert_eq!(format!("{:?}", TransferKeys::derive([b"seed".as_slice()])), "TransferKeys(1)");
    }
}
