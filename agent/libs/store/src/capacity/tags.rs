//! Tags of placed instances, which later placements of the same namespace look at.

use sf_model::InstanceId;

use crate::conn::Conn;
use crate::error::StoreResult;
use crate::sql::{Bind, sql};

/// Replaces the tags of an instance; does nothing for one that is not placed. Called when the metadata `tags` changes.
///
/// # Errors
/// Those of the database.
pub async fn set_tags(conn: &mut Conn, owner: InstanceId, tags: &[String]) -> StoreResult<()> {
    // The reservation row is locked so that a release cannot slip between.
    let namespace: Option<String> =
        sql("SELECT namespace AS value FROM placement_reservations WHERE owner_uuid = ? FOR UPDATE")
            .bind(owner)
            .value(conn)
            .await?;
    let Some(namespace) = namespace else { return Ok(()) };
    sql("DELETE FROM reservation_tags WHERE owner_uuid = ?").bind(owner).run(conn).await?;
    insert(conn, owner, &namespace, tags).await
}

/// Adds the tags of a new reservation.
pub(super) async fn insert(
    conn: &mut Conn,
    owner: InstanceId,
    namespace: &str,
    tags: &[String],
) -> StoreResult<()> {
    if tags.is_empty() {
        return Ok(());
    }
    let rows = tags.iter().map(|tag| vec![Bind::from(owner), Bind::from(namespace), Bind::from(tag)]);
    sql("INSERT INTO reservation_tags (owner_uuid, namespace, tag) VALUES ").tuples(rows).run(conn).await?;
    Ok(())
}
