//! Access tokens: HS256 JWT with exactly the claims of `security.md` §4.2.

use chrono::{DateTime, Utc};
use hkdf::Hkdf;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use serde::{Deserialize, Serialize};
use sf_config::ClusterConfig;
use sha2::Sha256;
use uuid::Uuid;

/// Longest token that is looked at, bytes.
pub const MAX_TOKEN: usize = 4096;
const AUDIENCE: &str = "sf-api";
const KEY_INFO: &[u8] = b"shakenfist/access-token/v1";
const KID_INFO: &[u8] = b"shakenfist/access-token/v1/kid";
/// Clock difference between API nodes that is allowed for, seconds.
const LEEWAY: u64 = 10;

/// What a token says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claims {
    /// The zone that issued it.
    pub iss: String,
    /// Whom it is for.
    pub aud: String,
    /// Namespace and key name, joined by a colon.
    pub sub: String,
    /// When it was issued, seconds since 1970.
    pub iat: i64,
    /// From when on it is valid.
    pub nbf: i64,
    /// Until when it is valid.
    pub exp: i64,
    /// Its own id.
    pub jti: String,
    /// Always `access`.
    pub r#type: String,
    /// Always false; for tools that decode tokens.
    pub fresh: bool,
    /// The key's nonce: when it changes, the token is dead.
    pub nonce: String,
    /// The key's scopes.
    pub scopes: Vec<String>,
}

impl Claims {
    /// Claims for a key, valid for `minutes` but not beyond the key itself.
    pub fn new(zone: &str, namespace: &str, key: &Subject<'_>, minutes: u64, now: DateTime<Utc>) -> Self {
        let now = now.timestamp();
        let until = now.saturating_add(i64::try_from(minutes.saturating_mul(60)).unwrap_or(i64::MAX));
        Self {
            iss: zone.to_owned(),
            aud: AUDIENCE.to_owned(),
            sub: format!("{namespace}:{}", key.name),
            iat: now,
            nbf: now,
            exp: key.expires_at.map_or(until, |at| at.min(until)),
            jti: Uuid::new_v4().to_string(),
            r#type: "access".to_owned(),
            fresh: false,
            nonce: key.nonce.to_owned(),
            scopes: key.scopes.to_vec(),
        }
    }

    /// Namespace and key name. Namespaces contain no colon, so the first one separates.
    pub fn subject(&self) -> Option<(&str, &str)> {
        self.sub.split_once(':').filter(|(namespace, key)| !namespace.is_empty() && !key.is_empty())
    }
}

/// The key a token is issued for.
#[derive(Debug, Clone, Copy)]
pub struct Subject<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its nonce.
    pub nonce: &'a str,
    /// Its scopes.
    pub scopes: &'a [String],
    /// When it expires, seconds since 1970.
    pub expires_at: Option<i64>,
}

/// Why a token is not accepted, for the log only.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TokenFault {
    /// Not a token of ours.
    #[error("malformed token")]
    Malformed,
    /// No key of ours has this id.
    #[error("unknown signing key")]
    UnknownKey,
    /// Signature, time, audience or issuer do not hold.
    #[error("invalid token: {0}")]
    Invalid(String),
    /// There is no seed to derive keys from.
    #[error("no signing seed is known")]
    NoSeed,
}

struct Key {
    kid: String,
    bytes: [u8; 32],
}

/// Issues and checks tokens with the keys of one moment.
pub struct Signer {
    zone: String,
    /// The first one signs.
    keys: Vec<Key>,
}

impl Signer {
    /// The keys that count now.
    pub fn new(cluster: &ClusterConfig, now: DateTime<Utc>) -> Self {
        let keys = cluster.signing_seeds(now).iter().map(|seed| derive(seed.expose().as_bytes())).collect();
        Self { zone: cluster.zone.clone(), keys }
    }

    /// Signs claims.
    ///
    /// # Errors
    /// There is no key.
    pub fn sign(&self, claims: &Claims) -> Result<String, TokenFault> {
        let key = self.keys.first().ok_or(TokenFault::NoSeed)?;
        let header = Header { kid: Some(key.kid.clone()), ..Header::new(Algorithm::HS256) };
        jsonwebtoken::encode(&header, claims, &EncodingKey::from_secret(&key.bytes))
            .map_err(|error| TokenFault::Invalid(error.to_string()))
    }

    /// Checks a token: form, algorithm, signature, times, audience, issuer, and that no claim is missing.
    ///
    /// # Errors
    /// See [`TokenFault`].
    pub fn verify(&self, token: &str) -> Result<Claims, TokenFault> {
        if token.len() > MAX_TOKEN || token.split('.').count() != 3 {
            return Err(TokenFault::Malformed);
        }
        let header = jsonwebtoken::decode_header(token).map_err(|_| TokenFault::Malformed)?;
        if header.alg != Algorithm::HS256 {
            return Err(TokenFault::Malformed);
        }
        // Keys named inside a token (`jwk`, `jku`, …) are never looked at.
        let key = self.keys.iter().find(|key| header.kid.as_deref() == Some(&key.kid));
        let key = key.ok_or(TokenFault::UnknownKey)?;
        let mut rules = Validation::new(Algorithm::HS256);
        rules.leeway = LEEWAY;
        rules.validate_nbf = true;
        rules.set_audience(&[AUDIENCE]);
        rules.set_issuer(&[&self.zone]);
        rules.set_required_spec_claims(&["exp", "nbf", "aud", "iss", "sub"]);
        let decoded = jsonwebtoken::decode::<Claims>(token, &DecodingKey::from_secret(&key.bytes), &rules)
            .map_err(|error| TokenFault::Invalid(error.to_string()))?;
        if decoded.claims.r#type != "access" || decoded.claims.subject().is_none() {
            return Err(TokenFault::Malformed);
        }
        Ok(decoded.claims)
    }
}

