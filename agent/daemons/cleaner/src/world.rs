//! What the database, the hypervisor and the disk say about instances on this node, read whole or not at all.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, SystemTime};

use sf_gateway::{CallClass, DbError};
use sf_model::access::SYSTEM_NAMESPACE;
use sf_model::state::InstanceState;
use sf_model::{ClusterId, InstanceId};
use sf_protos::common::{Caller, Selector};
use sf_protos::instances::{GetInstanceRequest, Instance, ListInstancesForNodeRequest};

use crate::Cleaner;
use crate::error::Incomplete;
use crate::instances_dir::Directories;

/// The three views.
#[derive(Debug, Clone, Default)]
pub(crate) struct World {
    /// Instances recorded on this node, deleted ones included.
    pub(crate) records: BTreeMap<InstanceId, Record>,
    /// Instances removed from the record while this node could not be asked.
    pub(crate) tombstones: BTreeSet<InstanceId>,
    /// Our domains: those with this cluster's identity.
    pub(crate) domains: BTreeSet<InstanceId>,
    /// Directories of instances.
    pub(crate) directories: Directories,
    /// What the database says of instances that are here and not recorded here.
    pub(crate) elsewhere: BTreeMap<InstanceId, Elsewhere>,
}

/// What the database says of an instance recorded here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Record {
    /// State.
    pub(crate) state: InstanceState,
    /// Time in that state.
    pub(crate) age: Duration,
    /// An operation is queued or executing.
    pub(crate) pending: bool,
    /// The placement.
    pub(crate) placement_seq: u32,
}

/// What the database says of an instance that is not recorded here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Elsewhere {
    /// It has never heard of it, or has forgotten it.
    Unknown,
    /// It was deleted, placed on another node or nowhere.
    Deleted,
    /// It lives on another node.
    Placed,
}

impl World {
    /// Reads everything. The database first: an instance placed here while the rest is read then merely looks like one
    /// that is recorded elsewhere, and is left alone.
    pub(crate) async fn read(cleaner: &Cleaner) -> Result<Self, Incomplete> {
        let (records, tombstones) = recorded(cleaner).await?;
        let domains = our_domains(cleaner).await?;
        let directories = Directories::read(&cleaner.layout.instances())?;
        let mut world = Self { records, tombstones, domains, directories, ..Self::default() };
        let strangers: BTreeSet<InstanceId> = world
            .present()
            .filter(|id| !world.records.contains_key(id) && !world.tombstones.contains(id))
            .collect();
        for instance in strangers {
            world.elsewhere.insert(instance, ask(cleaner, instance).await?);
        }
        Ok(world)
    }

    /// Every instance of which something is here.
    pub(crate) fn present(&self) -> impl Iterator<Item = InstanceId> + '_ {
        self.domains.iter().chain(&self.directories.whole).chain(&self.directories.doomed).copied()
    }

    /// Whether nothing of the instance is here.
    pub(crate) fn is_clear_of(&self, instance: InstanceId) -> bool {
        !self.domains.contains(&instance) && !self.directories.has(instance)
    }
}

/// Everything recorded on this node: rows and tombstones.
type Recorded = (BTreeMap<InstanceId, Record>, BTreeSet<InstanceId>);

async fn recorded(cleaner: &Cleaner) -> Result<Recorded, Incomplete> {
    let tombstones = parking_lot::Mutex::new(BTreeSet::new());
    let rows = instances_here(cleaner, |gone| tombstones.lock().extend(gone)).await?;
    let now = SystemTime::now();
    let records = rows
        .iter()
        .map(|row| Ok((identity(&row.uuid)?, record(row, now)?)))
        .collect::<Result<_, Incomplete>>()?;
    let tombstones =
        tombstones.into_inner().iter().map(|id| identity(id)).collect::<Result<_, Incomplete>>()?;
    Ok((records, tombstones))
}

/// All instances recorded on this node; `tombstones` is handed those of the first page.
pub(crate) async fn instances_here(
    cleaner: &Cleaner,
    tombstones: impl Fn(Vec<String>),
) -> Result<Vec<Instance>, DbError> {
    let node = cleaner.context.node.uuid.to_string();
    let all = cleaner
        .context
        .gateway
        .collect_all(
            CallClass::Bulk,
            |page| ListInstancesForNodeRequest { node_uuid: node.clone(), page: Some(page) },
            |reply| {
                tombstones(reply.tombstones);
                (reply.instances, reply.page)
            },
        )
        .await?;
    Ok(all.into_vec())
}

fn record(row: &Instance, now: SystemTime) -> Result<Record, Incomplete> {
    let state = row.state.clone().unwrap_or_default();
    let changed = state.changed_at.and_then(|at| SystemTime::try_from(at).ok());
    Ok(Record {
        state: state
            .state
            .parse()
            .map_err(|_| Incomplete::Nonsense(format!("instance state {}", state.state)))?,
        // A clock that runs behind makes an instance look younger, which only delays.
        age: changed.and_then(|at| now.duration_since(at).ok()).unwrap_or_default(),
        pending: row.has_pending_operations,
        placement_seq: row.placement_seq,
    })
}

async fn our_domains(cleaner: &Cleaner) -> Result<BTreeSet<InstanceId>, Incomplete> {
    let cluster = cleaner.context.cluster.current().cluster_id.ok_or(Incomplete::NoCluster)?;
    let cluster = ClusterId::from_uuid(cluster);
    let domains = cleaner.hypervisor.list().await?;
    let ours = |identity: &sf_hypervisor::domain::DomainIdentity| identity.cluster == cluster;
    Ok(domains
        .into_iter()
        .filter(|domain| domain.identity.as_ref().is_some_and(ours))
        .map(|domain| domain.instance)
        .collect())
}

/// What the database says of one instance.
pub(crate) async fn ask(cleaner: &Cleaner, instance: InstanceId) -> Result<Elsewhere, Incomplete> {
    let request = GetInstanceRequest {
        caller: Some(Caller { namespace: SYSTEM_NAMESPACE.to_owned() }),
        selector: Some(Selector { reference: instance.to_string(), namespace: None }),
    };
    match cleaner.context.gateway.call(CallClass::Background, request).await {
        Ok(reply) => {
            let state = reply.instance.and_then(|instance| instance.state).unwrap_or_default();
            let deleted = state.state == InstanceState::Deleted.as_str();
            Ok(if deleted { Elsewhere::Deleted } else { Elsewhere::Placed })
        }
        Err(DbError::NotFound { .. }) => Ok(Elsewhere::Unknown),
        Err(error) => Err(error.into()),
    }
}

pub(crate) fn identity(text: &str) -> Result<InstanceId, Incomplete> {
    text.parse().map_err(|_| Incomplete::Nonsense(format!("instance {text}")))
}
