//! The instance row and its children as they are read.

use chrono::{DateTime, Utc};
use sf_model::state::{InstanceState, PowerState};
use sf_model::{BlobId, InstanceId, NodeId, ObjectType};
use uuid::Uuid;

use crate::conn::Conn;
use crate::error::{StoreError, StoreResult};
use crate::metadata::metadata_bytes;
use crate::sql::{rows, sql};
use crate::wire::from_row;

rows! {
    /// Everything of one row that views show, with the names of its nodes and its small children folded in.
    pub(super) struct InstanceRow {
        pub(super) uuid: InstanceId,
        pub(super) namespace: String,
        pub(super) name: String,
        pub(super) cpus: u32,
        pub(super) memory_mb: u64,
        pub(super) ssh_key: Option<String>,
        pub(super) user_data_bytes: Option<u32>,
        pub(super) video_model: String,
        pub(super) video_memory_kib: u32,
        pub(super) vdi: String,
        pub(super) uefi: bool,
        pub(super) secure_boot: bool,
        pub(super) nvram_blob_uuid: Option<BlobId>,
        pub(super) configdrive: String,
        pub(super) machine_type: String,
        pub(super) machine_version: Option<String>,
        pub(super) requested_node_uuid: Option<NodeId>,
        pub(super) requested_node_name: Option<String>,
        pub(super) node_uuid: Option<NodeId>,
        pub(super) node_name: Option<String>,
        pub(super) placement_seq: u32,
        pub(super) power_desired: String,
        pub(super) power_state: String,
        pub(super) power_reason: Option<String>,
        pub(super) power_changed_at: Option<DateTime<Utc>>,
        pub(super) boot_id: Option<Uuid>,
        pub(super) agent_state: String,
        pub(super) enforced_deletes: u32,
        pub(super) state: String,
        pub(super) state_changed_at: DateTime<Utc>,
        pub(super) state_message: Option<String>,
        pub(super) created_at: DateTime<Utc>,
        pub(super) version: u32,
        pub(super) side_channels: Option<String>,
        pub(super) ports: Option<String>,
        pub(super) weight: u64,
    }

    /// The columns that decide what may be done with an instance.
    pub(super) struct Guard {
        pub(super) uuid: InstanceId,
        pub(super) namespace: String,
        pub(super) node_uuid: Option<NodeId>,
        pub(super) placement_seq: u32,
        pub(super) state: String,
        pub(super) power_state: String,
        pub(super) boot_id: Option<Uuid>,
    }
}

/// Selects [`InstanceRow`] from `instances i`. The children folded in are at most eight short words each, so the limit
/// of `GROUP_CONCAT` is far away. User data may have megabytes and is read for the rows that stay.
pub(super) const SELECT: &str = concat!(
    "SELECT i.uuid, i.namespace, i.name, i.cpus, i.memory_mb, i.ssh_key, i.user_data_bytes, i.video_model, i.video_memory_kib, i.vdi, i.uefi, i.secure_boot, i.nvram_blob_uuid, i.configdrive, \
     i.machine_type, i.machine_version, i.requested_node_uuid, asked.fqdn AS requested_node_name, i.node_uuid, \
     placed.fqdn AS node_name, i.placement_seq, i.power_desired, i.power_state, i.power_reason, i.power_changed_at, \
     i.boot_id, i.agent_state, i.enforced_deletes, i.state, i.state_changed_at, i.state_message, i.created_at, \
     i.version, \
     (SELECT GROUP_CONCAT(s.channel ORDER BY s.position) FROM instance_side_channels s \
     WHERE s.instance_uuid = i.uuid) AS side_channels, \
     (SELECT GROUP_CONCAT(CONCAT(p.kind, ':', p.port) ORDER BY p.kind) FROM instance_ports p \
     WHERE p.instance_uuid = i.uuid) AS ports, \
     COALESCE(i.user_data_bytes, 0) + COALESCE(LENGTH(i.ssh_key), 0) + ",
    metadata_bytes!("instance", "i.uuid"),
    " + (SELECT CAST(COALESCE(SUM(",
    metadata_bytes!("networkinterface", "f.uuid"),
    "), 0) AS UNSIGNED) FROM network_interfaces f WHERE f.instance_uuid = i.uuid AND f.state <> 'deleted') AS weight \
     FROM instances i LEFT JOIN nodes placed ON placed.uuid = i.node_uuid \
     LEFT JOIN nodes asked ON asked.uuid = i.requested_node_uuid WHERE "
);

impl Guard {
    /// Reads the row without locking it.
    pub(super) async fn read(conn: &mut Conn, instance: InstanceId) -> StoreResult<Self> {
        Self::select(conn, instance, "").await
    }

    /// Reads the row and keeps it locked.
    pub(super) async fn lock(conn: &mut Conn, instance: InstanceId) -> StoreResult<Self> {
        Self::select(conn, instance, " FOR UPDATE").await
    }

    async fn select(conn: &mut Conn, instance: InstanceId, lock: &str) -> StoreResult<Self> {
        sql(format!(
            "SELECT uuid, namespace, node_uuid, placement_seq, state, power_state, boot_id FROM instances \
             WHERE uuid = ?{lock}"
        ))
        .bind(instance)
        .first_row(conn)
        .await?
        .ok_or_else(|| StoreError::missing(ObjectType::Instance, instance))
    }

    /// The state.
    pub(super) fn state(&self) -> StoreResult<InstanceState> {
        from_row("instance state", &self.state)
    }

    /// The observed power state.
    pub(super) fn power(&self) -> StoreResult<PowerState> {
        from_row("power state", &self.power_state)
    }
}
