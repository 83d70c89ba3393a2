//! Who sees what, and which object a reference means (`rest-api.md` §1.5 and §1.10, `security.md` §2).
//!
//! Every class of visibility is one predicate here; lists and single reads append the same text.

use sf_model::ObjectType;
use sf_model::access::SYSTEM_NAMESPACE;
use sf_model::id::parse_hyphenated;
use sf_protos::common::{Caller, Selector};
use uuid::Uuid;

use crate::error::{StoreError, StoreResult};
use crate::sql::{Sql, sql};

/// Reason of a refusal because a name means several objects; the detail `candidates` lists them.
pub const AMBIGUOUS: &str = "ambiguous-reference";
/// Reason of a refusal because the object exists but is not ready yet: the one case for status 406.
pub const NOT_READY: &str = "not-ready";

/// The namespace on whose behalf something is read or changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Viewer(String);

impl Viewer {
    /// The caller of a request.
    ///
    /// # Errors
    /// The request names none.
    pub fn new(caller: Option<&Caller>) -> StoreResult<Self> {
        match caller {
            Some(caller) if !caller.namespace.is_empty() => Ok(Self(caller.namespace.clone())),
            _ => Err(StoreError::invalid("caller: required")),
        }
    }

    /// A known namespace.
    pub fn of(namespace: &str) -> Self {
        Self(namespace.to_owned())
    }

    /// The administrator.
    pub fn system() -> Self {
        Self::of(SYSTEM_NAMESPACE)
    }

    /// The namespace.
    pub fn namespace(&self) -> &str {
        &self.0
    }

    /// Whether the caller passes every test of ownership.
    pub fn is_system(&self) -> bool {
        self.0 == SYSTEM_NAMESPACE
    }

    /// Whether an object of `namespace` is the caller's to change.
    pub fn owns(&self, namespace: &str) -> bool {
        self.is_system() || self.0 == namespace
    }

    /// Class O: own, or everything for `system`. `column` holds the namespace.
    pub fn owned(&self, column: &str) -> Sql {
        if self.is_system() { sql("TRUE") } else { sql(format!("{column} = ?")).bind(self.namespace()) }
    }

    /// Class NT: own, or a namespace that trusts the caller.
    pub fn trusted(&self, column: &str) -> Sql {
        if self.is_system() {
            return sql("TRUE");
        }
        sql(format!(
            "({column} = ? OR EXISTS (SELECT 1 FROM namespace_trusts nt \
             WHERE nt.namespace = {column} AND nt.trusted = ?))"
        ))
        .bind(self.namespace())
        .bind(self.namespace())
    }

    /// Class R: artifacts that are own, of a trusting namespace, or shared.
    pub fn readable_artifact(&self, alias: &str) -> Sql {
        if self.is_system() {
            return sql("TRUE");
        }
        sql(format!("({alias}.shared OR ")).append(self.trusted(&format!("{alias}.namespace"))).push(")")
    }
}

/// What a reference can mean.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Lookup {
    /// One object by identity, whatever its state.
    Identity {
        /// The object.
        uuid: Uuid,
        /// It must be in this namespace.
        namespace: Option<String>,
    },
    /// Live objects by name.
    Name {
        /// The name.
        name: String,
        /// Searched here only; everywhere for `system` without a namespace.
        namespace: Option<String>,
    },
    /// The caller named a namespace that is not its own.
    Hidden,
}

impl Lookup {
    /// Reads a reference to an owned object.
    ///
    /// # Errors
    /// The request names no object.
    pub fn owned(viewer: &Viewer, selector: Option<&Selector>) -> StoreResult<Self> {
        let selector = selector
            .filter(|s| !s.reference.is_empty())
            .ok_or_else(|| StoreError::invalid("selector: required"))?;
        let asked = selector.namespace.clone().filter(|n| !n.is_empty());
        if !viewer.is_system() && asked.as_deref().is_some_and(|n| n != viewer.namespace()) {
            return Ok(Self::Hidden);
        }
        Ok(match parse_hyphenated(&selector.reference) {
            Some(uuid) => Self::Identity { uuid, namespace: asked },
            None => {
                let own = (!viewer.is_system()).then(|| viewer.namespace().to_owned());
                Self::Name { name: selector.reference.clone(), namespace: asked.or(own) }
            }
        })
    }

