//! What the database says about its own schema.

use diesel::result::Error as DieselError;

use super::SchemaError;
use super::steps::{Applied, Window, built_version, window};
use crate::conn::Conn;
use crate::error::{StoreError, StoreResult};
use crate::sql::{rows, sql};

rows! {
    /// Versions as recorded by the last schema run.
    #[derive(Copy, PartialEq, Eq)]
    pub struct SchemaVersion {
        /// The last applied migration.
        pub schema_version: u32,
        /// The oldest build that still works.
        pub oldest_compatible: u32,
    }

    struct History {
        version: u32,
        checksum: String,
    }

    struct Tables {
        ours: u64,
        meta: u64,
        history: u64,
        others: u64,
    }
}

/// How far a database has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Inventory {
    /// `schema_meta` exists.
    pub(super) meta: bool,
    /// `schema_history` exists.
    pub(super) history: bool,
    /// Tables besides diesel's bookkeeping.
    pub(super) tables: u64,
}

/// The versions a database records; `None` when no schema run has finished on it.
///
/// # Errors
/// The database cannot be read.
pub async fn recorded_version(conn: &mut Conn) -> StoreResult<Option<SchemaVersion>> {
    let reading =
        sql("SELECT schema_version, oldest_compatible FROM schema_meta WHERE id = 1").first_row(conn).await;
    match reading {
        Err(StoreError::Db(DieselError::DatabaseError(_, text)))
            if text.message().contains("doesn't exist") =>
        {
            Ok(None)
        }
        other => other,
    }
}

/// Whether this build may serve the schema of a database. An older build that still fits is logged.
///
/// # Errors
/// [`SchemaError::Behind`], [`SchemaError::TooOld`], or the database cannot be read.
pub async fn check_window(conn: &mut Conn) -> Result<SchemaVersion, SchemaError> {
    let built = built_version();
    let recorded =
        recorded_version(conn).await?.unwrap_or(SchemaVersion { schema_version: 0, oldest_compatible: 0 });
    match window(built, recorded.schema_version, recorded.oldest_compatible) {
        Window::Same => Ok(recorded),
        Window::Older => {
            tracing::info!(
                built,
                schema = recorded.schema_version,
                "the schema is newer than this agent and still fits"
            );
            Ok(recorded)
        }
        Window::TooOld => Err(SchemaError::TooOld { built, oldest: recorded.oldest_compatible }),
        Window::SchemaBehind => Err(SchemaError::Behind { built, recorded: recorded.schema_version }),
    }
}

pub(super) async fn inventory(conn: &mut Conn) -> StoreResult<Inventory> {
    let query = "SELECT CAST(COUNT(*) AS UNSIGNED) AS ours, \
         CAST(COALESCE(SUM(table_name = 'schema_meta'), 0) AS UNSIGNED) AS meta, \
         CAST(COALESCE(SUM(table_name = 'schema_history'), 0) AS UNSIGNED) AS history, \
         CAST(COALESCE(SUM(table_name <> '__diesel_schema_migrations'), 0) AS UNSIGNED) AS others \
         FROM information_schema.tables WHERE table_schema = DATABASE()";
    let found: Option<Tables> = sql(query).first_row(conn).await?;
    let found = found.unwrap_or(Tables { ours: 0, meta: 0, history: 0, others: 0 });
    debug_assert!(found.ours >= found.others);
    Ok(Inventory { meta: found.meta > 0, history: found.history > 0, tables: found.others })
}

pub(super) async fn applied(conn: &mut Conn, inventory: Inventory) -> StoreResult<Vec<Applied>> {
    if !inventory.history {
        return Ok(Vec::new());
    }
    let rows: Vec<History> =
        sql("SELECT version, checksum FROM schema_history ORDER BY version").all(conn).await?;
    Ok(rows.into_iter().map(|row| Applied { version: row.version, checksum: row.checksum }).collect())
}
