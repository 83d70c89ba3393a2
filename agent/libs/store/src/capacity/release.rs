//! The way back of an admission (`scheduler.md` §6.4).

use sf_model::{InstanceId, NodeId};
use sf_scheduler::Amounts;
use uuid::Uuid;

use super::amounts::{add_to, negative};
use crate::conn::Conn;
use crate::error::{StoreError, StoreResult};
use crate::sql::{rows, sql};

/// Placements that moved between the probe and the lock before a release gives up.
const MAX_MOVES: u32 = 4;

rows! {
    /// A reservation as the ledger's own functions read it.
    pub(super) struct Reservation {
        pub(super) node_uuid: NodeId,
        pub(super) namespace: String,
        pub(super) claim_uuid: Option<Uuid>,
        pub(super) cpus: i64,
        pub(super) memory_mb: i64,
        pub(super) disk_gb: i64,
        /// It is a lease, and it has run out.
        pub(super) expired: bool,
    }
}

impl Reservation {
    const COLUMNS: &'static str = "node_uuid, namespace, claim_uuid, cpus, memory_mb, disk_gb, \
         (state = 'reserved' AND expires_at < UTC_TIMESTAMP(6)) AS expired";

    pub(super) fn amounts(&self) -> Amounts {
        Amounts { cpus: self.cpus, memory_mb: self.memory_mb, disk_gb: self.disk_gb }
    }
}

/// What a release took from the node and still owes to the claim or the cluster.
#[derive(Debug, Clone)]
#[must_use = "the release is complete only after `give_back`"]
pub struct Released {
    /// The node.
    pub node: NodeId,
    /// The namespace.
    pub namespace: String,
    /// What was returned.
    pub amounts: Amounts,
    claim: Option<Uuid>,
}

/// The first half: returns the amounts to the node and deletes the reservation with its tags. Must be the first
/// statements of the transaction; [`give_back`] comes last. None: there was no reservation, which is success.
///
/// # Errors
/// Those of the database; an underflow of the counters is one of them and would be a bug.
pub async fn release(conn: &mut Conn, owner: InstanceId) -> StoreResult<Option<Released>> {
    match lock(conn, owner).await? {
        Some(held) => release_locked(conn, owner, held).await.map(Some),
        None => Ok(None),
    }
}

/// The rest of [`release`] for a caller that has locked the reservation and looked at it.
pub(super) async fn release_locked(
    conn: &mut Conn,
    owner: InstanceId,
    held: Reservation,
) -> StoreResult<Released> {
    let amounts = held.amounts();
    // A node whose row is gone has nothing to return to.
    add_to(sql("UPDATE node_capacity SET "), "used", negative(amounts))
        .push(
            ", used_instances = used_instances - 1, updated_at = UTC_TIMESTAMP(6), \
             row_version = row_version + 1 WHERE node_uuid = ?",
        )
        .bind(held.node_uuid)
        .run(conn)
        .await?;
    sql("DELETE FROM placement_reservations WHERE owner_uuid = ?").bind(owner).run(conn).await?;
    Ok(Released { node: held.node_uuid, namespace: held.namespace, amounts, claim: held.claim_uuid })
}

/// The second half: returns the amounts to the claim or the cluster.
///
/// # Errors
/// As [`release`].
pub async fn give_back(conn: &mut Conn, released: &Released) -> StoreResult<()> {
    change_namespace_side(conn, released.claim, negative(released.amounts)).await
}

/// Adds to what a claim, or the cluster without one, has in use. Unguarded.
pub(super) async fn change_namespace_side(
    conn: &mut Conn,
    claim: Option<Uuid>,
    amounts: Amounts,
) -> StoreResult<()> {
    let update = match claim {
        Some(_) => add_to(sql("UPDATE namespace_claims SET "), "used", amounts),
        None => add_to(sql("UPDATE cluster_capacity SET "), "unclaimed_used", amounts),
    };
    let update = update.push(", updated_at = UTC_TIMESTAMP(6), row_version = row_version + 1 WHERE ");
    match claim {
        Some(claim) => update.push("uuid = ?").bind(claim),
        None => update.push("id = 1"),
    }
    .run(conn)
    .await?;
    Ok(())
}

/// Locks the node's row and then the reservation, in the order of every other transaction. The reservation may move
/// between the probe that finds the node and the lock.
pub(super) async fn lock(conn: &mut Conn, owner: InstanceId) -> StoreResult<Option<Reservation>> {
    for _ in 0..MAX_MOVES {
        let probed: Option<NodeId> =
            sql("SELECT node_uuid AS value FROM placement_reservations WHERE owner_uuid = ?")
                .bind(owner)
                .value(conn)
                .await?;
        let Some(node) = probed else { return Ok(None) };
        sql("SELECT node_uuid AS value FROM node_capacity WHERE node_uuid = ? FOR UPDATE")
            .bind(node)
            .value::<NodeId>(conn)
            .await?;
        let columns = Reservation::COLUMNS;
        let held: Option<Reservation> =
            sql(format!("SELECT {columns} FROM placement_reservations WHERE owner_uuid = ? FOR UPDATE"))
                .bind(owner)
                .first_row(conn)
                .await?;
        match held {
            Some(held) if held.node_uuid != node => {}
            other => return Ok(other),
        }
    }
    Err(StoreError::Contended { attempts: MAX_MOVES, last: format!("the placement of {owner} kept moving") })
}
