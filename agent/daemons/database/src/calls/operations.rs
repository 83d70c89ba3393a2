//! Operations and work queues. The long polls are next door in `waits.rs`.

use std::time::Duration;

use futures::FutureExt;
use sf_model::OperationId;
use sf_protos::common::OperationHandle;
use sf_protos::operations::{
    CompleteOperationReply, CompleteOperationRequest, DeferOperationReply, DeferOperationRequest,
    EnqueueOperationsReply, EnqueueOperationsRequest, EnqueuedOperation, FailOperationReply,
    FailOperationRequest, GetOperationChainRequest, GetOperationReply, GetOperationRequest,
    GetQueueDepthsRequest, ListOperationsForTargetRequest, NewOperation, PruneOperationsRequest,
    ReapExpiredClaimsRequest, ReleaseClaimsReply, ReleaseClaimsRequest, RenewClaimsReply, RenewClaimsRequest,
    StartOperationReply, StartOperationRequest,
};
use sf_store::operations::{self, EnqueueOperation, Failure, Worker};
use sf_store::wire::parse;
use sf_store::{Conn, StoreResult, TxContext};

use crate::table::Table;

pub(super) fn bind(table: Table) -> Table {
    table
        .bind::<EnqueueOperationsRequest>(|conn, ctx, request| enqueue(conn, ctx, request).boxed())
        .bind::<RenewClaimsRequest>(|conn, ctx, request| renew(conn, ctx, request).boxed())
        .bind::<ReleaseClaimsRequest>(|conn, ctx, request| release(conn, ctx, request).boxed())
        .bind::<StartOperationRequest>(|conn, ctx, request| start(conn, ctx, request).boxed())
        .bind::<DeferOperationRequest>(|conn, _, request| defer(conn, request).boxed())
        .bind::<CompleteOperationRequest>(|conn, ctx, request| complete(conn, ctx, request).boxed())
        .bind::<FailOperationRequest>(|conn, ctx, request| fail(conn, ctx, request).boxed())
        .bind::<GetOperationRequest>(|conn, _, request| {
            async move { Ok(GetOperationReply { operation: Some(operations::get(conn, request).await?) }) }
                .boxed()
        })
        .bind::<ListOperationsForTargetRequest>(|conn, _, request| {
            operations::list_for_target(conn, request).boxed()
        })
        .bind::<GetOperationChainRequest>(|conn, _, request| {
            operations::chain(conn, request.caller.as_ref(), &request.operation_uuid).boxed()
        })
        .bind::<GetQueueDepthsRequest>(|conn, _, _| operations::queue_depths(conn).boxed())
        .bind::<ReapExpiredClaimsRequest>(|conn, ctx, _| operations::reap(conn, ctx).boxed())
        .bind::<PruneOperationsRequest>(|conn, ctx, request| {
            operations::prune(conn, ctx, request.limit).boxed()
        })
}

async fn enqueue(
    conn: &mut Conn,
    ctx: &TxContext,
    request: &EnqueueOperationsRequest,
) -> StoreResult<EnqueueOperationsReply> {
    let enqueued = operations::enqueue(conn, ctx, &parse_all(&request.operations)?).await?;
    let operations = enqueued
        .into_iter()
        .map(|one| EnqueuedOperation {
            handle: Some(OperationHandle {
                op_type: one.operation_type.to_string(),
                op_uuid: one.uuid.to_string(),
            }),
            coalesced: one.coalesced,
        })
        .collect();
    Ok(EnqueueOperationsReply { operations })
}

async fn renew(
    conn: &mut Conn,
    ctx: &TxContext,
    request: &RenewClaimsRequest,
) -> StoreResult<RenewClaimsReply> {
    let worker = Worker {
        node: parse("node_uuid", &request.node_uuid)?,
        daemon: request.daemon.clone(),
        incarnation: parse("incarnation", &request.incarnation)?,
    };
    let held: Vec<OperationId> =
        request.operation_uuids.iter().map(|id| parse("operation_uuids", id)).collect::<StoreResult<_>>()?;
    let lost = operations::renew_claims(conn, ctx, &worker, &held).await?;
    Ok(RenewClaimsReply { lost: lost.iter().map(ToString::to_string).collect() })
}

async fn release(
    conn: &mut Conn,
    ctx: &TxContext,
    request: &ReleaseClaimsRequest,
) -> StoreResult<ReleaseClaimsReply> {
    let (node, keep) = (parse("node_uuid", &request.node_uuid)?, parse("keep", &request.keep)?);
    let released = operations::release_claims(conn, ctx, node, &request.daemon, keep).await?;
    Ok(ReleaseClaimsReply { released: u32::try_from(released).unwrap_or(u32::MAX) })
}

async fn start(
    conn: &mut Conn,
    ctx: &TxContext,
    request: &StartOperationRequest,
) -> StoreResult<StartOperationReply> {
    let (id, token) =
        (parse("operation_uuid", &request.operation_uuid)?, parse("claim_token", &request.claim_token)?);
    Ok(StartOperationReply { execute: operations::start(conn, ctx, id, token).await? })
}

async fn defer(conn: &mut Conn, request: &DeferOperationRequest) -> StoreResult<DeferOperationReply> {
    let (id, token) =
        (parse("operation_uuid", &request.operation_uuid)?, parse("claim_token", &request.claim_token)?);
    let asked = request.delay_ms.map(|ms| Duration::from_millis(ms.into()));
    let delay = operations::defer(conn, id, token, asked, &request.reason).await?;
    Ok(DeferOperationReply { delay_ms: u32::try_from(delay.as_millis()).unwrap_or(u32::MAX) })
}

async fn complete(
    conn: &mut Conn,
    ctx: &TxContext,
    request: &CompleteOperationRequest,
) -> StoreResult<CompleteOperationReply> {
    let (id, token) =
        (parse("operation_uuid", &request.operation_uuid)?, parse("claim_token", &request.claim_token)?);
    operations::complete(conn, ctx, id, token, &parse_all(&request.follow_ups)?).await?;
    Ok(CompleteOperationReply {})
}

async fn fail(
    conn: &mut Conn,
    ctx: &TxContext,
    request: &FailOperationRequest,
) -> StoreResult<FailOperationReply> {
    let (id, token) =
        (parse("operation_uuid", &request.operation_uuid)?, parse("claim_token", &request.claim_token)?);
    let mut failure = Failure::new(&request.code, request.message.clone());
    failure.details.clone_from(&request.details_json);
    failure.origin.clone_from(&request.origin);
    operations::fail(conn, ctx, id, token, failure, request.aborted).await?;
    Ok(FailOperationReply {})
}

fn parse_all(new: &[NewOperation]) -> StoreResult<Vec<EnqueueOperation>> {
    new.iter().map(operations::parse_new).collect()
}