    /// The condition that selects the objects meant; `alias` has columns `uuid`, `name`, `namespace` and `state`.
    pub fn condition(&self, alias: &str) -> Sql {
        match self {
            Self::Hidden => sql("FALSE"),
            Self::Identity { uuid, namespace } => {
                in_namespace(sql(format!("{alias}.uuid = ?")).bind(*uuid), alias, namespace.as_deref())
            }
            Self::Name { name, namespace } => in_namespace(
                sql(format!("{alias}.name = ? AND {alias}.state <> 'deleted'")).bind(name),
                alias,
                namespace.as_deref(),
            ),
        }
    }
}

/// The one object among the rows found.
///
/// # Errors
/// [`StoreError::Missing`] for none; a precondition with reason [`AMBIGUOUS`] for several.
pub fn only<T>(
    kind: ObjectType,
    reference: &str,
    rows: Vec<T>,
    describe: impl Fn(&T) -> String,
) -> StoreResult<T> {
    if rows.len() > 1 {
        let candidates: Vec<String> = rows.iter().take(10).map(describe).collect();
        let message = format!("multiple {kind}s have the name \"{reference}\": use a UUID");
        return Err(StoreError::precondition(AMBIGUOUS, message).with("candidates", candidates.join("\n")));
    }
    rows.into_iter().next().ok_or_else(|| StoreError::missing(kind, reference))
}

/// The text of a reference, for messages.
pub fn reference(selector: Option<&Selector>) -> &str {
    selector.map_or("", |s| s.reference.as_str())
}

fn in_namespace(sql: Sql, alias: &str, namespace: Option<&str>) -> Sql {
    match namespace {
        Some(namespace) => sql.push(&format!(" AND {alias}.namespace = ?")).bind(namespace),
        None => sql,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn selector(reference: &str, namespace: Option<&str>) -> Selector {
        Selector { reference: reference.to_owned(), namespace: namespace.map(str::to_owned) }
    }

    #[test]
    fn a_foreign_namespace_is_hidden_from_all_but_system() {
        let asked = selector("x", Some("other"));
        assert_eq!(Lookup::owned(&Viewer::of("mine"), Some(&asked)).unwrap(), Lookup::Hidden);
        let seen = Lookup::owned(&Viewer::system(), Some(&asked)).unwrap();
        assert_eq!(seen, Lookup::Name { name: "x".into(), namespace: Some("other".into()) });
    }

    #[test]
    fn a_uuid_is_never_a_name() {
        let uuid = Uuid::new_v4();
        let by_id = Lookup::owned(&Viewer::of("mine"), Some(&selector(&uuid.to_string(), None))).unwrap();
        assert_eq!(by_id, Lookup::Identity { uuid, namespace: None });
        let by_name = Lookup::owned(&Viewer::of("mine"), Some(&selector("web", None))).unwrap();
        assert_eq!(by_name, Lookup::Name { name: "web".into(), namespace: Some("mine".into()) });
    }

    #[test]
    fn several_rows_are_an_error_that_names_them() {
        let error = only(ObjectType::Network, "n", vec!["a", "b"], |r| (*r).to_owned()).unwrap_err();
        let StoreError::Precondition { reason, detail, .. } = error else { unreachable!() };
        assert_eq!((reason, detail["candidates"].as_str()), (AMBIGUOUS, "a\nb"));
        assert!(matches!(
            only(ObjectType::Network, "n", Vec::<u8>::new(), |_| String::new()),
            Err(StoreError::Missing { .. })
        ));
    }
}
