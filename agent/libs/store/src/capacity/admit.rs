//! Admission: a guarded update of the node's counters decides, one reservation row records (`scheduler.md` §5.2).

use std::time::Duration;

use sf_config::ClaimEnforcement;
use sf_model::affinity::Affinity;
use sf_model::event::EventType;
use sf_model::{InstanceId, NodeId, ObjectRef, ObjectType, ReservationId};
use sf_scheduler::Amounts;
use uuid::Uuid;

use super::amounts::{add_to, check, fits, values};
use crate::conn::Conn;
use crate::context::TxContext;
use crate::error::{StoreError, StoreResult, reason};
use crate::sql::{Bind, Sql, sql};

/// What is to be admitted.
#[derive(Debug, Clone)]
pub struct Admission<'a> {
    /// The instance.
    pub owner: InstanceId,
    /// The node asked.
    pub node: NodeId,
    /// Namespace of the instance.
    pub namespace: &'a str,
    /// What it is charged.
    pub amounts: Amounts,
    /// It has interfaces.
    pub networked: bool,
    /// Its tags.
    pub tags: &'a [String],
    /// Its wishes; only the hard ones are checked here.
    pub affinity: &'a Affinity,
    /// SHA-256 of the normalised request.
    pub request_hash: [u8; 32],
    /// The caller named the node.
    pub requested_node: bool,
    /// Admitted ahead of its instance for this long; none when the instance row is written in the same transaction.
    pub lease: Option<Duration>,
}

/// An admission whose transaction has not yet charged the claim or the cluster.
#[derive(Debug, Clone)]
#[must_use = "the admission is complete only after `charge`"]
pub struct Admitted {
    /// The reservation.
    pub reservation: ReservationId,
    namespace: String,
    claim: Option<Uuid>,
    amounts: Amounts,
}

/// Why an admission was refused; the attempt must be rolled back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, strum::Display, strum::EnumString)]
#[strum(serialize_all = "lowercase")]
pub enum Refusal {
    /// The node is closed, stale or full. Another may do.
    Node,
    /// Neighbours on the node violate a hard wish. Another node may do.
    Affinity,
    /// The cluster's unclaimed capacity is used up. No other node can cure it.
    Cluster,
}

impl Refusal {
    /// The detail of the error that names the refusal.
    const DETAIL: &'static str = "stage";

    /// Reads the refusal out of a store error; none for every other error.
    pub fn of(error: &StoreError) -> Option<Self> {
        match error {
            StoreError::Capacity { reason: reason::CAPACITY, detail, .. } => {
                detail.get(Self::DETAIL).and_then(|stage| stage.parse().ok())
            }
            _ => None,
        }
    }

    /// Whether trying another node is pointless.
    pub fn is_final(self) -> bool {
        self == Self::Cluster
    }

    fn error(self, message: String) -> StoreError {
        StoreError::capacity(reason::CAPACITY, message).with(Self::DETAIL, self)
    }
}

/// The first half: takes the amounts from the node, checks neighbours, records the reservation. Must be the first
/// statements of the transaction; [`charge`] must be the last before its events.
///
/// # Errors
/// A [`Refusal`]; [`StoreError::Exists`] when the owner has a reservation already; [`StoreError::Invalid`] for absurd
/// amounts.
pub async fn admit(conn: &mut Conn, ctx: &TxContext, admission: &Admission<'_>) -> StoreResult<Admitted> {
    check(admission.amounts)?;
    take_from_node(conn, ctx, admission).await?;
    check_neighbours(conn, admission).await?;
    let claim = sql("SELECT uuid AS value FROM namespace_claims WHERE active_namespace = ?")
        .bind(admission.namespace)
        .value::<Uuid>(conn)
        .await?;
    let reservation = record(conn, admission, claim).await?;
    super::tags::insert(conn, admission.owner, admission.namespace, admission.tags).await?;
    let namespace = admission.namespace.to_owned();
    Ok(Admitted { reservation, namespace, claim, amounts: admission.amounts })
}

/// The second half: charges the namespace's claim or, without one, the cluster.
///
/// # Errors
/// [`Refusal::Cluster`]; [`StoreError::Refused`] with reason `claim-ceiling` when the claim is used up.
pub async fn charge(conn: &mut Conn, ctx: &TxContext, admitted: &Admitted) -> StoreResult<()> {
    match admitted.claim {
        Some(claim) => charge_claim(conn, ctx, admitted, claim).await,
        None => charge_cluster(conn, admitted.amounts).await,
    }
}

