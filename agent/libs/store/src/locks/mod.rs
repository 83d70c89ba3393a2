//! Leased locks with fencing (`database-tier.md` §12.1): a holder that lost its lease cannot write any more, whether it
//! knows or not.

mod lease;
mod list;

pub use lease::{Holder, LEASE, acquire, refresh, release, release_incarnation};
pub use list::list;

use crate::conn::Conn;
use crate::context::Fence;
use crate::error::{StoreError, StoreResult, reason};
use crate::sql::sql;

/// The lock of the leader.
pub const LEADER: &str = "cluster";

/// Checks, as the last thing before a commit, that a lock is still held. The row stays share-locked until then, so that
/// nobody takes the lock over between the check and the commit.
///
/// # Errors
/// [`reason::LOCK_LOST`].
pub async fn verify(conn: &mut Conn, fence: &Fence) -> StoreResult<()> {
    let held = "SELECT fence AS value FROM cluster_locks \
         WHERE lock_name = ? AND fence = ? AND expires_at > UTC_TIMESTAMP(6) LOCK IN SHARE MODE";
    let held: Option<u64> = sql(held).bind(&fence.lock_name).bind(fence.fence).value(conn).await?;
    match held {
        Some(_) => Ok(()),
        None => {
            let message = format!("lock {} is not held under fence {}", fence.lock_name, fence.fence);
            Err(StoreError::precondition(reason::LOCK_LOST, message))
        }
    }
}
