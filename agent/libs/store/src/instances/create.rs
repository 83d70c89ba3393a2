//! Creating an instance: everything or nothing, in one transaction per candidate (`instances.md` §5.1).

use std::collections::BTreeSet;

use serde_json::json;
use sf_model::affinity::Affinity;
use sf_model::event::EventType;
use sf_model::state::{InstanceState, PowerDesired, PowerState};
use sf_model::{BlobId, InstanceId, NetworkId, NodeId, ObjectRef, ObjectType};
use sf_protos::instances::{CreateInstanceReply, CreateInstanceRequest};
use sf_scheduler::{Amounts, wire};

use super::create_operations::{self, Fetch, Rendered};
use super::{disks, insert, ports, view};
use crate::artifacts;
use crate::capacity::{self, Admission};
use crate::conn::Conn;
use crate::context::TxContext;
use crate::error::{StoreError, StoreResult};
use crate::metadata;
use crate::namespaces;
use crate::networks::interfaces::{self, NewInterfaces};
use crate::references::{self, ReferenceKind};
use crate::sql::sql;
use crate::wire::{from_row, parse};

/// Candidates of one call.
const MAX_CANDIDATES: usize = 32;
/// The first placement.
pub(super) const FIRST_PLACEMENT: u32 = 1;

/// A request whose texts have been read.
#[derive(Debug, Clone)]
pub struct Create {
    pub(super) instance: InstanceId,
    pub(super) requested_node: Option<NodeId>,
    pub(super) nvram: Option<BlobId>,
    /// The nodes to try, in this order.
    pub candidates: Vec<NodeId>,
    /// What the instance is charged.
    pub amounts: Amounts,
    affinity: Affinity,
    request_hash: [u8; 32],
    pub(super) request: CreateInstanceRequest,
}

impl Create {
    /// Reads a request.
    ///
    /// # Errors
    /// [`StoreError::Invalid`] naming the field.
    pub fn parse(request: CreateInstanceRequest) -> StoreResult<Self> {
        let instance = parse("instance_uuid", &request.instance_uuid)?;
        let optional_node = request.requested_node_uuid.as_deref().map(|id| parse("requested_node_uuid", id));
        let nvram = request.nvram_blob_uuid.as_deref().map(|id| parse("nvram_blob_uuid", id));
        let candidates: Vec<NodeId> = request
            .candidate_node_uuids
            .iter()
            .map(|id| parse("candidate_node_uuids", id))
            .collect::<StoreResult<_>>()?;
        if !(1..=MAX_CANDIDATES).contains(&candidates.len()) {
            return Err(StoreError::invalid(format!("candidate_node_uuids: 1 to {MAX_CANDIDATES}")));
        }
        let amounts = Amounts {
            cpus: request.cpus.into(),
            memory_mb: i64::try_from(request.memory_mb).unwrap_or(i64::MAX),
            disk_gb: request.charge.unwrap_or_default().disk_gb,
        };
        let mut request_hash = [0; 32];
        hex::decode_to_slice(&request.request_hash, &mut request_hash)
            .map_err(|_| StoreError::invalid("request_hash: must be 64 hexadecimal digits"))?;
        let asked = request.disks.iter().filter(|disk| !disk.is_configdrive).count();
        if asked != request.disk_spec.len() {
            return Err(StoreError::invalid("disks: one for each entry of disk_spec and the config drive"));
        }
        let affinity = wire::affinity_from_wire(&request.affinity.clone().unwrap_or_default());
        Ok(Self {
            instance,
            requested_node: optional_node.transpose()?,
            nvram: nvram.transpose()?,
            candidates,
            amounts,
            affinity,
            request_hash,
            request,
        })
    }
}

/// Creates the instance on one candidate. The first statement decides; a refusal must be rolled back and leaves
/// nothing, so the caller may try the next candidate in another transaction.
///
/// # Errors
/// A [`capacity::Refusal`]; [`StoreError::Exists`] when the instance exists (see [`existing`]); [`StoreError::Missing`]
/// for a namespace, network or blob; a precondition for taken addresses and networks that are not ready.
pub async fn create_on(
    conn: &mut Conn,
    ctx: &TxContext,
    create: &Create,
    node: NodeId,
) -> StoreResult<CreateInstanceReply> {
    let request = &create.request;
    let admission = Admission {
        owner: create.instance,
        node,
        namespace: &request.namespace,
        amounts: create.amounts,
        networked: !request.interfaces.is_empty(),
        tags: &request.tags,
        affinity: &create.affinity,
        request_hash: create.request_hash,
        requested_node: create.requested_node.is_some(),
        lease: None,
    };
    let admitted = capacity::admit(conn, ctx, &admission).await?;
    namespaces::hold(conn, &request.namespace).await?;
    insert::rows(conn, create, node).await?;
    let rendered = attach(conn, ctx, create, node).await?;
    let fetches = images(conn, ctx, create).await?;
    keep_blobs(conn, create).await?;
    ports::claim(conn, create.instance, node).await?;
    metadata::set_all(conn, ObjectType::Instance, &create.instance.to_string(), &request.metadata).await?;
    create_operations::enqueue(conn, ctx, create, node, &fetches, &rendered).await?;
    capacity::charge(conn, ctx, &admitted).await?;
    report(ctx, create, node);
    Ok(CreateInstanceReply {
        instance: Some(view::one(conn, create.instance).await?),
        refusals: Vec::new(),
        r#final: false,
        admitted: capacity::node_row(conn, ctx, node).await?,
    })
}