async fn take_from_node(conn: &mut Conn, ctx: &TxContext, admission: &Admission<'_>) -> StoreResult<()> {
    let settings = &ctx.settings.cluster;
    let demand = settings.scheduler_demand_per_vcpu * admission.amounts.cpus as f64;
    // The demand is decayed to now before the new load is added, so one stored pair suffices and nothing runs in the
    // background. MariaDB assigns from left to right: the load must come before its time.
    let update = sql("UPDATE node_capacity SET expected_demand = expected_demand \
         * POW(2, -GREATEST(0, TIMESTAMPDIFF(MICROSECOND, demand_at, UTC_TIMESTAMP(6))) / ?) + ? / 1000000, \
         demand_at = UTC_TIMESTAMP(6), ")
    .bind(settings.scheduler_demand_half_life_seconds)
    .bind((demand * 1e6) as i64);
    let update = add_to(update, "used", admission.amounts)
        .push(
            ", used_instances = used_instances + 1, updated_at = UTC_TIMESTAMP(6), row_version = row_version + 1 \
             WHERE node_uuid = ? AND open AND NOT (network_unfit AND ?) AND disk_headroom_gb > 0 \
             AND metrics_at >= TIMESTAMPADD(MICROSECOND, -?, UTC_TIMESTAMP(6))",
        )
        .bind(admission.node)
        .bind(admission.networked)
        .bind(settings.node_metrics_max_age);
    let update = fits(update, "used", |column| format!("limit_{column}"), admission.amounts);
    if update.run(conn).await? == 0 {
        return Err(Refusal::Node.error(format!("node {} has no room", admission.node)));
    }
    Ok(())
}

/// Exact, because every other admission to this node needs the row lock that is held by now.
async fn check_neighbours(conn: &mut Conn, admission: &Admission<'_>) -> StoreResult<()> {
    let affinity = admission.affinity;
    if !affinity.is_hard() {
        return Ok(());
    }
    let asked = affinity.require_with.iter().chain(&affinity.require_without);
    let present: Vec<String> = sql("SELECT DISTINCT t.tag AS value FROM reservation_tags t \
         JOIN placement_reservations r ON r.owner_uuid = t.owner_uuid \
         WHERE r.node_uuid = ? AND t.namespace = ? AND t.tag IN ")
    .bind(admission.node)
    .bind(admission.namespace)
    .list(asked)
    .values(conn)
    .await?;
    let present = present.into_iter().map(|tag| (tag, 1)).collect();
    match sf_scheduler::affinity::violation(affinity, &present) {
        None => Ok(()),
        Some(reason) => Err(Refusal::Affinity.error(format!("node {} {reason}", admission.node))),
    }
}

async fn record(
    conn: &mut Conn,
    admission: &Admission<'_>,
    claim: Option<Uuid>,
) -> StoreResult<ReservationId> {
    let reservation = ReservationId::random();
    let amounts = values(admission.amounts).map(Bind::from);
    let insert = sql("INSERT INTO placement_reservations (owner_uuid, reservation_uuid, node_uuid, namespace, \
         claim_uuid, cpus, memory_mb, disk_gb, state, expires_at, request_hash, requested_node, created_at, updated_at) \
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, TIMESTAMPADD(MICROSECOND, ?, UTC_TIMESTAMP(6)), ?, ?, \
         UTC_TIMESTAMP(6), UTC_TIMESTAMP(6))")
    .bind(admission.owner)
    .bind(reservation)
    .bind(admission.node)
    .bind(admission.namespace)
    .bind(claim);
    let inserted = amounts
        .into_iter()
        .fold(insert, Sql::bind)
        .bind(if admission.lease.is_some() { "reserved" } else { "consumed" })
        .bind(admission.lease)
        .bind(admission.request_hash)
        .bind(admission.requested_node)
        .run(conn)
        .await;
    match inserted {
        Ok(_) => Ok(reservation),
        Err(error) if error.is_duplicate() => Err(StoreError::exists(ObjectType::Instance, admission.owner)),
        Err(error) => Err(error),
    }
}

async fn charge_claim(conn: &mut Conn, ctx: &TxContext, admitted: &Admitted, claim: Uuid) -> StoreResult<()> {
    let advisory = ctx.settings.cluster.claim_enforcement == ClaimEnforcement::Advisory;
    let update = add_to(sql("UPDATE namespace_claims SET "), "used", admitted.amounts)
        .push(", updated_at = UTC_TIMESTAMP(6), row_version = row_version + 1 WHERE uuid = ?")
        .bind(claim);
    let guarded =
        fits(update.clone(), "used", |column| format!("limit_{column}"), admitted.amounts).run(conn).await?;
    if guarded > 0 {
        return Ok(());
    }
    if !advisory {
        let message = format!("the claim {claim} of namespace {} is used up", admitted.namespace);
        return Err(StoreError::Refused { reason: "claim-ceiling", message });
    }
    update.run(conn).await?;
    let namespace = ObjectRef::new(ObjectType::Namespace, admitted.namespace.as_str());
    ctx.event(EventType::Audit, "claim exceeded", &[namespace]);
    Ok(())
}

async fn charge_cluster(conn: &mut Conn, amounts: Amounts) -> StoreResult<()> {
    let update = add_to(sql("UPDATE cluster_capacity SET "), "unclaimed_used", amounts)
        .push(", updated_at = UTC_TIMESTAMP(6), row_version = row_version + 1 WHERE id = 1");
    let room = |column: &str| format!("total_{column} - claimed_{column}");
    if fits(update, "unclaimed_used", room, amounts).run(conn).await? == 0 {
        return Err(Refusal::Cluster.error("the unclaimed capacity of the cluster is used up".to_owned()));
    }
    Ok(())
}
