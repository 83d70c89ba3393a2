//! One item of a sweep, under a savepoint: an item that cannot be handled does not stop those after it.

use std::fmt::Display;

use diesel_async::SimpleAsyncConnection;

use crate::conn::Conn;
use crate::context::{Recorded, TxContext};
use crate::error::{Fault, StoreError, StoreResult};

/// An item whose handling has begun.
#[must_use = "an item is settled when it ends"]
pub(crate) struct Item {
    sweep: &'static str,
    id: String,
    before: Recorded,
}

impl Item {
    /// Begins; `sweep` says what is being done, for the log and the metric.
    pub(crate) async fn begin(
        conn: &mut Conn,
        ctx: &TxContext,
        sweep: &'static str,
        id: impl Display,
    ) -> StoreResult<Self> {
        // A savepoint of the same name takes the place of the one before.
        conn.batch_execute("SAVEPOINT item").await?;
        Ok(Self { sweep, id: id.to_string(), before: ctx.recorded() })
    }

    /// Ends: `None` for an item that failed by itself, of which nothing remains but a word in the log.
    ///
    /// # Errors
    /// Those that end the whole transaction: the database is away, or another transaction was in the way.
    pub(crate) async fn end<T>(
        self,
        conn: &mut Conn,
        ctx: &TxContext,
        outcome: StoreResult<T>,
    ) -> StoreResult<Option<T>> {
        let error = match outcome {
            Ok(value) => return Ok(Some(value)),
            Err(error) if is_of_the_item(&error) => error,
            Err(error) => return Err(error),
        };
        conn.batch_execute("ROLLBACK TO SAVEPOINT item").await?;
        ctx.forget_since(self.before);
        metrics::counter!("database_sweep_items_skipped_total", "sweep" => self.sweep).increment(1);
        tracing::error!(sweep = self.sweep, item = self.id, %error, "an item cannot be handled and is left as it is");
        Ok(None)
    }
}

fn is_of_the_item(error: &StoreError) -> bool {
    match error {
        StoreError::Missing { .. }
        | StoreError::Exists { .. }
        | StoreError::Precondition { .. }
        | StoreError::Capacity { .. }
        | StoreError::Refused { .. }
        | StoreError::Invalid(_)
        | StoreError::Corrupt(_)
        | StoreError::Unsupported(_) => true,
        StoreError::Db(_) => matches!(error.fault(), Fault::Duplicate | Fault::Data),
        StoreError::Unreachable(_)
        | StoreError::ReadOnly
        | StoreError::Deadline(_)
        | StoreError::Contended { .. }
        | StoreError::Setup(_) => false,
    }
}
