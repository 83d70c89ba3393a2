//! Reading the figures behind a refusal, after it was rolled back.

use sf_model::NodeId;
use sf_protos::instances::CandidateRefusal;
use sf_protos::scheduler::NodeCapacity;
use sf_scheduler::{Amounts, Dimension, GuardRefusal, wire};

use super::admit::Refusal;
use super::snapshot;
use crate::conn::Conn;
use crate::context::TxContext;
use crate::error::StoreResult;
use crate::sql::{rows, sql};

rows! {
    struct ClusterRow {
        unclaimed_used_cpus: i64,
        unclaimed_used_memory_mb: i64,
        unclaimed_used_disk_gb: i64,
        room_cpus: i64,
        room_memory_mb: i64,
        room_disk_gb: i64,
    }
}

/// What a refused candidate looked like after the refusal. The figures may have changed since; when everything fits
/// by now, the tightest quantity is named.
///
/// # Errors
/// Those of the database.
pub async fn observe(
    conn: &mut Conn,
    ctx: &TxContext,
    node: NodeId,
    refusal: Refusal,
    requested: Amounts,
) -> StoreResult<CandidateRefusal> {
    let (reason, used, limit) = match refusal {
        Refusal::Affinity => (sf_scheduler::Reason::NeighboursChanged, 0, 0),
        Refusal::Cluster => cluster(conn, requested).await?,
        Refusal::Node => {
            let row = node_row(conn, ctx, node).await?.unwrap_or_default();
            of_node(ctx, &row, requested)
        }
    };
    let requested = reason.dimension().map_or(0, |dimension| requested.get(dimension));
    Ok(wire::refusal_to_wire(&GuardRefusal { node, reason, requested, used, limit }))
}

/// One node as the snapshot shows it; none when it is not a hypervisor or deleted.
///
/// # Errors
/// Those of the database.
pub async fn node_row(conn: &mut Conn, ctx: &TxContext, node: NodeId) -> StoreResult<Option<NodeCapacity>> {
    Ok(snapshot::nodes(conn, ctx, Some(node)).await?.into_iter().next())
}

fn of_node(ctx: &TxContext, row: &NodeCapacity, requested: Amounts) -> (sf_scheduler::Reason, i64, i64) {
    use sf_scheduler::Reason;
    let Some(capacity) = wire::capacity_from_wire(row) else { return (Reason::NoCapacityRow, 0, 0) };
    let max_age = ctx.settings.cluster.node_metrics_max_age.as_secs_f64();
    if !capacity.open {
        (Reason::Closed, 0, 0)
    } else if capacity.metrics_age_seconds > max_age {
        (Reason::Stale, 0, 0)
    } else if capacity.disk_headroom_gb <= 0 {
        (Reason::NoDiskHeadroom, 0, capacity.disk_headroom_gb)
    } else {
        let dimension = binding(requested, capacity.used, capacity.limit);
        if capacity.network_unfit && capacity.used.plus(requested).exceeds(&capacity.limit).is_none() {
            return (Reason::NetworkUnfit, 0, 0);
        }
        (Reason::Full(dimension), capacity.used.get(dimension), capacity.limit.get(dimension))
    }
}

async fn cluster(conn: &mut Conn, requested: Amounts) -> StoreResult<(sf_scheduler::Reason, i64, i64)> {
    let row: Option<ClusterRow> = sql("SELECT unclaimed_used_cpus, unclaimed_used_memory_mb, \
         unclaimed_used_disk_gb, total_cpus - claimed_cpus AS room_cpus, \
         total_memory_mb - claimed_memory_mb AS room_memory_mb, total_disk_gb - claimed_disk_gb AS room_disk_gb \
         FROM cluster_capacity WHERE id = 1")
    .first_row(conn)
    .await?;
    let (used, room) = row.map_or((Amounts::default(), Amounts::default()), |row| {
        let used = Amounts {
            cpus: row.unclaimed_used_cpus,
            memory_mb: row.unclaimed_used_memory_mb,
            disk_gb: row.unclaimed_used_disk_gb,
        };
        (used, Amounts { cpus: row.room_cpus, memory_mb: row.room_memory_mb, disk_gb: row.room_disk_gb })
    });
    let dimension = binding(requested, used, room);
    Ok((sf_scheduler::Reason::ClusterFull(dimension), used.get(dimension), room.get(dimension)))
}

/// The quantity that does not fit, or the one with the least room left relative to its limit.
fn binding(requested: Amounts, used: Amounts, limit: Amounts) -> Dimension {
    let after = used.plus(requested);
    after.exceeds(&limit).unwrap_or_else(|| {
        let left = |dimension: Dimension| {
            (limit.get(dimension) - after.get(dimension)) as f64 / limit.get(dimension).max(1) as f64
        };
        Dimension::ALL.into_iter().min_by(|a, b| left(*a).total_cmp(&left(*b))).unwrap_or(Dimension::Cpus)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_binding_quantity_is_named() {
        let amounts = |cpus, memory_mb, disk_gb| Amounts { cpus, memory_mb, disk_gb };
        let limit = amounts(10, 100, 100);
        for (requested, used, expected) in [
            (amounts(1, 1, 1), amounts(10, 0, 0), Dimension::Cpus),
            (amounts(1, 60, 1), amounts(0, 50, 0), Dimension::Memory),
            (amounts(1, 1, 1), amounts(0, 0, 100), Dimension::Disk),
            (amounts(1, 1, 1), amounts(0, 0, 99), Dimension::Disk),
        ] {
            assert_eq!(binding(requested, used, limit), expected);
        }
    }
}
