//! Views of instances: one statement for the rows and one for each kind of child, whatever their number.

use std::collections::BTreeMap;

use sf_model::{ArtifactId, BlobId, InstanceId, ObjectType};
use sf_protos::instances::{Disk, DiskSpec, Instance, InstancePort, VideoSpec};

use super::rows::{InstanceRow, SELECT};
use crate::conn::Conn;
use crate::error::{StoreError, StoreResult};
use crate::metadata;
use crate::networks::interfaces;
use crate::pending;
use crate::sql::{Sql, rows, sql};
use crate::wire::{state_info, timestamp};

rows! {
    struct DiskRow {
        instance_uuid: InstanceId,
        position: u16,
        asked_size_gb: Option<u64>,
        asked_base: Option<String>,
        asked_bus: Option<String>,
        asked_type: Option<String>,
        size_gb: Option<u64>,
        base: Option<String>,
        bus: String,
        present_as: String,
        device: String,
        blob_uuid: Option<BlobId>,
        artifact_uuid: Option<ArtifactId>,
        format: String,
        resolved: Option<String>,
        snapshot_ignores: bool,
        is_configdrive: bool,
    }

    struct UserData {
        uuid: InstanceId,
        user_data: String,
    }
}

/// The view of one instance.
pub(super) async fn one(conn: &mut Conn, instance: InstanceId) -> StoreResult<Instance> {
    let rows = rows(conn, sql("i.uuid = ?").bind(instance)).await?;
    complete(conn, rows)
        .await?
        .into_iter()
        .next()
        .ok_or_else(|| StoreError::missing(ObjectType::Instance, instance))
}

/// The rows of the instances that a condition on `instances i` selects.
pub(super) async fn rows(conn: &mut Conn, condition: Sql) -> StoreResult<Vec<InstanceRow>> {
    sql(SELECT).append(condition).all(conn).await
}

/// The views of rows.
pub(super) async fn complete(conn: &mut Conn, rows: Vec<InstanceRow>) -> StoreResult<Vec<Instance>> {
    if rows.is_empty() {
        return Ok(Vec::new());
    }
    let ids: Vec<InstanceId> = rows.iter().map(|row| row.uuid).collect();
    let names: Vec<String> = ids.iter().map(ToString::to_string).collect();
    let mut user_data = user_data(conn, &rows).await?;
    let mut disks = disks(conn, &ids).await?;
    let mut interfaces = interfaces::load_of_instances(conn, &names).await?;
    let mut entries = metadata::load(conn, ObjectType::Instance, &names).await?;
    let mut operations = pending::load(conn, ObjectType::Instance, &names).await?;
    Ok(rows
        .into_iter()
        .map(|row| {
            let id = row.uuid;
            let key = id.to_string();
            let operations = operations.remove(&key).unwrap_or_default();
            let (disk_spec, disks) = disks.remove(&id).unwrap_or_default();
            Instance {
                user_data: user_data.remove(&id),
                disk_spec,
                disks,
                interfaces: interfaces.remove(&key).unwrap_or_default(),
                metadata: entries.remove(&key).unwrap_or_default(),
                has_pending_operations: operations.any,
                last_operation: operations.last,
                ..of_row(row)
            }
        })
        .collect())
}

