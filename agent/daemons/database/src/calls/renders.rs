//! Renders: claimed by long poll, and intents, which are computed from one picture of the database.

use std::sync::Arc;

use sf_model::NodeId;
use sf_protos::Rpc;
use sf_protos::networks::{
    ClaimRendersReply, ClaimRendersRequest, GetNetworkIntentReply, GetNetworkIntentRequest,
};
use sf_store::wire::parse;
use sf_store::{Wake, networks, transaction};
use tonic::Status;

use super::waits::{LOOK, in_place, patience};
use crate::caller::Caller;
use crate::state::Gateway;
use crate::status;
use crate::table::Table;

pub(super) fn bind(table: Table) -> Table {
    table.bind_with::<ClaimRendersRequest, _, _>(claim).bind_with::<GetNetworkIntentRequest, _, _>(intent)
}

async fn claim(
    gateway: Arc<Gateway>,
    caller: Caller,
    request: ClaimRendersRequest,
) -> Result<ClaimRendersReply, Status> {
    let node: NodeId = parse("node_uuid", &request.node_uuid).map_err(status::from_store)?;
    let waiting = gateway.waiters().join([Wake::Renders(node)]);
    let found = waiting
        .until(patience(request.wait_ms, &caller), || async {
            let reply = take(&gateway, &caller, &request).await?;
            Ok::<_, Status>(Some(reply).filter(|reply| !reply.claims.is_empty()))
        })
        .await?;
    Ok(found.unwrap_or_default())
}

/// One transaction, on a task that outlives the caller: claims of a caller that went away are found by their token.
async fn take(
    gateway: &Arc<Gateway>,
    caller: &Caller,
    request: &ClaimRendersRequest,
) -> Result<ClaimRendersReply, Status> {
    let context =
        Arc::new(caller.transaction(&ClaimRendersRequest::CALL, None, gateway.settings.load_full())?);
    let (request, deadline) = (request.clone(), caller.deadline.at_most(LOOK));
    in_place(gateway, caller, ClaimRendersRequest::CALL, move |gateway| async move {
        transaction(&gateway.pools.ordinary, deadline, |conn| {
            let (context, request) = (context.clone(), request.clone());
            Box::pin(async move { networks::claim_renders(conn, &context.settings, &request).await })
        })
        .await
    })
    .await
}

/// A read, but of several statements that must agree: it runs in a transaction that holds the network.
async fn intent(
    gateway: Arc<Gateway>,
    caller: Caller,
    request: GetNetworkIntentRequest,
) -> Result<GetNetworkIntentReply, Status> {
    let context =
        Arc::new(caller.transaction(&GetNetworkIntentRequest::CALL, None, gateway.settings.load_full())?);
    let deadline = caller.deadline;
    in_place(&gateway, &caller, GetNetworkIntentRequest::CALL, move |gateway| async move {
        transaction(&gateway.pools.ordinary, deadline, |conn| {
            let (context, request) = (context.clone(), request.clone());
            Box::pin(async move { networks::intent_of(conn, &context.settings, &request).await })
        })
        .await
    })
    .await
}
