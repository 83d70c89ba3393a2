//! The release of the cluster (`database-tier.md` §3.4).

use sf_protos::config::GetClusterVersionReply;

use crate::conn::Conn;
use crate::error::{StoreError, StoreResult};
use crate::migrate::recorded_version;
use crate::sql::{rows, sql};

rows! {
    struct Row {
        release: String,
        upgrading_to: Option<String>,
    }
}

/// The recorded release, and the schema.
///
/// # Errors
/// [`StoreError::Missing`] before bootstrap.
pub async fn cluster_version(conn: &mut Conn) -> StoreResult<GetClusterVersionReply> {
    let row = row(conn).await?.ok_or_else(|| StoreError::Missing {
        object_type: "cluster version".to_owned(),
        id: "1".to_owned(),
    })?;
    let schema = recorded_version(conn).await?.map_or(0, |v| v.schema_version);
    Ok(GetClusterVersionReply {
        release: row.release,
        upgrading_to: row.upgrading_to,
        schema_version: schema,
    })
}

/// The recorded release; `None` before bootstrap.
///
/// # Errors
/// The database fails.
pub async fn cluster_release(conn: &mut Conn) -> StoreResult<Option<String>> {
    Ok(row(conn).await?.map(|row| row.release))
}

/// Records the first release of a new cluster.
///
/// # Errors
/// A duplicate when one is recorded.
pub async fn record_release(conn: &mut Conn, release: &str) -> StoreResult<()> {
    let insert = "INSERT INTO cluster_version (id, `release`, created_at, updated_at) \
         VALUES (1, ?, UTC_TIMESTAMP(6), UTC_TIMESTAMP(6))";
    sql(insert).bind(release).run(conn).await?;
    Ok(())
}

async fn row(conn: &mut Conn) -> StoreResult<Option<Row>> {
    sql("SELECT `release`, upgrading_to FROM cluster_version WHERE id = 1").first_row(conn).await
}