fn of_row(row: InstanceRow) -> Instance {
    Instance {
        uuid: row.uuid.to_string(),
        namespace: row.namespace,
        name: row.name,
        state: Some(state_info(&row.state, row.state_changed_at, row.state_message)),
        version: row.version,
        cpus: row.cpus,
        memory_mb: row.memory_mb,
        ssh_key: row.ssh_key,
        video: Some(VideoSpec { model: row.video_model, memory_kib: row.video_memory_kib, vdi: row.vdi }),
        uefi: row.uefi,
        secure_boot: row.secure_boot,
        nvram_blob_uuid: row.nvram_blob_uuid.map(String::from),
        configdrive: row.configdrive,
        machine_type: row.machine_type,
        machine_version: row.machine_version,
        side_channels: row
            .side_channels
            .map(|list| list.split(',').map(str::to_owned).collect())
            .unwrap_or_default(),
        requested_node_uuid: row.requested_node_uuid.map(String::from),
        requested_node_name: row.requested_node_name,
        node_uuid: row.node_uuid.map(String::from),
        node_name: row.node_name,
        placement_seq: row.placement_seq,
        power_desired: row.power_desired,
        power_state: row.power_state,
        power_reason: row.power_reason,
        power_changed_at: row.power_changed_at.map(timestamp),
        boot_id: row.boot_id.map(|id| id.to_string()),
        ports: ports(row.ports.as_deref().unwrap_or_default()),
        agent_state: row.agent_state,
        enforced_deletes: row.enforced_deletes,
        created_at: Some(timestamp(row.created_at)),
        ..Instance::default()
    }
}

async fn user_data(conn: &mut Conn, rows: &[InstanceRow]) -> StoreResult<BTreeMap<InstanceId, String>> {
    let with = rows.iter().filter(|row| row.user_data_bytes.is_some());
    let with: Vec<InstanceId> = with.map(|row| row.uuid).collect();
    if with.is_empty() {
        return Ok(BTreeMap::new());
    }
    let found: Vec<UserData> =
        sql("SELECT uuid, user_data FROM instances WHERE user_data IS NOT NULL AND uuid IN ")
            .list(with)
            .all(conn)
            .await?;
    Ok(found.into_iter().map(|row| (row.uuid, row.user_data)).collect())
}

/// Reads `kind:port,kind:port`.
fn ports(folded: &str) -> Vec<InstancePort> {
    folded
        .split(',')
        .filter_map(|entry| {
            let (kind, port) = entry.split_once(':')?;
            Some(InstancePort { kind: kind.to_owned(), port: port.parse().ok()? })
        })
        .collect()
}

/// The disks as asked for and as resolved. The configuration drive was not asked for.
async fn disks(
    conn: &mut Conn,
    ids: &[InstanceId],
) -> StoreResult<BTreeMap<InstanceId, (Vec<DiskSpec>, Vec<Disk>)>> {
    let rows: Vec<DiskRow> = sql("SELECT instance_uuid, position, asked_size_gb, asked_base, asked_bus, asked_type, \
         size_gb, base, bus, present_as, device, blob_uuid, artifact_uuid, format, resolved, snapshot_ignores, \
         is_configdrive FROM instance_disks WHERE instance_uuid IN ")
    .list(ids.iter().copied())
    .push(" ORDER BY instance_uuid, position")
    .all(conn)
    .await?;
    let mut map: BTreeMap<InstanceId, (Vec<DiskSpec>, Vec<Disk>)> = BTreeMap::new();
    for row in rows {
        let (specs, disks) = map.entry(row.instance_uuid).or_default();
        if !row.is_configdrive {
            specs.push(DiskSpec {
                size_gb: row.asked_size_gb,
                base: row.asked_base,
                bus: row.asked_bus,
                r#type: row.asked_type,
            });
        }
        disks.push(Disk {
            position: row.position.into(),
            device: row.device,
            bus: row.bus,
            present_as: row.present_as,
            size_gb: row.size_gb,
            base: row.base,
            blob_uuid: row.blob_uuid.map(String::from),
            format: row.format,
            snapshot_ignores: row.snapshot_ignores,
            is_configdrive: row.is_configdrive,
            resolved: row.resolved,
            artifact_uuid: row.artifact_uuid.map(String::from),
            fetch_url: None,
        });
    }
    Ok(map)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_unfolded() {
        let found: Vec<_> = ports("console:30001,vdi:30002").into_iter().map(|p| (p.kind, p.port)).collect();
        assert_eq!(found, [("console".to_owned(), 30001), ("vdi".to_owned(), 30002)]);
        assert!(ports("").is_empty());
    }
}