fn derive(seed: &[u8]) -> Key {
    let hkdf = Hkdf::<Sha256>::new(None, seed);
    let (mut bytes, mut kid) = ([0; 32], [0; 4]);
    // Lengths this small are always within what HKDF can give.
    let _ = hkdf.expand(KEY_INFO, &mut bytes);
    let _ = hkdf.expand(KID_INFO, &mut kid);
    Key { kid: hex::encode(kid), bytes }
}

#[cfg(test)]
mod tests {
    use super::*;
    use base64::Engine;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use serde_json::{Value, json};

    fn signer(seed: &str) -> Signer {
        let (cluster, _) =
            ClusterConfig::from_texts([("AUTH_SECRET_SEED", seed), ("ZONE", "zone1")]).unwrap();
        Signer::new(&cluster, Utc::now())
    }

    fn claims(now: DateTime<Utc>) -> Claims {
        let scopes = vec!["*".to_owned()];
        let subject = Subject { name: "a:b", nonce: "n", scopes: &scopes, expires_at: None };
        Claims::new("zone1", "t1", &subject, 15, now)
    }

    /// The token with one claim or header field replaced and signed again with the right key.
    fn forge(signer: &Signer, part: usize, change: impl Fn(&mut Value)) -> String {
        let token = signer.sign(&claims(Utc::now())).unwrap();
        let mut parts: Vec<String> = token.split('.').map(str::to_owned).collect();
        let mut value: Value =
            serde_json::from_slice(&URL_SAFE_NO_PAD.decode(&parts[part]).unwrap()).unwrap();
        change(&mut value);
        parts[part] = URL_SAFE_NO_PAD.encode(value.to_string());
        let signing = format!("{}.{}", parts[0], parts[1]);
        let key = EncodingKey::from_secret(&signer.keys[0].bytes);
        let signature = jsonwebtoken::crypto::sign(signing.as_bytes(), &key, Algorithm::HS256).unwrap();
        format!("{signing}.{signature}")
    }

    #[test]
    fn a_token_comes_back_as_it_was_signed() {
        let signer = signer("seed");
        let signed = claims(Utc::now());
        assert_eq!(signer.verify(&signer.sign(&signed).unwrap()), Ok(signed.clone()));
        assert_eq!(signed.subject(), Some(("t1", "a:b")));
        assert_eq!(signed.exp - signed.iat, 900);
    }

    #[test]
    fn a_token_does_not_outlive_its_key() {
        let now = Utc::now();
        let expires_at = Some(now.timestamp() + 60);
        let subject = Subject { name: "k", nonce: "n", scopes: &[], expires_at };
        assert_eq!(Claims::new("z", "t", &subject, 15, now).exp, now.timestamp() + 60);
    }

    #[test]
    fn every_other_token_is_refused() {
        let ours = signer("seed");
        let good = ours.sign(&claims(Utc::now())).unwrap();
        let old = ours.sign(&claims(Utc::now() - chrono::TimeDelta::seconds(15 * 60 + 11))).unwrap();
        let early = ours.sign(&claims(Utc::now() + chrono::TimeDelta::seconds(60))).unwrap();
        let mut refused = vec![
            ("another seed", signer("other").sign(&claims(Utc::now())).unwrap()),
            ("truncated", good[..good.len() - 1].to_owned()),
            ("two segments", good.rsplit_once('.').unwrap().0.to_owned()),
            ("no signature", format!("{}.", good.rsplit_once('.').unwrap().0)),
            ("expired", old),
            ("not yet", early),
            ("too long", "x".repeat(MAX_TOKEN + 1)),
        ];
        for algorithm in ["none", "HS384", "RS256"] {
            refused.push(("algorithm", forge(&ours, 0, |header| header["alg"] = json!(algorithm))));
        }
        refused.push(("unknown kid", forge(&ours, 0, |header| header["kid"] = json!("00000000"))));
        for claim in ["iss", "aud", "sub", "nbf", "exp", "nonce", "scopes", "jti", "iat", "type"] {
            let without = forge(&ours, 1, |claims| {
                claims.as_object_mut().unwrap().remove(claim);
            });
            refused.push((claim, without));
        }
        for (claim, value) in [
            ("iss", json!("zone2")),
            ("aud", json!("console")),
            ("sub", json!("system")),
            ("scopes", json!(null)),
            ("type", json!("refresh")),
        ] {
            refused.push((claim, forge(&ours, 1, |claims| claims[claim] = value.clone())));
        }
        for (what, token) in refused {
            assert!(ours.verify(&token).is_err(), "{what}");
        }
        assert!(ours.verify(&forge(&ours, 0, |header| header["jku"] = json!("http://x"))).is_ok());
    }
}
