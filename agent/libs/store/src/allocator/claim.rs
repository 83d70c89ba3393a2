//! Taking a value.

use std::time::Duration;

use rand::Rng;
use sf_model::{AllocationId, ObjectType};

use super::gap;
use super::pool::{Owner, Pool};
use crate::conn::Conn;
use crate::error::{StoreError, StoreResult, reason};
use crate::sql::{Sql, rows, sql};

/// Random candidates before the ordered scan.
const RANDOM_TRIES: usize = 8;
/// Values looked at by one statement of the scan.
const WINDOW: u64 = 4096;

/// How a value is chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Strategy {
    /// Any free value.
    Random,
    /// The lowest free value.
    Lowest,
    /// This value and no other.
    Exact(u64),
}

rows! {
    struct Counts {
        held: u64,
        halo: u64,
    }
}

/// Takes a value of a pool for `owner`.
///
/// # Errors
/// [`StoreError::Capacity`] with `pool`, `capacity`, `held` and `halo` when nothing is free;
/// [`StoreError::Precondition`] with reason `in-use` when an exact value is held.
pub async fn claim(
    conn: &mut Conn,
    pool: &Pool,
    strategy: Strategy,
    owner: Owner,
    purpose: &str,
    comment: &str,
) -> StoreResult<u64> {
    let wish = Wish { pool, owner, purpose, comment };
    if let Strategy::Exact(value) = strategy {
        let rest = pool.exact_takes_halo.then_some(Duration::ZERO);
        return if wish.take(conn, value, rest).await? {
            Ok(value)
        } else {
            let message = format!("{} is taken in pool {}", describe(pool, value), pool.name);
            Err(StoreError::precondition(reason::IN_USE, message).with("pool", &pool.name))
        };
    }
    if strategy == Strategy::Random
        && let Some(value) = wish.random(conn).await?
    {
        return Ok(value);
    }
    if let Some(value) = wish.scan(conn, strategy, None).await? {
        return Ok(value);
    }
    // Congestion: values that have rested for the shortest acceptable time are free as well, once.
    if let Some(floor) = pool.floor
        && let Some(value) = wish.scan(conn, strategy, Some(floor)).await?
    {
        return Ok(value);
    }
    Err(exhausted(conn, pool).await?)
}

/// Reserves several exact values of a pool that is known to be empty, in one statement.
///
/// # Errors
/// A value is taken.
pub async fn reserve_all(
    conn: &mut Conn,
    pool: &Pool,
    owner: Owner,
    values: &[(u64, &str, &str)],
) -> StoreResult<()> {
    let mut statement = sql(INSERT);
    for (position, (value, purpose, comment)) in values.iter().enumerate() {
        statement = statement.push(if position == 0 {
            ROW
        } else {
            ", (?, ?, ?, 'held', ?, ?, ?, UTC_TIMESTAMP(6), NULL, ?)"
        });
        statement = bind_row(statement, AllocationId::random(), pool, *value, owner, purpose, comment);
    }
    statement.run(conn).await?;
    Ok(())
}

struct Wish<'a> {
    pool: &'a Pool,
    owner: Owner,
    purpose: &'a str,
    comment: &'a str,
}

impl Wish<'_> {
    async fn random(&self, conn: &mut Conn) -> StoreResult<Option<u64>> {
        let candidates: Vec<u64> = {
            let mut rng = rand::rng();
            (0..RANDOM_TRIES).map(|_| rng.random_range(self.pool.first..=self.pool.last)).collect()
        };
        // Looked at first without a lock: an insert that meets a committed row keeps that row locked until the end of
        // the transaction, and two transactions that each met the other's wish would deadlock.
        let taken: Vec<u64> = sql("SELECT value FROM resource_pool_allocations WHERE pool = ? AND ")
            .bind(&self.pool.name)
            .append(not_takeable(None))
            .push(" AND value IN ")
            .list(candidates.iter().copied())
            .values(conn)
            .await?;
        for value in candidates.into_iter().filter(|value| !taken.contains(value)) {
            if self.take(conn, value, None).await? {
                return Ok(Some(value));
            }
        }
        Ok(None)
    }

    async fn scan(
        &self,
        conn: &mut Conn,
        strategy: Strategy,
        rest: Option<Duration>,
    ) -> StoreResult<Option<u64>> {
        let start = match strategy {
            Strategy::Random => rand::rng().random_range(self.pool.first..=self.pool.last),
            _ => self.pool.first,
        };
        for (from, to) in gap::windows(self.pool.first, self.pool.last, start, WINDOW) {
            let taken: Vec<u64> = sql(
                "SELECT value FROM resource_pool_allocations WHERE pool = ? AND value BETWEEN ? AND ? AND ",
            )
            .bind(&self.pool.name)
            .bind(from)
            .bind(to)
            .append(not_takeable(rest))
            .push(" ORDER BY value")
            .values(conn)
            .await?;
            let free: Vec<u64> = gap::free(from, to, &taken).collect();
            for value in free {
                if self.take(conn, value, rest).await? {
                    return Ok(Some(value));
                }
            }
        }
        Ok(None)
    }

    /// One candidate: insert, or take over if it rests long enough, then look whether it is ours.
    async fn take(&self, conn: &mut Conn, value: u64, rest: Option<Duration>) -> StoreResult<bool> {
        let id = AllocationId::random();
        // Assignments are made in order and see the ones before, so the identity decides and all others follow it.
        bind_row(sql(INSERT).push(ROW), id, self.pool, value, self.owner, self.purpose, self.comment)
            .push(" ON DUPLICATE KEY UPDATE allocation_uuid = IF(")
            .append(takeable(rest))
            .push(
                ", VALUES(allocation_uuid), allocation_uuid), \
                 owner_type = IF(allocation_uuid = VALUES(allocation_uuid), VALUES(owner_type), owner_type), \
                 owner_uuid = IF(allocation_uuid = VALUES(allocation_uuid), VALUES(owner_uuid), owner_uuid), \
                 purpose = IF(allocation_uuid = VALUES(allocation_uuid), VALUES(purpose), purpose), \
                 comment = IF(allocation_uuid = VALUES(allocation_uuid), VALUES(comment), comment), \
                 allocated_at = IF(allocation_uuid = VALUES(allocation_uuid), VALUES(allocated_at), allocated_at), \
                 expires_at = IF(allocation_uuid = VALUES(allocation_uuid), NULL, expires_at), \
                 state = IF(allocation_uuid = VALUES(allocation_uuid), 'held', state)",
            )
            .run(conn)
            .await?;
        let ours: Option<bool> = sql(
            "SELECT allocation_uuid = ? AS value FROM resource_pool_allocations WHERE pool = ? AND value = ?",
        )
        .bind(id)
        .bind(&self.pool.name)
        .bind(value)
        .value(conn)
        .await?;
        Ok(ours == Some(true))
    }
}

