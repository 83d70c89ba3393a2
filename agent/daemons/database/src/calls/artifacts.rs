//! Artifacts.

use futures::FutureExt;
use sf_protos::artifacts::{
    AddArtifactVersionRequest, BeginFetchRequest, CompleteFetchRequest, DeleteArtifactRequest,
    DeleteArtifactVersionRequest, DeleteNamespaceArtifactsRequest, GetArtifactRequest, ListArtifactsRequest,
    RequestFetchRequest, ResolveDiskBasesRequest, SetMaxVersionsRequest, SetSharedRequest,
};
use sf_store::artifacts;

use crate::table::Table;

pub(super) fn bind(table: Table) -> Table {
    table
        .bind::<ListArtifactsRequest>(|conn, _, request| artifacts::list(conn, request).boxed())
        .bind::<GetArtifactRequest>(|conn, _, request| artifacts::get(conn, request).boxed())
        .bind::<RequestFetchRequest>(|conn, ctx, request| {
            artifacts::request_fetch(conn, ctx, request).boxed()
        })
        .bind::<ResolveDiskBasesRequest>(|conn, _, request| artifacts::resolve_bases(conn, request).boxed())
        .bind::<BeginFetchRequest>(|conn, ctx, request| artifacts::begin_fetch(conn, ctx, request).boxed())
        .bind::<CompleteFetchRequest>(|conn, ctx, request| {
            artifacts::complete_fetch(conn, ctx, request).boxed()
        })
        .bind::<AddArtifactVersionRequest>(|conn, ctx, request| {
            artifacts::add_version_call(conn, ctx, request).boxed()
        })
        .bind::<DeleteArtifactVersionRequest>(|conn, ctx, request| {
            artifacts::delete_version(conn, ctx, request).boxed()
        })
        .bind::<SetMaxVersionsRequest>(|conn, ctx, request| {
            artifacts::set_max_versions(conn, ctx, request).boxed()
        })
        .bind::<SetSharedRequest>(|conn, ctx, request| artifacts::set_shared(conn, ctx, request).boxed())
        .bind::<DeleteArtifactRequest>(|conn, ctx, request| artifacts::delete(conn, ctx, request).boxed())
        .bind::<DeleteNamespaceArtifactsRequest>(|conn, ctx, request| {
            artifacts::delete_all(conn, ctx, request).boxed()
        })
}
