//! `POST /instances`: everything is admitted, reserved and queued in one transaction, or nothing exists.

use prost::Message;
use sf_events::event;
use sf_images::table::{ImageTable, TableError};
use sf_model::disk::{ConfigDrive, DiskBus};
use sf_model::event::EventType;
use sf_model::state::NodeState;
use sf_model::{InstanceId, InterfaceId, NodeId, ObjectType};
use sf_protos::artifacts::{DiskBase, ResolveDiskBasesReply, ResolveDiskBasesRequest};
use sf_protos::instances::{
    CreateInstanceRequest, DiskSpec as WireDiskSpec, InterfaceSpec, VideoSpec as WireVideoSpec,
    interface_spec,
};
use sf_protos::nodes::GetNodeRequest;
use sf_scheduler::limits::disk_charge_gb;
use sf_scheduler::wire::affinity_to_wire;
use sf_scheduler::{Amounts, Request as Wanted};
use sha2::{Digest, Sha256};

pub use super::spec::Create;
use crate::call::Call;
use crate::caller::Caller;
use crate::error::ApiError;
use crate::params::{AddressWish, DiskSpec, NetworkSpec};
use crate::placement::{disks::lay_out, explain, place};
use crate::reply::{ApiResult, Reply};
use crate::views::InstanceView;

const NO_TABLE: &str = "the image table of this node cannot be read, so names of images mean nothing now: name an artifact \
                        or a URL, or have the operator run sf-ctl config check";
/// An operator repairs it, which takes minutes.
const NO_TABLE_RETRY_SECONDS: u64 = 60;

/// Answers the instance, in its first state.
///
/// # Errors
/// 403, 404, 406, 409 for what it names; 507 with the account when no node takes it.
pub async fn handle(call: Call, create: Create) -> ApiResult {
    let namespace = call.target_namespace(create.namespace.clone(), Caller::may_create_in)?;
    let requested_node = requested_node(&call, create.placed_on.as_deref()).await?;
    let bases = resolve(&call, &create, &namespace).await?;
    let wanted = Wanted {
        charge: charge(&call, &create, &bases),
        networked: !create.networks.is_empty(),
        affinity: create.affinity.clone(),
        requested_node,
        current_node: None,
        excluded: Vec::new(),
    };
    let request = request(&call, &create, namespace.clone(), &bases, &wanted)?;
    match place(&call, request, wanted, &create.tags).await? {
        Ok(reply) => {
            let instance = reply.instance.unwrap_or_default();
            call.audit(ObjectType::Instance, &instance.uuid, "create request from REST API");
            Ok(Reply::view(InstanceView::from(instance)))
        }
        Err(refusal) => {
            let answer = explain(&refusal, call.caller.is_system());
            // Nothing of the instance remains to be asked about, so the reason is kept where its owner can read it.
            let entry = event(EventType::Audit, "schedule failed")
                .object(ObjectType::Namespace, &namespace)
                .extra(explain(&refusal, false).body());
            call.api.daemon.events.record(entry).await;
            Err(answer)
        }
    }
}

/// The node the caller named, if it can take instances at all.
async fn requested_node(call: &Call, named: Option<&str>) -> Result<Option<NodeId>, ApiError> {
    let Some(reference) = named else { return Ok(None) };
    if !call.cluster().allow_requested_placement && !call.caller.is_system() {
        return Err(ApiError::forbidden("naming a node is reserved to administrators here"));
    }
    let node = call.tier(GetNodeRequest { reference: reference.to_owned() }).await?.node.unwrap_or_default();
    let state = node.state.map(|state| state.state).unwrap_or_default();
    let usable = node.is_hypervisor && state == NodeState::Created.as_str();
    match node.uuid.parse() {
        Ok(id) if usable => Ok(Some(id)),
        _ => Err(ApiError::not_found("node")),
    }
}

/// What the bases mean, decided once for all disks and pinned in the instance.
async fn resolve(call: &Call, create: &Create, namespace: &str) -> Result<ResolveDiskBasesReply, ApiError> {
    let bases: Vec<DiskBase> = create
        .disks
        .iter()
        .map(|disk| DiskBase { base: disk.base_reference().unwrap_or_default().to_owned() })
        .collect();
    let table_urls = table_urls(call, &bases).await?;
    let request = ResolveDiskBasesRequest {
        context: None,
        caller: call.wire(),
        namespace: namespace.to_owned(),
        bases,
        nvram_template: create.nvram_template.clone(),
        table_urls,
    };
    call.tier(request).await
}

