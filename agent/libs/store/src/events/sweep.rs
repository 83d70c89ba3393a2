//! Events that have no reference although none was pruned just now. There should be none; once a week somebody looks.
//!
//! The log may be of any size and has no index for this, so the look goes through the primary key a range at a time, each in
//! its own transaction, and remembers how far it came: a walk that is cut off goes on where it was.

use std::time::{Duration, Instant};

use uuid::Uuid;

use super::prune::{CHUNK, PAUSE};
use crate::bounded::delete_some;
use crate::conn::{Conn, Pool};
use crate::context::Fence;
use crate::error::StoreResult;
use crate::sql::{rows, sql};
use crate::transaction::{Deadline, transaction};

/// How often the walk begins, and the name that remembers it.
const DAYS: u32 = 7;
const NAME: &str = "events-swept";
/// Events of one range.
const RANGE: u64 = 10_000;

/// What one range had.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Swept {
    /// Events removed.
    pub removed: u64,
    /// The walk is not at its end.
    pub more: bool,
}

rows! {
    struct Walk {
        position: Option<Uuid>,
        recent: bool,
    }
}

/// Walks until the end, or for at most this long after `began`.
pub(super) async fn sweep(pool: &Pool, fence: &Fence, began: Instant, time: Duration) -> StoreResult<Swept> {
    let mut removed = 0;
    loop {
        let swept = sweep_range(pool, fence).await?;
        removed += swept.removed;
        if !swept.more || began.elapsed() >= time {
            return Ok(Swept { removed, more: swept.more });
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Looks at the next range, if a walk is going on or due.
///
/// # Errors
/// [`crate::reason::LOCK_LOST`] when the caller is not the leader any more, or the database fails.
pub async fn sweep_range(pool: &Pool, fence: &Fence) -> StoreResult<Swept> {
    transaction(pool, Deadline::default(), |conn| {
        let fence = fence.clone();
        Box::pin(async move {
            let swept = next_range(conn).await?;
            crate::locks::verify(conn, &fence).await?;
            Ok(swept)
        })
    })
    .await
}

async fn next_range(conn: &mut Conn) -> StoreResult<Swept> {
    let walk: Option<Walk> =
        sql("SELECT position, sampled_at > UTC_TIMESTAMP(6) - INTERVAL ? DAY AS recent FROM samples \
         WHERE name = ? FOR UPDATE")
        .bind(DAYS)
        .bind(NAME)
        .first_row(conn)
        .await?;
    let from = match walk {
        Some(Walk { position: None, recent: true }) => return Ok(Swept { removed: 0, more: false }),
        Some(Walk { position: Some(position), .. }) => position,
        Some(Walk { position: None, recent: false }) | None => Uuid::nil(),
    };
    let last: Option<Uuid> = sql(
        "SELECT event_uuid AS value FROM events WHERE event_uuid > ? ORDER BY event_uuid LIMIT 1 OFFSET ?",
    )
    .bind(from)
    .bind(RANGE - 1)
    .value(conn)
    .await?;
    let range = sql("event_uuid > ?").bind(from);
    let range = match last {
        Some(last) => range.push(" AND event_uuid <= ?").bind(last),
        None => range,
    };
    let strays = range.push(
        " AND received_at < UTC_TIMESTAMP(6) - INTERVAL 1 HOUR \
         AND NOT EXISTS (SELECT 1 FROM event_objects o WHERE o.event_uuid = events.event_uuid)",
    );
    let removed = delete_some(conn, "events", strays, CHUNK).await?;
    // A range with so many strays is looked at once more.
    let position = if removed < CHUNK { last } else { Some(from) };
    sql("INSERT INTO samples (name, value, sampled_at, position) VALUES (?, 0, UTC_TIMESTAMP(6), ?) \
         ON DUPLICATE KEY UPDATE sampled_at = VALUES(sampled_at), position = VALUES(position)")
    .bind(NAME)
    .bind(position)
    .run(conn)
    .await?;
    Ok(Swept { removed, more: position.is_some() })
}
