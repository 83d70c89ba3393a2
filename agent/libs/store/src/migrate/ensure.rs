//! Bringing a database to the schema of this build. A run that was killed is completed by the next one.

use std::time::{Duration, Instant};

use diesel::migration::MigrationName;
use diesel_async::{AsyncMigrationHarness, SimpleAsyncConnection};
use diesel_migrations::MigrationHarness;

use super::SchemaError;
use super::recorded::{Inventory, applied, inventory};
use super::steps::{OLDEST_COMPATIBLE, STEPS, Step, built_version, pending};
use crate::compat;
use crate::conn::{Conn, ConnectOptions, connect};
use crate::error::{StoreError, StoreResult};
use crate::sql::sql;

/// Seconds to wait for another run.
const LOCK_WAIT: u32 = 30;

/// What a run says while it works.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Progress {
    /// A migration is about to run.
    Applying(Step),
    /// It has run and is recorded.
    Applied(Step, Duration),
}

/// What a run found and did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// Migrations applied, or in a plan those that would be.
    pub applied: Vec<Step>,
    /// The schema version now, or in a plan the one it would be.
    pub schema_version: u32,
}

/// Says what [`ensure_schema`] would do.
///
/// # Errors
/// As [`ensure_schema`], except that nothing is changed and no lock is taken.
pub async fn plan(options: &ConnectOptions) -> Result<Report, SchemaError> {
    compat::check(options, compat::Purpose::Schema).await?;
    let mut conn = connect(options).await?;
    let (_, missing) = examine(&mut conn, options).await?;
    Ok(Report { applied: missing, schema_version: built_version() })
}

/// Applies what is missing and records it, telling `tell` of each step.
///
/// # Errors
/// See [`SchemaError`]. Whatever was applied stays and is not applied again.
pub async fn ensure_schema(
    options: &ConnectOptions,
    tell: &mut (dyn FnMut(Progress) + Send),
) -> Result<Report, SchemaError> {
    compat::check(options, compat::Purpose::Schema).await?;
    let mut lock = unlimited(options).await?;
    acquire(&mut lock, options).await?;
    let mut conn = unlimited(options).await?;
    let (mut found, missing) = examine(&mut conn, options).await?;
    let mut unrecorded = Vec::new();
    for step in &missing {
        tell(Progress::Applying(*step));
        let began = Instant::now();
        conn = run(conn, *step).await?;
        let took = began.elapsed();
        found.history |= step.name.ends_with("_schema_history");
        // The first steps run before there is a place to record them.
        unrecorded.push((*step, took));
        if found.history {
            for (step, took) in unrecorded.drain(..) {
                record(&mut conn, step, took).await?;
            }
        }
        tell(Progress::Applied(*step, took));
    }
    conclude(&mut conn).await?;
    Ok(Report { applied: missing, schema_version: built_version() })
}

/// A session without limits on statements: changing a large table may take long.
async fn unlimited(options: &ConnectOptions) -> StoreResult<Conn> {
    let mut conn = connect(options).await?;
    conn.batch_execute("SET SESSION max_statement_time = 0, idle_transaction_timeout = 0").await?;
    Ok(conn)
}

/// The lock belongs to its own session and ends with it.
async fn acquire(lock: &mut Conn, options: &ConnectOptions) -> Result<(), SchemaError> {
    let name = format!("sf-schema:{}", options.database.as_deref().unwrap_or_default());
    let got: Option<Option<i64>> =
        sql("SELECT GET_LOCK(?, ?) AS value").bind(name).bind(LOCK_WAIT).value(lock).await?;
    if got.flatten() == Some(1) { Ok(()) } else { Err(SchemaError::Busy) }
}

async fn examine(conn: &mut Conn, options: &ConnectOptions) -> Result<(Inventory, Vec<Step>), SchemaError> {
    let found = inventory(conn).await?;
    if found.tables > 0 && !found.meta {
        let database = options.database.clone().unwrap_or_default();
        return Err(SchemaError::Foreign { database, tables: found.tables });
    }
    let done = applied(conn, found).await?;
    let missing = pending(STEPS, &done).map_err(SchemaError::Changed)?;
    Ok((found, missing))
}

/// diesel's harness is synchronous; it runs on a thread of its own and gives the session back.
async fn run(conn: Conn, step: Step) -> Result<Conn, SchemaError> {
    let work = move || {
        let mut harness = AsyncMigrationHarness::new(conn);
        // A run that was killed between diesel's bookkeeping and ours has nothing left to do but to be recorded.
        let known = harness.applied_migrations()?;
        let version = MigrationName::version(&step);
        if !known.contains(&version) {
            harness.run_migration(&step)?;
        }
        Ok::<_, Box<dyn std::error::Error + Send + Sync>>(harness.into_inner())
    };
    let failed = |message: String| SchemaError::Failed { name: step.name, message };
    let outcome = tokio::task::spawn_blocking(work).await;
    outcome.map_err(|e| failed(e.to_string()))?.map_err(|e| failed(e.to_string()))
}

async fn record(conn: &mut Conn, step: Step, took: Duration) -> StoreResult<()> {
    let insert = "INSERT INTO schema_history (version, name, checksum, duration_ms, agent_version, applied_at) \
         VALUES (?, ?, ?, ?, ?, UTC_TIMESTAMP(6))";
    sql(insert)
        .bind(step.version)
        .bind(step.name)
        .bind(step.checksum())
        .bind(u64::try_from(took.as_millis()).unwrap_or(u64::MAX))
        .bind(env!("CARGO_PKG_VERSION"))
        .run(conn)
        .await?;
    Ok(())
}

/// An older agent that runs against a newer schema has nothing to apply and must not turn the versions back.
async fn conclude(conn: &mut Conn) -> StoreResult<()> {
    let write = "INSERT INTO schema_meta (id, schema_version, oldest_compatible, updated_at) \
         VALUES (1, ?, ?, UTC_TIMESTAMP(6)) ON DUPLICATE KEY UPDATE \
         oldest_compatible = IF(VALUES(schema_version) > schema_version, VALUES(oldest_compatible), oldest_compatible), \
         updated_at = IF(VALUES(schema_version) > schema_version, VALUES(updated_at), updated_at), \
         schema_version = GREATEST(schema_version, VALUES(schema_version))";
    sql(write).bind(built_version()).bind(OLDEST_COMPATIBLE).run(conn).await.map_err(StoreError::settled)?;
    Ok(())
}
