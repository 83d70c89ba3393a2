//! Who asks.

use sf_model::access::{SYSTEM_NAMESPACE, Scope, granted};
use sf_protos::common;

/// An authenticated caller.
#[derive(Debug, Clone)]
pub struct Caller {
    /// Namespace of the token.
    pub namespace: String,
    /// Name of the key the token was issued for.
    pub key_name: String,
    /// What the key may do.
    pub scopes: Vec<Scope>,
    /// When the key expires, seconds since 1970.
    pub key_expires_at: Option<i64>,
    /// Namespaces that trust the caller.
    pub trusted_by: Vec<String>,
}

impl Caller {
    /// Whether the caller is the administrator.
    pub fn is_system(&self) -> bool {
        self.namespace == SYSTEM_NAMESPACE
    }

    /// Whether a scope of the key covers `required`.
    pub fn may(&self, required: Scope) -> bool {
        granted(&self.scopes, &self.namespace, required)
    }

    /// Whether the caller owns what is in `namespace`.
    pub fn owns(&self, namespace: &str) -> bool {
        self.is_system() || self.namespace == namespace
    }

    /// Whether the caller may create instances and artifacts in `namespace`.
    pub fn may_create_in(&self, namespace: &str) -> bool {
        self.owns(namespace) || self.trusted_by.iter().any(|trusting| trusting == namespace)
    }

    /// As the database tier reads it.
    pub fn to_wire(&self) -> common::Caller {
        common::Caller { namespace: self.namespace.clone() }
    }
}

#[cfg(test)]
impl Caller {
    pub(crate) fn sample(namespace: &str, scopes: &[&str]) -> Self {
        Self {
            namespace: namespace.to_owned(),
            key_name: "k".to_owned(),
            scopes: scopes.iter().filter_map(|scope| scope.parse().ok()).collect(),
            key_expires_at: None,
            trusted_by: vec!["friend".to_owned()],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trust_lets_create_and_nothing_more() {
        let caller = Caller::sample("t1", &["*"]);
        assert!(caller.may_create_in("t1") && caller.may_create_in("friend") && !caller.may_create_in("t2"));
        assert!(caller.owns("t1") && !caller.owns("friend"));
        assert!(Caller::sample("system", &["*"]).owns("t2"));
    }
}
