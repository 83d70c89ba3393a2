//! Counting statements, for the budgets that list calls promise and for the metrics of the gateway.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use diesel::connection::InstrumentationEvent;
use diesel_async::AsyncConnection;

use crate::conn::Conn;

tokio::task_local! {
    static COUNT: Arc<AtomicU64>;
    static OPERATION: &'static str;
}

/// Runs the work of a call, so that its statements, retries and slowness are counted under its name.
pub async fn attributed<F: Future>(operation: &'static str, work: F) -> F::Output {
    let (output, statements) = OPERATION.scope(operation, count(work)).await;
    metrics::counter!("database_statements_total", "operation" => operation).increment(statements);
    output
}

/// The call that is being worked on; a dash outside of any.
pub(crate) fn operation() -> &'static str {
    OPERATION.try_with(|operation| *operation).unwrap_or("-")
}

/// Runs `work` and says how many statements it sent, over whatever sessions, transaction control not included.
pub async fn count<F: Future>(work: F) -> (F::Output, u64) {
    let counter = Arc::new(AtomicU64::new(0));
    let output = COUNT.scope(counter.clone(), work).await;
    (output, counter.load(Ordering::Relaxed))
}

/// Makes a session report its statements to the task that uses it.
pub(crate) fn observe(conn: &mut Conn) {
    conn.set_instrumentation(|event: InstrumentationEvent<'_>| {
        if let InstrumentationEvent::StartQuery { query, .. } = event {
            let _outside_any_count = COUNT.try_with(|counter| {
                if !is_control(&query.to_string()) {
                    counter.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
    });
}

fn is_control(statement: &str) -> bool {
    ["BEGIN", "START TRANSACTION", "COMMIT", "ROLLBACK", "SAVEPOINT", "RELEASE", "SET ", "SELECT 1 "]
        .iter()
        .any(|word| statement.starts_with(word))
        || statement.starts_with("SELECT 1 --")
}
