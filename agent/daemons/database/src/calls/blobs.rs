//! Blobs, their copies, and uploads.

use std::sync::Arc;

use futures::FutureExt;
use sf_protos::blobs::{
    AbortBlobRequest, AbortUploadCommitRequest, AcquireTransferRequest, BatchGetBlobsRequest,
    BeginUploadCommitRequest, CheckBlobsRequest, CommitBlobRequest, CreateUploadRequest,
    FindBlobByHashRequest, FinishTransferRequest, GetBlobRequest, GetUploadRequest, ListBlobsRequest,
    ListReplicasOfNodeRequest, OpenBlobForReadRequest, ReapStorageReply, ReapStorageRequest,
    RecordHashRequest, RenewLeasesRequest, ReportReplicaScanRequest, RequestHashRequest, ReserveBlobRequest,
    TouchUploadsRequest,
};
use sf_store::blobs::Garbage;
use sf_store::{blobs, uploads};
use strum::IntoEnumIterator;
use tonic::Status;

use super::steps::Steps;
use crate::caller::Caller;
use crate::state::Gateway;
use crate::table::Table;

pub(super) fn bind(table: Table) -> Table {
    let table = table
        .bind::<ReserveBlobRequest>(|conn, ctx, request| blobs::reserve(conn, ctx, request).boxed())
        .bind::<CommitBlobRequest>(|conn, ctx, request| blobs::commit(conn, ctx, request).boxed())
        .bind::<AbortBlobRequest>(|conn, ctx, request| blobs::abort(conn, ctx, request).boxed())
        .bind::<RenewLeasesRequest>(|conn, _, request| blobs::renew_leases(conn, request).boxed())
        .bind::<AcquireTransferRequest>(|conn, ctx, request| {
            blobs::acquire_transfer(conn, ctx, request).boxed()
        })
        .bind::<FinishTransferRequest>(|conn, ctx, request| {
            blobs::finish_transfer(conn, ctx, request).boxed()
        })
        .bind::<OpenBlobForReadRequest>(|conn, _, request| blobs::open_for_read(conn, request).boxed())
        .bind::<GetBlobRequest>(|conn, _, request| blobs::get(conn, request).boxed())
        .bind::<BatchGetBlobsRequest>(|conn, _, request| blobs::batch_get(conn, request).boxed())
        .bind::<ListBlobsRequest>(|conn, _, request| blobs::list(conn, request).boxed())
        .bind::<FindBlobByHashRequest>(|conn, _, request| blobs::find_by_hash(conn, request).boxed())
        .bind::<RequestHashRequest>(|conn, ctx, request| blobs::request_hash(conn, ctx, request).boxed())
        .bind::<RecordHashRequest>(|conn, ctx, request| blobs::record_hash(conn, ctx, request).boxed())
        .bind::<ListReplicasOfNodeRequest>(|conn, _, request| blobs::list_of_node(conn, request).boxed())
        .bind::<ReportReplicaScanRequest>(|conn, ctx, request| blobs::report_scan(conn, ctx, request).boxed())
        .bind::<CheckBlobsRequest>(|conn, _, request| blobs::check_blobs(conn, request).boxed())
        .bind_with::<ReapStorageRequest, _, _>(reap_storage);
    bind_uploads(table)
}

/// One kind of garbage after the other, each in its own transaction.
async fn reap_storage(
    gateway: Arc<Gateway>,
    caller: Caller,
    request: ReapStorageRequest,
) -> Result<ReapStorageReply, Status> {
    let steps = Steps::of(&gateway, &caller, &request);
    let mut reply = ReapStorageReply::default();
    for kind in Garbage::iter() {
        let rows = steps.step(move |conn, ctx| blobs::reap(conn, ctx, kind).boxed()).await?;
        reply.more |= rows >= blobs::REAP_BATCH;
        match kind {
            Garbage::Artifacts => reply.artifacts += rows,
            Garbage::Uploads => reply.uploads += rows,
            Garbage::Unfinished | Garbage::Loose => reply.blobs += rows,
            _ => {}
        }
    }
    Ok(reply)
}

fn bind_uploads(table: Table) -> Table {
    table
        .bind::<CreateUploadRequest>(|conn, ctx, request| uploads::create(conn, ctx, request).boxed())
        .bind::<GetUploadRequest>(|conn, _, request| uploads::get(conn, request).boxed())
        .bind::<TouchUploadsRequest>(|conn, _, request| uploads::touch(conn, request).boxed())
        .bind::<BeginUploadCommitRequest>(|conn, ctx, request| {
            uploads::begin_commit(conn, ctx, request).boxed()
        })
        .bind::<AbortUploadCommitRequest>(|conn, ctx, request| {
            uploads::abort_commit(conn, ctx, request).boxed()
        })
}
