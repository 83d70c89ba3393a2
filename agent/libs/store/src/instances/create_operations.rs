//! The work that makes an instance: accept it on its node, fetch what is missing, render its networks, build it.

use sf_model::operation::{NetworkTask, OperationArgs, Priority};
use sf_model::{ArtifactId, NetworkId, NodeId, OperationId};

use super::create::{Create, FIRST_PLACEMENT};
use crate::conn::Conn;
use crate::context::TxContext;
use crate::error::StoreResult;
use crate::operations::{self, Dependency, EnqueueOperation, Kind};
use crate::sql::rows;

rows! {
    /// A network of the instance and the generation that contains it.
    pub(super) struct Rendered {
        network: NetworkId,
        generation: u64,
    }
}

/// An image that must be fetched first.
#[derive(Debug, Clone)]
pub(super) struct Fetch {
    pub(super) artifact: ArtifactId,
    pub(super) url: String,
}

/// Enqueues the operations of a new placement.
pub(super) async fn enqueue(
    conn: &mut Conn,
    ctx: &TxContext,
    create: &Create,
    node: NodeId,
    fetches: &[Fetch],
    rendered: &[Rendered],
) -> StoreResult<()> {
    let deadline = ctx.settings.cluster.instance_create_deadline.as_secs();
    let operation = |args, requires: &[OperationId]| EnqueueOperation {
        uuid: OperationId::ordered(),
        node,
        namespace: Some(create.request.namespace.clone()),
        priority: Priority::UserFacing,
        args,
        dependencies: requires
            .iter()
            .map(|id| Dependency { operation: *id, kind: Kind::Requires, wait_seconds: None })
            .collect(),
        deadline_seconds: u32::try_from(deadline).unwrap_or(u32::MAX),
        observational: false,
    };
    let (instance, placement_seq) = (create.instance, FIRST_PLACEMENT);
    let preflight = operation(OperationArgs::InstancePreflight { instance, placement_seq }, &[]);
    let mut required = vec![preflight.uuid];
    let mut all = vec![preflight];
    for Fetch { artifact, url } in fetches.iter().cloned() {
        let args = OperationArgs::ArtifactFetch { artifact, url, instance: Some(instance) };
        // Only once the node has accepted the instance: a refused one fetches nothing.
        all.push(operation(args, required.get(..1).unwrap_or_default()));
    }
    for Rendered { network, generation } in rendered {
        let args = OperationArgs::NetOp {
            network: *network,
            task: NetworkTask::NetworkRender,
            generation: *generation,
        };
        all.push(operation(args, &[]));
    }
    required.extend(all.iter().skip(1).map(|operation| operation.uuid));
    all.push(operation(OperationArgs::InstanceCreate { instance, placement_seq }, &required));
    operations::enqueue(conn, ctx, &all).await?;
    Ok(())
}