const INSERT: &str = "INSERT INTO resource_pool_allocations \
    (allocation_uuid, pool, value, state, owner_type, owner_uuid, purpose, allocated_at, expires_at, comment) VALUES ";
const ROW: &str = "(?, ?, ?, 'held', ?, ?, ?, UTC_TIMESTAMP(6), NULL, ?)";

fn bind_row(
    statement: Sql,
    id: AllocationId,
    pool: &Pool,
    value: u64,
    owner: Owner,
    purpose: &str,
    comment: &str,
) -> Sql {
    statement
        .bind(id)
        .bind(&pool.name)
        .bind(value)
        .bind(owner.object_type)
        .bind(owner.uuid)
        .bind(purpose)
        .bind(comment)
}

/// A resting value whose time is over, or that has rested for `rest`. Without an expiry it is never free.
fn takeable(rest: Option<Duration>) -> Sql {
    let shortest = rest.map(|rest| i64::try_from(rest.as_micros()).unwrap_or(i64::MAX));
    sql("state = 'halo' AND expires_at IS NOT NULL AND (expires_at <= UTC_TIMESTAMP(6) \
         OR COALESCE(TIMESTAMPDIFF(MICROSECOND, allocated_at, UTC_TIMESTAMP(6)) >= ?, FALSE))")
    .bind(shortest)
}

fn not_takeable(rest: Option<Duration>) -> Sql {
    sql("NOT (").append(takeable(rest)).push(")")
}

async fn exhausted(conn: &mut Conn, pool: &Pool) -> StoreResult<StoreError> {
    let counts: Option<Counts> = sql("SELECT CAST(COUNT(IF(state = 'held', 1, NULL)) AS UNSIGNED) AS held, \
         CAST(COUNT(IF(state = 'halo', 1, NULL)) AS UNSIGNED) AS halo FROM resource_pool_allocations WHERE pool = ?")
    .bind(&pool.name)
    .first_row(conn)
    .await?;
    let (held, halo) = counts.map_or((0, 0), |c| (c.held, c.halo));
    Ok(StoreError::capacity(reason::POOL_EMPTY, format!("pool {} is exhausted", pool.name))
        .with("pool", &pool.name)
        .with("capacity", pool.capacity())
        .with("held", held)
        .with("halo", halo))
}

fn describe(pool: &Pool, value: u64) -> String {
    if pool.name.starts_with("ipv4:") {
        format!("address {}", super::address(value))
    } else if pool.name == "mac" {
        format!("MAC address {}", sf_model::MacAddress::from_u64(value))
    } else {
        format!("value {value}")
    }
}

/// Kinds of owners the allocator knows by heart.
impl From<sf_model::NetworkId> for Owner {
    fn from(network: sf_model::NetworkId) -> Self {
        Self::new(ObjectType::Network, network.as_uuid())
    }
}

impl From<sf_model::InterfaceId> for Owner {
    fn from(interface: sf_model::InterfaceId) -> Self {
        Self::new(ObjectType::Interface, interface.as_uuid())
    }
}

impl From<sf_model::InstanceId> for Owner {
    fn from(instance: sf_model::InstanceId) -> Self {
        Self::new(ObjectType::Instance, instance.as_uuid())
    }
}
