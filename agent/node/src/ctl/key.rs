//! Keys of namespaces as the command line checks and stores them.

use sf_daemon_api::auth::{PasswordPool, Presented, secret};
use sf_gateway::{CallClass, Gateway};
use sf_model::KeyId;
use sf_model::access::SYSTEM_NAMESPACE;
use sf_protos::namespaces::{GetLoginCandidatesRequest, NewKey};

use crate::failure::{Exit, Failure};

/// A new secret in the generated form.
pub(crate) fn generate() -> String {
    secret::generate()
}

/// A key as it is checked and stored: by its digest when it was generated, by a slow hash when somebody chose it.
pub(crate) struct Verifier<'a> {
    key: &'a str,
    digest: Option<String>,
    pool: PasswordPool,
}

impl<'a> Verifier<'a> {
    /// Looks at a key.
    pub(crate) fn of(key: &'a str) -> Result<Self, Failure> {
        let digest = match Presented::look(key) {
            Presented::Generated(digest) => Some(digest),
            Presented::Supplied if (8..=72).contains(&key.len()) => None,
            Presented::Supplied => return Err(refuse("the key must have from 8 to 72 bytes")),
            Presented::Mistyped => {
                return Err(refuse("the key looks generated, but its checksum is wrong: was it cut?"));
            }
        };
        let pool = PasswordPool::new(1).map_err(|error| Failure::new(Exit::Internal, error))?;
        Ok(Self { key, digest, pool })
    }

    /// Whether namespace `system` has this key under this name.
    pub(crate) async fn is_current(&self, gateway: &Gateway, name: &str) -> Result<bool, Failure> {
        let request =
            GetLoginCandidatesRequest { namespace: SYSTEM_NAMESPACE.to_owned(), digest: self.digest.clone() };
        let candidates = gateway.call(CallClass::Background, request).await?.candidates;
        let same: Vec<_> = candidates.into_iter().filter(|candidate| candidate.key_name == name).collect();
        if self.digest.is_some() {
            return Ok(!same.is_empty());
        }
        let verifiers = same.into_iter().map(|candidate| candidate.verifier).collect();
        let found = self.pool.find(self.key.to_owned(), verifiers).await;
        Ok(found.map_err(|error| Failure::new(Exit::Internal, error))?.is_some())
    }

    /// The key as it is stored, with every scope.
    pub(crate) async fn into_key(self, name: &str) -> Result<NewKey, Failure> {
        let (kind, verifier) = match self.digest {
            Some(digest) => ("generated", digest),
            None => {
                let hash = self.pool.hash(self.key.to_owned()).await;
                ("supplied", hash.map_err(|error| Failure::new(Exit::Internal, error))?)
            }
        };
        Ok(NewKey {
            key_uuid: KeyId::random().to_string(),
            key_name: name.to_owned(),
            kind: kind.to_owned(),
            verifier,
            nonce: secret::nonce(),
            scopes: vec!["*".to_owned()],
            expires_at: None,
        })
    }
}

fn refuse(message: &str) -> Failure {
    Failure::say(Exit::Refused, message)
}
