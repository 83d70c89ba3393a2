//! What disks keep, and what they are charged once their images are known.

use sf_model::{BlobId, InstanceId};
use sf_scheduler::limits::disk_charge_gb;

use crate::capacity;
use crate::conn::Conn;
use crate::context::TxContext;
use crate::error::StoreResult;
use crate::references::{self, ReferenceKind};
use crate::sql::{rows, sql};

rows! {
    struct SizeRow {
        size_gb: Option<u64>,
        virtual_size: Option<u64>,
        charged: i64,
        has_auxiliary: i64,
    }
}

/// Records that a disk keeps a blob.
pub(super) async fn reference(
    conn: &mut Conn,
    instance: InstanceId,
    position: u16,
    blob: BlobId,
) -> StoreResult<()> {
    references::add(conn, blob, ReferenceKind::Disk, instance.as_uuid(), &position.to_string()).await
}

/// Charges disks without size what their images turned out to be (`scheduler.md` §3.1).
pub(super) async fn correct_charge(
    conn: &mut Conn,
    ctx: &TxContext,
    instance: InstanceId,
    placement_seq: u32,
) -> StoreResult<()> {
    let rows: Vec<SizeRow> = sql("SELECT d.size_gb, b.virtual_size, r.disk_gb AS charged, \
         CAST((i.uefi OR i.configdrive <> 'none') AS SIGNED) AS has_auxiliary FROM instance_disks d \
         JOIN instances i ON i.uuid = d.instance_uuid JOIN placement_reservations r ON r.owner_uuid = i.uuid \
         LEFT JOIN blobs b ON b.uuid = d.blob_uuid \
         WHERE d.instance_uuid = ? AND i.placement_seq = ? AND i.state = 'preflight' AND NOT d.is_configdrive")
    .bind(instance)
    .bind(placement_seq)
    .all(conn)
    .await?;
    let Some((charged, has_auxiliary)) = rows.first().map(|row| (row.charged, row.has_auxiliary != 0)) else {
        return Ok(());
    };
    let sizes = rows.iter().map(|row| (row.size_gb, row.virtual_size));
    let real = disk_charge_gb(sizes, ctx.settings.cluster.scheduler_unsized_disk_gb, has_auxiliary);
    if real == charged { Ok(()) } else { capacity::adjust_disk(conn, instance, real).await }
}
