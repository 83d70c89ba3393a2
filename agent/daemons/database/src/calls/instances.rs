//! Instances. A create walks its candidates: one transaction for each, until one admits.

use std::sync::Arc;

use bytes::Bytes;
use futures::FutureExt;
use prost::Message;
use sf_gateway::error_info;
use sf_protos::Rpc;
use sf_protos::instances::{
    CandidateRefusal, CheckInstancesRequest, ClearTombstoneRequest, CreateInstanceReply,
    CreateInstanceRequest, DeleteAllInstancesRequest, DeleteInstanceRequest, EnsureDeleteQueuedRequest,
    FinishDeleteRequest, GetInstanceDefinitionRequest, GetInstanceRequest, ListInstancesForNodeRequest,
    ListInstancesRequest, RecordBootRequest, RecordCreatedRequest, RecordPowerStatesRequest,
    RequestPowerRequest, SettleErrorRequest, SwapPortRequest, TransitionInstanceRequest,
};
use sf_store::capacity::{self, Refusal};
use sf_store::instances::{self, Create};
use sf_store::{Conn, StoreError, StoreResult, TxContext, session};
use tonic::{Code, Status};

use super::waits::in_place;
use crate::caller::Caller;
use crate::runner::{self, Lane, Order};
use crate::state::Gateway;
use crate::status;
use crate::table::Table;

pub(super) fn bind(table: Table) -> Table {
    table
        .bind_with::<CreateInstanceRequest, _, _>(create)
        .bind::<GetInstanceRequest>(|conn, _, request| instances::get(conn, request).boxed())
        .bind::<ListInstancesRequest>(|conn, _, request| instances::list(conn, request).boxed())
        .bind::<ListInstancesForNodeRequest>(|conn, _, request| {
            instances::list_for_node(conn, request).boxed()
        })
        .bind::<GetInstanceDefinitionRequest>(|conn, ctx, request| {
            instances::definition(conn, ctx, request).boxed()
        })
        .bind::<TransitionInstanceRequest>(|conn, ctx, request| {
            instances::transition(conn, ctx, request).boxed()
        })
        .bind::<RecordBootRequest>(|conn, _, request| instances::record_boot(conn, request).boxed())
        .bind::<RecordCreatedRequest>(|conn, ctx, request| {
            instances::record_created(conn, ctx, request).boxed()
        })
        .bind::<SettleErrorRequest>(|conn, ctx, request| instances::settle_error(conn, ctx, request).boxed())
        .bind::<RequestPowerRequest>(|conn, ctx, request| {
            instances::request_power(conn, ctx, request).boxed()
        })
        .bind::<RecordPowerStatesRequest>(|conn, _, request| instances::record_states(conn, request).boxed())
        .bind::<SwapPortRequest>(|conn, _, request| instances::swap_port(conn, request).boxed())
        .bind::<DeleteInstanceRequest>(|conn, ctx, request| instances::delete(conn, ctx, request).boxed())
        .bind::<DeleteAllInstancesRequest>(|conn, ctx, request| {
            instances::delete_all(conn, ctx, request).boxed()
        })
        .bind::<FinishDeleteRequest>(|conn, ctx, request| {
            instances::finish_delete(conn, ctx, request).boxed()
        })
        .bind::<EnsureDeleteQueuedRequest>(|conn, ctx, request| {
            instances::ensure_queued(conn, ctx, request).boxed()
        })
        .bind::<ClearTombstoneRequest>(|conn, _, request| instances::clear_tombstone(conn, request).boxed())
        .bind::<CheckInstancesRequest>(|conn, ctx, _| instances::check(conn, ctx).boxed())
}

async fn create(
    gateway: Arc<Gateway>,
    caller: Caller,
    request: CreateInstanceRequest,
) -> Result<CreateInstanceReply, Status> {
    let wanted = Create::parse(request.clone()).map_err(status::from_store)?;
    let mut refused = CreateInstanceReply::default();
    for node in wanted.candidates.clone() {
        // Each attempt carries the one candidate it tries, and the same mutation: only a commit is remembered.
        let attempt =
            CreateInstanceRequest { candidate_node_uuids: vec![node.to_string()], ..request.clone() };
        let order = Order::of(&caller, attempt, on_candidate)?;
        let status = match runner::run(&gateway, Lane::Ordinary, &caller, order).await {
            Ok(reply) => return created(reply, refused.refusals),
            Err(status) => status,
        };
        if status.code() == Code::AlreadyExists {
            return repeated(&gateway, &caller, wanted).await;
        }
        let Some(refusal) = refusal(&status) else { return Err(status) };
        let context = caller.transaction(
            &CreateInstanceRequest::CALL,
            request.context(),
            gateway.settings.load_full(),
        )?;
        let (amounts, deadline) = (wanted.amounts, caller.deadline);
        let seen = in_place(&gateway, &caller, CreateInstanceRequest::CALL, move |gateway| async move {
            session(&gateway.pools.ordinary, deadline, |conn| {
                async move { capacity::observe(conn, &context, node, refusal, amounts).await }.boxed()
            })
            .await
        });
        refused.refusals.push(seen.await?);
        if refusal.is_final() {
            refused.r#final = true;
            break;
        }
    }
    Ok(refused)
}

fn created(reply: Bytes, refusals: Vec<CandidateRefusal>) -> Result<CreateInstanceReply, Status> {
    let reply = CreateInstanceReply::decode(reply).map_err(|error| Status::internal(error.to_string()))?;
    Ok(CreateInstanceReply { refusals, ..reply })
}

fn on_candidate<'a>(
    conn: &'a mut Conn,
    ctx: &'a TxContext,
    request: &'a CreateInstanceRequest,
) -> futures::future::BoxFuture<'a, StoreResult<CreateInstanceReply>> {
    async move {
        let create = Create::parse(request.clone())?;
        let node = create.candidates.first().copied();
        let node = node.ok_or_else(|| StoreError::invalid("candidate_node_uuids: empty"))?;
        instances::create_on(conn, ctx, &create, node).await
    }
    .boxed()
}

/// The instance of an equal request whose reply was lost.
async fn repeated(
    gateway: &Arc<Gateway>,
    caller: &Caller,
    wanted: Create,
) -> Result<CreateInstanceReply, Status> {
    let deadline = caller.deadline;
    in_place(gateway, caller, CreateInstanceRequest::CALL, move |gateway| async move {
        session(&gateway.pools.ordinary, deadline, |conn| {
            async move { instances::existing(conn, &wanted).await }.boxed()
        })
        .await
    })
    .await
}

/// The refusal an attempt ended with, if that is how it ended.
fn refusal(status: &Status) -> Option<Refusal> {
    if status.code() != Code::ResourceExhausted {
        return None;
    }
    error_info(status)?.detail.get("stage")?.parse().ok()
}