/// The answer to a repeated request: the instance as it is, when it was made by an equal request.
///
/// # Errors
/// [`StoreError::Exists`] when another request used the identity.
pub async fn existing(conn: &mut Conn, create: &Create) -> StoreResult<CreateInstanceReply> {
    let made_by: Option<Vec<u8>> =
        sql("SELECT request_hash AS value FROM placement_reservations WHERE owner_uuid = ?")
            .bind(create.instance)
            .value(conn)
            .await?;
    if made_by.as_deref() != Some(create.request_hash.as_slice()) {
        return Err(StoreError::exists(ObjectType::Instance, create.instance));
    }
    let instance = view::one(conn, create.instance).await?;
    Ok(CreateInstanceReply { instance: Some(instance), ..CreateInstanceReply::default() })
}

/// Makes the interfaces, which asks for their networks to be rendered; answers the generation each network must reach.
async fn attach(
    conn: &mut Conn,
    ctx: &TxContext,
    create: &Create,
    node: NodeId,
) -> StoreResult<Vec<Rendered>> {
    let new = NewInterfaces {
        instance: create.instance,
        namespace: &create.request.namespace,
        node,
        specs: &create.request.interfaces,
    };
    let interfaces = interfaces::create(conn, ctx, &new).await?;
    let networks: BTreeSet<NetworkId> = interfaces
        .iter()
        .map(|interface| from_row("network", &interface.network_uuid))
        .collect::<StoreResult<_>>()?;
    if networks.is_empty() {
        return Ok(Vec::new());
    }
    // Exact: the rows of the networks are locked since their generation was raised for these interfaces.
    sql("INSERT INTO instance_renders (instance_uuid, network_uuid, generation) \
         SELECT ?, uuid, generation FROM networks WHERE uuid IN ")
    .bind(create.instance)
    .list(networks)
    .run(conn)
    .await?;
    sql("SELECT network_uuid AS network, generation FROM instance_renders WHERE instance_uuid = ? ORDER BY 1")
        .bind(create.instance)
        .all(conn)
        .await
}

/// Finds or makes the images that must be fetched first, and says so in the disks.
async fn images(conn: &mut Conn, ctx: &TxContext, create: &Create) -> StoreResult<Vec<Fetch>> {
    let mut fetches: Vec<Fetch> = Vec::new();
    for disk in create.request.disks.iter().filter(|disk| disk.blob_uuid.is_none()) {
        let (Some(proposed), Some(url)) = (&disk.artifact_uuid, &disk.fetch_url) else { continue };
        let proposed = parse("disks.artifact_uuid", proposed)?;
        let artifact =
            artifacts::ensure_for_fetch(conn, ctx, &create.request.namespace, url, proposed).await?;
        sql("UPDATE instance_disks SET artifact_uuid = ? WHERE instance_uuid = ? AND position = ?")
            .bind(artifact)
            .bind(create.instance)
            .bind(insert::position(disk)?)
            .run(conn)
            .await?;
        if !fetches.iter().any(|fetch| fetch.artifact == artifact) {
            fetches.push(Fetch { artifact, url: url.clone() });
        }
    }
    Ok(fetches)
}

async fn keep_blobs(conn: &mut Conn, create: &Create) -> StoreResult<()> {
    for disk in &create.request.disks {
        if let Some(blob) = &disk.blob_uuid {
            let position = insert::position(disk)?;
            disks::reference(conn, create.instance, position, parse("disks.blob_uuid", blob)?).await?;
        }
    }
    if let Some(blob) = create.nvram {
        references::add(conn, blob, ReferenceKind::NvramTemplate, create.instance.as_uuid(), "").await?;
    }
    Ok(())
}

fn report(ctx: &TxContext, create: &Create, node: NodeId) {
    let objects =
        [ObjectRef::new(ObjectType::Instance, create.instance), ObjectRef::new(ObjectType::Node, node)];
    let extra = json!({
        "node": node.to_string(),
        "cpus": create.amounts.cpus,
        "memory_mb": create.amounts.memory_mb,
        "disk_gb": create.amounts.disk_gb,
        "candidates": create.candidates.iter().take(10).map(ToString::to_string).collect::<Vec<_>>(),
    });
    ctx.event_with(EventType::Audit, "instance placed", &objects, Some(&extra));
}

/// The states a new instance begins in.
pub(super) const BEGINNING: (InstanceState, PowerState, PowerDesired) =
    (InstanceState::Initial, PowerState::Initial, PowerDesired::On);
