//! Namespaces, scopes and who a caller is.

use std::fmt;
use std::str::FromStr;

use strum::{Display, EnumIter, EnumString, IntoStaticStr};

/// The administrator's namespace.
pub const SYSTEM_NAMESPACE: &str = "system";

/// Families of routes a scope can name (`security.md` §5.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Display, EnumString, EnumIter, IntoStaticStr)]
#[strum(serialize_all = "lowercase")]
#[expect(missing_docs, reason = "the names are the vocabulary")]
pub enum Family {
    Admin,
    AgentOperation,
    Artifact,
    Auth,
    Blob,
    ClusterOperation,
    Instance,
    Interface,
    Issuer,
    Label,
    Network,
    Node,
    Rule,
    Upload,
}

/// What is done to a family.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Display, EnumString, EnumIter, IntoStaticStr)]
#[strum(serialize_all = "lowercase")]
pub enum Verb {
    /// GET and HEAD.
    Read,
    /// POST, PUT and PATCH.
    Write,
    /// DELETE.
    Delete,
    /// Agent put, get and execute.
    Execute,
    /// Console data, screenshot and graphical consoles.
    Console,
}

/// One scope of a key: `<family>.<verb>`, `<family>.*`, `*` or `admin`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scope {
    /// Everything with a dot; `admin` too, but only for keys of `system`.
    Everything,
    /// Cluster administration.
    Admin,
    /// Every verb of a family.
    Family(Family),
    /// One verb of a family.
    One(Family, Verb),
}

/// A text that is not a scope.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a scope: expected <family>.<verb>, <family>.*, * or admin")]
pub struct ParseScopeError;

impl FromStr for Scope {
    type Err = ParseScopeError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "*" => return Ok(Self::Everything),
            "admin" => return Ok(Self::Admin),
            _ => {}
        }
        let (family, verb) = text.split_once('.').ok_or(ParseScopeError)?;
        let family: Family = family.parse().map_err(|_| ParseScopeError)?;
        if verb == "*" {
            return Ok(Self::Family(family));
        }
        let verb: Verb = verb.parse().map_err(|_| ParseScopeError)?;
        // Execute and console exist for instances alone; elsewhere they would be silent no-ops.
        if matches!(verb, Verb::Execute | Verb::Console) && family != Family::Instance {
            return Err(ParseScopeError);
        }
        Ok(Self::One(family, verb))
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Everything => f.write_str("*"),
            Self::Admin => f.write_str("admin"),
            Self::Family(family) => write!(f, "{family}.*"),
            Self::One(family, verb) => write!(f, "{family}.{verb}"),
        }
    }
}

impl Scope {
    /// Whether a holder of `self` in `namespace` may do what needs `required`.
    pub fn grants(self, namespace: &str, required: Scope) -> bool {
        match (self, required) {
            (Self::Everything, Self::Admin) => namespace == SYSTEM_NAMESPACE,
            (Self::Everything, _) | (Self::Admin, Self::Admin) => true,
            (Self::Family(held), Self::Family(family) | Self::One(family, _)) => held == family,
            (Self::One(..), Self::One(..)) => self == required,
            _ => false,
        }
    }
}

/// Whether any of `held` grants `required` to a caller of `namespace`.
pub fn granted(held: &[Scope], namespace: &str, required: Scope) -> bool {
    held.iter().any(|scope| scope.grants(namespace, required))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scopes_round_trip_and_reject_nonsense() {
        for text in ["*", "admin", "node.*", "instance.read", "instance.console", "clusteroperation.delete"] {
            assert_eq!(text.parse::<Scope>().unwrap().to_string(), text);
        }
        for text in ["", "node", "node.", ".read", "nodegroup.read", "node.execute", "admin.*.x"] {
            assert!(text.parse::<Scope>().is_err(), "{text}");
        }
    }

    #[test]
    fn admin_is_implied_by_everything_only_for_system() {
        assert!(Scope::Everything.grants("system", Scope::Admin));
        assert!(!Scope::Everything.grants("t1", Scope::Admin));
        assert!(!Scope::Family(Family::Admin).grants("system", Scope::Admin));
        assert!(Scope::Family(Family::Node).grants("t1", Scope::One(Family::Node, Verb::Read)));
        assert!(!Scope::One(Family::Node, Verb::Read).grants("t1", Scope::Family(Family::Node)));
    }
}
