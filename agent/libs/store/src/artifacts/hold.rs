//! Finding or making the artifact that something is to be added to, and keeping it locked.

use sf_model::access::SYSTEM_NAMESPACE;
use sf_model::event::EventType;
use sf_model::{ArtifactId, ObjectRef, ObjectType};

use super::{NOT_SHAREABLE, VERSION, live_key};
use crate::conn::Conn;
use crate::context::TxContext;
use crate::error::{StoreError, StoreResult};
use crate::lookup::Viewer;
use crate::namespaces;
use crate::sql::{rows, sql};

rows! {
    /// A locked artifact.
    pub(crate) struct Held {
        pub(crate) uuid: ArtifactId,
        pub(crate) namespace: String,
        pub(crate) shared: bool,
        pub(crate) max_versions: u32,
        pub(crate) highest_index: u32,
        pub(crate) state: String,
    }
}

const SELECT: &str = "SELECT uuid, namespace, shared, max_versions, highest_index, state \
    FROM artifacts WHERE ";

/// What an artifact is to be, should it not exist yet.
pub(crate) struct NewArtifact<'a> {
    pub(crate) uuid: ArtifactId,
    pub(crate) namespace: &'a str,
    pub(crate) artifact_type: &'a str,
    pub(crate) source_url: &'a str,
    pub(crate) name: &'a str,
    pub(crate) shared: bool,
}

/// Finds the live artifact with this namespace, type and source and locks it, or makes it. Trust lets a caller make a
/// new one in a namespace that is not its own, never add to one that exists.
pub(crate) async fn take_for_writing(
    conn: &mut Conn,
    ctx: &TxContext,
    viewer: &Viewer,
    new: &NewArtifact<'_>,
) -> StoreResult<Held> {
    check(viewer, new)?;
    namespaces::hold(conn, new.namespace).await?;
    let own = viewer.owns(new.namespace);
    if !own && !namespaces::trusts(conn, new.namespace, viewer.namespace()).await? {
        return Err(StoreError::missing(ObjectType::Namespace, new.namespace));
    }
    let held = match by_key(conn, new).await? {
        Some(held) if own => held,
        Some(held) => return Err(StoreError::missing(ObjectType::Artifact, held.uuid)),
        None => match insert(conn, ctx, new).await {
            // Somebody else made it between the two statements; the insert waited for that transaction.
            Err(error) if error.is_duplicate() && own => by_key(conn, new).await?.ok_or(error)?,
            Err(error) => return Err(error),
            Ok(held) => held,
        },
    };
    if new.shared && !held.shared {
        share(conn, &held, true).await?;
    }
    Ok(held)
}

/// Locks an artifact by identity.
pub(super) async fn by_id(conn: &mut Conn, artifact: ArtifactId) -> StoreResult<Option<Held>> {
    sql(SELECT).push("uuid = ? FOR UPDATE").bind(artifact).first_row(conn).await
}

/// Locks a live artifact that the caller owns.
pub(super) async fn live(conn: &mut Conn, artifact: ArtifactId) -> StoreResult<Held> {
    by_id(conn, artifact)
        .await?
        .filter(|held| held.state != "deleted")
        .ok_or_else(|| StoreError::missing(ObjectType::Artifact, artifact))
}

/// Sets the sharing of a locked artifact.
pub(super) async fn share(conn: &mut Conn, held: &Held, shared: bool) -> StoreResult<()> {
    sql("UPDATE artifacts SET shared = ?, row_version = row_version + 1 WHERE uuid = ?")
        .bind(shared)
        .bind(held.uuid)
        .run(conn)
        .await?;
    Ok(())
}

async fn by_key(conn: &mut Conn, new: &NewArtifact<'_>) -> StoreResult<Option<Held>> {
    sql(SELECT)
        .push("live_key = ? FOR UPDATE")
        .bind(live_key(new.namespace, new.artifact_type, new.source_url))
        .first_row(conn)
        .await
}

async fn insert(conn: &mut Conn, ctx: &TxContext, new: &NewArtifact<'_>) -> StoreResult<Held> {
    let max_versions = ctx.settings.artifact_max_versions_default;
    sql("INSERT INTO artifacts (uuid, artifact_type, source_url, name, namespace, shared, max_versions, live_key, state, \
         state_changed_at, created_at, version) \
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, 'initial', UTC_TIMESTAMP(6), UTC_TIMESTAMP(6), ?)")
    .bind(new.uuid)
    .bind(new.artifact_type)
    .bind(new.source_url)
    .bind(new.name)
    .bind(new.namespace)
    .bind(new.shared)
    .bind(max_versions)
    .bind(live_key(new.namespace, new.artifact_type, new.source_url))
    .bind(VERSION)
    .run(conn)
    .await?;
    ctx.event(EventType::Audit, "artifact created", &[ObjectRef::new(ObjectType::Artifact, new.uuid)]);
    Ok(Held {
        uuid: new.uuid,
        namespace: new.namespace.to_owned(),
        shared: new.shared,
        max_versions,
        highest_index: 0,
        state: "initial".to_owned(),
    })
}

fn check(viewer: &Viewer, new: &NewArtifact<'_>) -> StoreResult<()> {
    sf_model::name::artifact(new.name).map_err(|rule| StoreError::invalid(format!("name: {rule}")))?;
    if new.source_url.is_empty() || new.source_url.len() > 2048 {
        return Err(StoreError::invalid("source_url: must be 1 to 2048 bytes"));
    }
    if !matches!(new.artifact_type, "image" | "label" | "other" | "snapshot") {
        return Err(StoreError::invalid("artifact_type: unknown"));
    }
    if new.shared && !(viewer.is_system() && new.namespace == SYSTEM_NAMESPACE) {
        let message = "only artifacts of the system namespace may be shared, and only by it".to_owned();
        return Err(StoreError::Refused { reason: NOT_SHAREABLE, message });
    }
    Ok(())
}
