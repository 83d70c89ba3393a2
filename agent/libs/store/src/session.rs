//! Every use of a session with MariaDB begins and ends here or in [`transaction`](crate::transaction()), and none of
//! them goes on for longer than its deadline allows.

use std::time::Duration;

use diesel_async::SimpleAsyncConnection;
use futures::future::BoxFuture;

use crate::conn::{Conn, InUse, Pool, checkout};
use crate::error::{StoreError, StoreResult};
use crate::transaction::{Deadline, statement_limit};

/// What MariaDB may take beyond a deadline, which it enforces itself, before it counts as gone. Without this end a server
/// that vanished would keep its sessions, and whoever waits for them, for as long as the kernel goes on hoping.
const SILENCE: Duration = Duration::from_secs(10);

/// Runs `work` on a session outside a transaction: for reads. A caller that goes away in the middle costs the session and
/// nothing else.
///
/// # Errors
/// What `work` answered; [`StoreError::Unreachable`] when no session can be had or the server went silent;
/// [`StoreError::Deadline`] when the time was up.
pub async fn session<T, F>(pool: &Pool, deadline: Deadline, work: F) -> StoreResult<T>
where
    F: for<'c> FnOnce(&'c mut Conn) -> BoxFuture<'c, StoreResult<T>> + Send,
    T: Send,
{
    let used = async {
        let mut conn = checkout(pool).await?;
        let mut session = InUse::of(&mut conn);
        let outcome = match limit_statements(&mut session, deadline).await {
            Ok(()) => work(&mut session).await,
            Err(error) => Err(error),
        };
        session.done();
        outcome.map_err(StoreError::settled)
    };
    bounded(deadline, used).await
}

/// The end of every use of a session. The pool does not take back what is cut off here.
pub(crate) async fn bounded<T>(
    deadline: Deadline,
    used: impl Future<Output = StoreResult<T>>,
) -> StoreResult<T> {
    let silent = || Err(StoreError::Unreachable("MariaDB went silent during a statement".to_owned()));
    tokio::time::timeout(deadline.left() + SILENCE, used).await.unwrap_or_else(|_| silent())
}

/// Lowers the statement limit of a session to what is left of a deadline.
async fn limit_statements(conn: &mut Conn, deadline: Deadline) -> StoreResult<()> {
    let limit = statement_limit(deadline)?;
    Ok(conn.batch_execute(&format!("SET SESSION max_statement_time = {limit}")).await?)
}
