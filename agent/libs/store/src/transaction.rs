//! One call, one transaction, run again when another one was in the way.

use std::time::{Duration, Instant};

use diesel_async::{AnsiTransactionManager, TransactionManager};
use futures::future::BoxFuture;
use rand::Rng;

use crate::conn::{Conn, MAX_STATEMENT_SECONDS, Pool, checkout};
use crate::error::{Fault, StoreError, StoreResult};
use crate::session::bounded;
use crate::statements::operation;

/// Attempts of one transaction.
const MAX_ATTEMPTS: u32 = 5;
/// Pause between attempts, milliseconds.
const JITTER_MS: std::ops::RangeInclusive<u64> = 5..=80;
/// A transaction this long is logged.
const SLOW: Duration = Duration::from_secs(1);

/// When a call must have its answer.
#[derive(Debug, Clone, Copy)]
pub struct Deadline(Instant);

impl Deadline {
    /// This long from now.
    pub fn after(duration: Duration) -> Self {
        Self(Instant::now() + duration)
    }

    /// What is left.
    pub fn left(self) -> Duration {
        self.0.saturating_duration_since(Instant::now())
    }

    /// The same, but no later than this long from now.
    pub fn at_most(self, duration: Duration) -> Self {
        Self(self.0.min(Instant::now() + duration))
    }

    /// The moment, for timers.
    pub fn instant(self) -> Instant {
        self.0
    }
}

impl Default for Deadline {
    /// The limit of a single statement.
    fn default() -> Self {
        Self::after(Duration::from_secs(MAX_STATEMENT_SECONDS))
    }
}

/// Runs `work` in a READ COMMITTED transaction and commits it if it succeeds. Deadlocks, lock waits, snapshot and
/// certification conflicts roll back and run it again, so `work` must not keep anything between calls.
///
/// # Errors
/// What `work` answered; [`StoreError::Contended`] or [`StoreError::Deadline`] when conflicts did not end;
/// [`StoreError::Unreachable`] also for a connection lost during commit, whose outcome is unknown.
pub async fn transaction<T, F>(pool: &Pool, deadline: Deadline, work: F) -> StoreResult<T>
where
    F: for<'c> FnMut(&'c mut Conn) -> BoxFuture<'c, StoreResult<T>> + Send,
    T: Send,
{
    bounded(deadline, until_settled(pool, deadline, work)).await
}

async fn until_settled<T, F>(pool: &Pool, deadline: Deadline, mut work: F) -> StoreResult<T>
where
    F: for<'c> FnMut(&'c mut Conn) -> BoxFuture<'c, StoreResult<T>> + Send,
    T: Send,
{
    let mut attempts = 0;
    loop {
        attempts += 1;
        let outcome = {
            let mut conn = checkout(pool).await?;
            attempt(&mut conn, deadline, &mut work).await
        };
        let error = match outcome {
            Ok(value) => return Ok(value),
            Err(error) => error,
        };
        let Fault::Conflict(why) = error.fault() else { return Err(error.settled()) };
        metrics::counter!("database_transaction_retries_total", "operation" => operation(), "reason" => why)
            .increment(1);
        let pause = Duration::from_millis(rand::rng().random_range(JITTER_MS));
        if attempts >= MAX_ATTEMPTS || deadline.left() <= pause {
            return Err(StoreError::Contended { attempts, last: error.to_string() });
        }
        tokio::time::sleep(pause).await;
    }
}

async fn attempt<T, F>(conn: &mut Conn, deadline: Deadline, work: &mut F) -> StoreResult<T>
where
    F: for<'c> FnMut(&'c mut Conn) -> BoxFuture<'c, StoreResult<T>> + Send,
{
    let limit = statement_limit(deadline)?;
    let begin = format!("SET SESSION max_statement_time = {limit}; START TRANSACTION");
    AnsiTransactionManager::begin_transaction_sql(conn, &begin).await?;
    let began = Instant::now();
    let outcome = work(conn).await;
    let outcome = match outcome {
        Ok(value) => {
            <AnsiTransactionManager as TransactionManager<Conn>>::commit_transaction(conn).await?;
            Ok(value)
        }
        Err(error) => {
            // A failed rollback means the session is gone, and with it the transaction; the pool finds out.
            let _gone =
                <AnsiTransactionManager as TransactionManager<Conn>>::rollback_transaction(conn).await;
            Err(error)
        }
    };
    if began.elapsed() > SLOW {
        metrics::counter!("database_slow_queries_total", "operation" => operation()).increment(1);
        tracing::warn!(
            operation = operation(),
            milliseconds = began.elapsed().as_millis(),
            "slow transaction"
        );
    }
    outcome
}

/// Seconds a statement may take, as the server wants to be told.
pub(crate) fn statement_limit(deadline: Deadline) -> StoreResult<String> {
    let left = deadline.left().as_secs_f64();
    if left <= 0.0 {
        return Err(StoreError::Deadline("nothing was started".to_owned()));
    }
    #[expect(clippy::cast_precision_loss, reason = "30")]
    let most = MAX_STATEMENT_SECONDS as f64;
    // The limit stays with the session: a very short one would fail whoever uses it next without setting its own.
    Ok(format!("{:.3}", left.clamp(1.0, most)))
}
