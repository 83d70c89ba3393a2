//! The rows of a new instance and its children.

use sf_model::disk::MachineType;
use sf_model::{ArtifactId, BlobId, NodeId, ObjectType};
use sf_protos::instances::{Disk, DiskSpec};

use super::create::{BEGINNING, Create, FIRST_PLACEMENT};
use crate::conn::Conn;
use crate::error::{StoreError, StoreResult};
use crate::sql::{Bind, sql};
use crate::wire::parse;

/// Schema version of the view.
const VERSION: u32 = 1;
/// Where the agent of a new guest stands.
const NO_CONTACT: &str = "not ready (no contact)";

/// Inserts the instance with its disks, side channels and wishes.
pub(super) async fn rows(conn: &mut Conn, create: &Create, node: NodeId) -> StoreResult<()> {
    instance(conn, create, node).await?;
    disks(conn, create).await?;
    side_channels(conn, create).await?;
    affinity(conn, create).await
}

/// The position of a disk as the tables hold it.
pub(super) fn position(disk: &Disk) -> StoreResult<u16> {
    u16::try_from(disk.position).map_err(|_| StoreError::invalid("disks.position: too large"))
}

async fn instance(conn: &mut Conn, create: &Create, node: NodeId) -> StoreResult<()> {
    let request = &create.request;
    let (state, power, desired) = BEGINNING;
    let video = request.video.clone().unwrap_or_default();
    let machine: &'static str = MachineType::for_secure_boot(request.secure_boot).into();
    let inserted = sql("INSERT INTO instances (uuid, namespace, name, cpus, memory_mb, ssh_key, user_data, \
         video_model, video_memory_kib, vdi, uefi, secure_boot, nvram_blob_uuid, configdrive, machine_type, \
         requested_node_uuid, node_uuid, placement_seq, power_desired, power_state, agent_state, state, \
         state_changed_at, created_at, version) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, \
         ?, ?, ?, UTC_TIMESTAMP(6), UTC_TIMESTAMP(6), ?)")
    .bind(create.instance)
    .bind(&request.namespace)
    .bind(&request.name)
    .bind(request.cpus)
    .bind(request.memory_mb)
    .bind(request.ssh_key.clone())
    .bind(request.user_data.clone())
    .bind(video.model)
    .bind(video.memory_kib)
    .bind(video.vdi)
    .bind(request.uefi)
    .bind(request.secure_boot)
    .bind(create.nvram)
    .bind(&request.configdrive)
    .bind(machine)
    .bind(create.requested_node)
    .bind(node)
    .bind(FIRST_PLACEMENT)
    .bind(desired.as_str())
    .bind(power.as_str())
    .bind(NO_CONTACT)
    .bind(state.as_str())
    .bind(VERSION)
    .run(conn)
    .await;
    match inserted {
        Err(error) if error.is_duplicate() => Err(StoreError::exists(ObjectType::Instance, create.instance)),
        other => other.map(|_| ()),
    }
}

async fn disks(conn: &mut Conn, create: &Create) -> StoreResult<()> {
    let mut disks: Vec<&Disk> = create.request.disks.iter().collect();
    disks.sort_by_key(|disk| disk.position);
    let mut asked = create.request.disk_spec.iter();
    let mut rows = Vec::with_capacity(disks.len());
    for disk in disks {
        let spec = if disk.is_configdrive { None } else { asked.next() };
        rows.push(disk_row(create, disk, spec.cloned().unwrap_or_default())?);
    }
    if rows.is_empty() {
        return Ok(());
    }
    sql("INSERT INTO instance_disks (instance_uuid, position, asked_size_gb, asked_base, asked_bus, asked_type, \
         size_gb, base, bus, present_as, device, blob_uuid, artifact_uuid, format, resolved, snapshot_ignores, \
         is_configdrive) VALUES ")
    .tuples(rows)
    .run(conn)
    .await?;
    Ok(())
}

fn disk_row(create: &Create, disk: &Disk, asked: DiskSpec) -> StoreResult<Vec<Bind>> {
    let blob = disk.blob_uuid.as_deref().map(|id| parse::<BlobId>("disks.blob_uuid", id)).transpose()?;
    let artifact =
        disk.artifact_uuid.as_deref().map(|id| parse::<ArtifactId>("disks.artifact_uuid", id)).transpose()?;
    Ok(vec![
        create.instance.into(),
        position(disk)?.into(),
        asked.size_gb.into(),
        asked.base.into(),
        asked.bus.into(),
        asked.r#type.into(),
        disk.size_gb.into(),
        disk.base.clone().into(),
        disk.bus.as_str().into(),
        disk.present_as.as_str().into(),
        disk.device.as_str().into(),
        blob.into(),
        artifact.into(),
        disk.format.as_str().into(),
        disk.resolved.clone().into(),
        disk.snapshot_ignores.into(),
        disk.is_configdrive.into(),
    ])
}

async fn side_channels(conn: &mut Conn, create: &Create) -> StoreResult<()> {
    let rows: Vec<Vec<Bind>> = (0_u16..)
        .zip(&create.request.side_channels)
        .map(|(position, channel)| vec![create.instance.into(), position.into(), channel.into()])
        .collect();
    if rows.is_empty() {
        return Ok(());
    }
    sql("INSERT INTO instance_side_channels (instance_uuid, position, channel) VALUES ")
        .tuples(rows)
        .run(conn)
        .await?;
    Ok(())
}

async fn affinity(conn: &mut Conn, create: &Create) -> StoreResult<()> {
    let affinity = create.request.affinity.clone().unwrap_or_default();
    let lists = [
        ("require_with_tag", affinity.require_with),
        ("require_without_tag", affinity.require_without),
        ("prefer_with_tag", affinity.prefer_with),
        ("prefer_without_tag", affinity.prefer_without),
    ];
    let rows: Vec<Vec<Bind>> = lists
        .into_iter()
        .flat_map(|(kind, tags)| tags.into_iter().map(move |tag| (kind, tag)))
        .map(|(kind, tag)| vec![create.instance.into(), kind.into(), tag.into()])
        .collect();
    if rows.is_empty() {
        return Ok(());
    }
    // A tag that is listed twice is one wish.
    sql("INSERT IGNORE INTO instance_affinity (instance_uuid, kind, tag) VALUES ")
        .tuples(rows)
        .run(conn)
        .await?;
    Ok(())
}
