//! Namespaces and keys.

use futures::FutureExt;
use sf_protos::namespaces::{
    AddTrustRequest, CountAttemptRequest, CreateNamespaceRequest, DeleteKeyRequest, DeleteNamespaceRequest,
    GetLoginCandidatesRequest, GetNamespaceRequest, GetPrincipalRequest, ListNamespacesRequest,
    PutKeyRequest, ReapExpiredKeysRequest, RemoveTrustRequest,
};
use sf_store::namespaces;

use crate::table::Table;

pub(super) fn bind(table: Table) -> Table {
    table
        .bind::<CreateNamespaceRequest>(|conn, ctx, request| namespaces::create(conn, ctx, request).boxed())
        .bind::<GetNamespaceRequest>(|conn, _, request| namespaces::get(conn, request).boxed())
        .bind::<ListNamespacesRequest>(|conn, _, request| namespaces::list(conn, request).boxed())
        .bind::<DeleteNamespaceRequest>(|conn, ctx, request| namespaces::delete(conn, ctx, request).boxed())
        .bind::<AddTrustRequest>(|conn, ctx, request| namespaces::add_trust(conn, ctx, request).boxed())
        .bind::<RemoveTrustRequest>(|conn, ctx, request| namespaces::remove_trust(conn, ctx, request).boxed())
        .bind::<PutKeyRequest>(|conn, ctx, request| namespaces::put_key(conn, ctx, request).boxed())
        .bind::<DeleteKeyRequest>(|conn, ctx, request| namespaces::delete_key(conn, ctx, request).boxed())
        .bind::<GetLoginCandidatesRequest>(|conn, _, request| {
            namespaces::login_candidates(conn, request).boxed()
        })
        .bind::<GetPrincipalRequest>(|conn, _, request| namespaces::principal(conn, request).boxed())
        .bind::<CountAttemptRequest>(|conn, _, request| namespaces::count_attempt(conn, request).boxed())
        .bind::<ReapExpiredKeysRequest>(|conn, ctx, _| namespaces::reap_keys(conn, ctx).boxed())
}
