//! From what a caller asks for to what is stored of a key, and the rule that nobody hands out more than he has.

use chrono::Utc;
use prost_types::Timestamp;
use serde_json::Value;
use sf_events::event;
use sf_model::access::Scope;
use sf_model::event::EventType;
use sf_model::{KeyId, ObjectType, name};
use sf_protos::namespaces::NewKey;

use crate::auth::PasswordError;
use crate::auth::secret::{digest, generate, has_reserved_prefix, nonce};
use crate::call::Call;
use crate::caller::Caller;
use crate::error::ApiError;
use crate::params::{Fault, number, string, text_of};

/// Longest secret a user may choose, bytes: what existing clients know.
const MAX_SECRET: usize = 72;

/// A key as asked for. It has no `Debug`: the secret must not be printed.
pub struct KeyWish {
    /// Its name.
    pub name: String,
    /// The secret; generated when absent.
    pub secret: Option<String>,
    /// When it expires, seconds since 1970.
    pub expiry: Option<i64>,
    /// Its scopes; those of the caller when absent.
    pub scopes: Option<Vec<Scope>>,
}

/// A key as made.
pub struct MadeKey {
    /// What is stored.
    pub stored: NewKey,
    /// The secret when it was generated, to be shown once.
    pub generated: Option<String>,
}

impl KeyWish {
    /// A key without expiry and with the scopes of whoever makes it.
    pub fn named(name: String, secret: Option<String>) -> Self {
        Self { name, secret, expiry: None, scopes: None }
    }

    /// Checks the rules and makes verifier and nonce. The act is on record, safe on disk, before it happens.
    ///
    /// # Errors
    /// 403 for reserved names and for more than the caller has; 503 when too much is being hashed.
    pub async fn make(self, call: &Call, namespace: &str) -> Result<MadeKey, ApiError> {
        if name::key_is_reserved(&self.name) {
            return Err(ApiError::forbidden("this key name is reserved"));
        }
        let scopes = self.scopes.unwrap_or_else(|| call.caller.scopes.clone());
        check_escalation(&call.caller, &scopes, self.expiry)?;
        let (kind, verifier, generated) = match self.secret {
            Some(secret) => {
                let hash = call.api.passwords.hash(secret).await.map_err(busy)?;
                ("supplied", hash, None)
            }
            None => {
                let secret = generate();
                ("generated", digest(&secret), Some(secret))
            }
        };
        let entry = event(EventType::Audit, "credential issue requested")
            .object(ObjectType::Namespace, namespace)
            .extra(serde_json::json!({ "key_name": self.name, "kind": kind }));
        call.api.daemon.events.record_durable(entry).await;
        let stored = NewKey {
            key_uuid: KeyId::random().to_string(),
            key_name: self.name,
            kind: kind.to_owned(),
            verifier,
            nonce: nonce(),
            scopes: scopes.iter().map(ToString::to_string).collect(),
            expires_at: self.expiry.map(|seconds| Timestamp { seconds, nanos: 0 }),
        };
        Ok(MadeKey { stored, generated })
    }
}

fn busy(error: PasswordError) -> ApiError {
    match error {
        PasswordError::Busy => ApiError::unavailable("too many keys are being checked, please retry", 1),
        PasswordError::Failed => ApiError::internal(),
    }
}

/// Nobody makes a key that may do more, or lives longer, than his own.
fn check_escalation(caller: &Caller, scopes: &[Scope], expiry: Option<i64>) -> Result<(), ApiError> {
    if let Some(scope) = scopes.iter().find(|scope| !caller.may(**scope)) {
        return Err(ApiError::forbidden("a key may not have scopes that the caller lacks")
            .with("scope", scope.to_string()));
    }
    let outlives = caller.key_expires_at.is_some_and(|own| expiry.is_none_or(|wanted| wanted > own));
    if outlives && !caller.scopes.contains(&Scope::Everything) {
        return Err(ApiError::forbidden("a key may not live longer than the caller's"));
    }
    Ok(())
}

/// The name of a key.
///
/// # Errors
/// Not a key name.
pub fn key_name(value: Value) -> Result<String, Fault> {
    text_of(name::key)(value)
}

/// A secret chosen by a user, of at least so many bytes.
pub fn supplied(least: u32) -> impl Fn(Value) -> Result<String, Fault> {
    let least = usize::try_from(least).unwrap_or(MAX_SECRET);
    move |value| {
        let text = string(value)?;
        if !(least..=MAX_SECRET).contains(&text.len()) {
            return Err(Fault::new(format!("must be {least} to {MAX_SECRET} bytes")));
        }
        if has_reserved_prefix(&text) {
            return Err(Fault::new("must not begin with sfk_ or sfs_"));
        }
        Ok(text)
    }
}

/// A time in the future, seconds since 1970.
///
/// # Errors
/// Not a number, or not in the future.
pub fn expiry(value: Value) -> Result<i64, Fault> {
    let seconds = number(value)?;
    // Beyond the year 9999 neither the database nor anybody else keeps the key.
    let fits = seconds > Utc::now().timestamp() as f64 && seconds < 253_402_300_800.0;
    if fits { Ok(seconds.floor() as i64) } else { Err(Fault::new("must be a time in the future")) }
}

/// One scope.
///
/// # Errors
/// Not in the vocabulary.
pub fn scope(value: Value) -> Result<Scope, Fault> {
    let parsed = string(value)?.parse();
    parsed.map_err(|_| Fault::new("must be <family>.<verb>, <family>.*, * or admin"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn refused(caller: &Caller, scopes: &[&str], expiry: Option<i64>) -> bool {
        let scopes: Vec<Scope> = scopes.iter().map(|scope| scope.parse().unwrap()).collect();
        check_escalation(caller, &scopes, expiry).is_err()
    }

    #[test]
    fn nobody_hands_out_more_than_he_has() {
        let narrow = Caller::sample("t1", &["blob.read", "auth.*"]);
        assert!(!refused(&narrow, &["blob.read"], None));
        for scopes in [&["*"][..], &["blob.*"], &["blob.write"], &["admin"]] {
            assert!(refused(&narrow, scopes, None), "{scopes:?}");
        }
        assert!(!refused(&Caller::sample("t1", &["*"]), &["*"], None));
        assert!(refused(&Caller::sample("t1", &["*"]), &["admin"], None));
        assert!(!refused(&Caller::sample("system", &["*"]), &["admin"], None));
    }

    #[test]
    fn a_key_does_not_outlive_a_mortal_maker() {
        let mortal = Caller { key_expires_at: Some(100), ..Caller::sample("t1", &["auth.*"]) };
        assert!(refused(&mortal, &["auth.read"], None) && refused(&mortal, &["auth.read"], Some(101)));
        assert!(!refused(&mortal, &["auth.read"], Some(100)));
        let full = Caller { key_expires_at: Some(100), ..Caller::sample("t1", &["*"]) };
        assert!(!refused(&full, &["*"], None));
    }

    #[test]
    fn secrets_have_bounds() {
        let check = |text: &str| supplied(8)(json!(text)).is_ok();
        assert!(check("12345678") && check(&"x".repeat(72)));
        assert!(
            !check("1234567") && !check(&"x".repeat(73)) && !check("sfk_12345678") && !check("sfs_12345678")
        );
        assert!(supplied(8)(json!(12345678)).is_err());
        assert!(
            expiry(json!(1)).is_err()
                && expiry(json!("x")).is_err()
                && expiry(json!(4_000_000_000_i64)).is_ok()
        );
    }
}