/// What this node's image table says about short names.
///
/// # Errors
/// It cannot be read. What a name stands for is not known then: another meaning of it would boot another image.
async fn table_urls(call: &Call, bases: &[DiskBase]) -> Result<Vec<String>, ApiError> {
    let is_short = |base: &str| !base.is_empty() && !base.contains('/') && !base.starts_with("label:");
    if !bases.iter().any(|base| is_short(&base.base)) {
        return Ok(vec![String::new(); bases.len()]);
    }
    let (path, mirror) =
        (call.api.daemon.config.image_table.clone(), call.cluster().image_download_url.clone());
    let names: Vec<String> = bases.iter().map(|base| base.base.clone()).collect();
    let look_up = move || -> Result<Vec<String>, TableError> {
        let table = ImageTable::load(&path, &mirror)?;
        let url = |name: &String| {
            let short = name.strip_prefix("image:").unwrap_or(name);
            let found = is_short(name).then(|| table.resolve(short)).flatten();
            found.map(|image| image.url).unwrap_or_default()
        };
        Ok(names.iter().map(url).collect())
    };
    // A small file, but a file.
    match tokio::task::spawn_blocking(look_up).await {
        Ok(Ok(urls)) => Ok(urls),
        Ok(Err(error)) => {
            tracing::error!(%error, "names of images mean nothing until the image table is repaired");
            Err(ApiError::unavailable(NO_TABLE, NO_TABLE_RETRY_SECONDS))
        }
        Err(error) => {
            tracing::error!(%error, "looking up names of images failed");
            Err(ApiError::internal())
        }
    }
}

fn charge(call: &Call, create: &Create, bases: &ResolveDiskBasesReply) -> Amounts {
    let sizes = create.disks.iter().zip(&bases.bases);
    let sizes = sizes.map(|(disk, base)| (disk.size.filter(|size| *size > 0), base.virtual_size));
    let has_auxiliary = create.configdrive == ConfigDrive::OpenstackDisk || create.uefi;
    Amounts {
        cpus: i64::from(create.cpus),
        memory_mb: i64::try_from(create.memory_mb).unwrap_or(i64::MAX),
        disk_gb: disk_charge_gb(sizes, call.cluster().scheduler_unsized_disk_gb, has_auxiliary),
    }
}

fn request(
    call: &Call,
    create: &Create,
    namespace: String,
    bases: &ResolveDiskBasesReply,
    wanted: &Wanted,
) -> Result<CreateInstanceRequest, ApiError> {
    if bases.bases.len() != create.disks.len() {
        tracing::error!("the database tier resolved another number of disk bases than it was asked for");
        return Err(ApiError::internal());
    }
    let default_bus = call.cluster().disk_bus.to_string().parse().unwrap_or(DiskBus::Virtio);
    let mut request = CreateInstanceRequest {
        context: None,
        caller: call.wire(),
        instance_uuid: InstanceId::random().to_string(),
        namespace,
        name: create.name.clone(),
        cpus: create.cpus,
        memory_mb: create.memory_mb,
        disk_spec: create.disks.iter().map(verbatim).collect(),
        disks: lay_out(&create.disks, &bases.bases, create.configdrive, default_bus)?,
        interfaces: create.networks.iter().map(interface).collect(),
        ssh_key: create.ssh_key.clone(),
        user_data: create.user_data.clone(),
        video: Some(WireVideoSpec {
            model: create.video.model.clone(),
            memory_kib: create.video.memory,
            vdi: create.video.vdi.to_string(),
        }),
        uefi: create.uefi,
        secure_boot: create.secure_boot,
        nvram_blob_uuid: bases.nvram_blob_uuid.clone(),
        configdrive: create.configdrive.to_string(),
        side_channels: create.side_channels.clone(),
        requested_node_uuid: wanted.requested_node.map(|node| node.to_string()),
        metadata: create.metadata.clone(),
        tags: create.tags.clone(),
        affinity: Some(affinity_to_wire(&create.affinity)),
        candidate_node_uuids: Vec::new(),
        charge: Some(wanted.charge.into()),
        request_hash: String::new(),
    };
    // Without candidates, so that a repeated attempt with other candidates is recognised as the same request.
    request.request_hash = hex::encode(Sha256::digest(request.encode_to_vec()));
    Ok(request)
}

fn verbatim(disk: &DiskSpec) -> WireDiskSpec {
    WireDiskSpec {
        size_gb: disk.size,
        base: disk.base.clone(),
        bus: disk.bus.clone(),
        r#type: disk.kind.clone(),
    }
}

fn interface(network: &NetworkSpec) -> InterfaceSpec {
    let address = match network.address {
        AddressWish::Allocate => interface_spec::Address::Allocate(true),
        AddressWish::None => interface_spec::Address::None(true),
        AddressWish::Exact(address) => interface_spec::Address::Exact(address.to_string()),
    };
    InterfaceSpec {
        interface_uuid: InterfaceId::random().to_string(),
        network_reference: network.network.clone(),
        address: Some(address),
        macaddress: network.mac.map(|mac| mac.to_string()),
        model: network.model.to_string(),
        float: network.float,
    }
}
