//! Which artifact a reference means (`storage.md` §9.1).

use sf_model::id::parse_hyphenated;
use sf_model::{ArtifactId, ObjectType};
use sf_protos::common::Selector;

use crate::conn::Conn;
use crate::error::StoreResult;
use crate::lookup::{Lookup, Viewer, only, reference};
use crate::sql::{rows, sql};

rows! {
    struct Candidate {
        uuid: ArtifactId,
        artifact_type: String,
        namespace: String,
        source_url: String,
    }
}

const SELECT: &str = "SELECT a.uuid, a.artifact_type, a.namespace, a.source_url FROM artifacts a WHERE ";

/// Resolves a reference. On read routes a name is searched in the caller's own namespace and, only if nothing is there,
/// among everything the caller can see; on write routes in its own namespace alone.
///
/// # Errors
/// [`crate::StoreError::Missing`], also for what the caller may not see; a precondition `ambiguous-reference`.
pub async fn resolve(
    conn: &mut Conn,
    viewer: &Viewer,
    selector: Option<&Selector>,
    write: bool,
) -> StoreResult<ArtifactId> {
    let name = reference(selector);
    let asked = selector.and_then(|s| s.namespace.as_deref()).filter(|n| !n.is_empty());
    let seen = if write { viewer.owned("a.namespace") } else { viewer.readable_artifact("a") };
    let found: Vec<Candidate> = match (parse_hyphenated(name), write) {
        (Some(uuid), _) => {
            let query = sql(SELECT).append(seen).push(" AND a.uuid = ?").bind(uuid);
            match asked {
                Some(namespace) => query.push(" AND a.namespace = ?").bind(namespace).all(conn).await?,
                None => query.all(conn).await?,
            }
        }
        (None, true) => {
            let lookup = Lookup::owned(viewer, selector)?;
            sql(SELECT).append(seen).push(" AND ").append(lookup.condition("a")).push(NAMED).all(conn).await?
        }
        (None, false) => {
            let query = sql(SELECT).append(seen).push(" AND a.name = ?").bind(name);
            let found: Vec<Candidate> = match asked {
                Some(namespace) => {
                    query.push(" AND a.namespace = ?").bind(namespace).push(NAMED).all(conn).await?
                }
                None => query.push(NAMED).all(conn).await?,
            };
            // For `system` no namespace is nearer than another.
            let own = |c: &Candidate| !viewer.is_system() && c.namespace == viewer.namespace();
            if found.iter().any(own) { found.into_iter().filter(own).collect() } else { found }
        }
    };
    let found = only(ObjectType::Artifact, name, found, |c| {
        format!("{} {} in namespace {}: {}", c.artifact_type, c.uuid, c.namespace, c.source_url)
    })?;
    Ok(found.uuid)
}

/// Names mean usable or coming artifacts; others are reachable by identity.
const NAMED: &str = " AND a.state IN ('initial', 'created') ORDER BY a.created_at, a.uuid LIMIT 100";
