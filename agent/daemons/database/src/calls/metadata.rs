//! User metadata.

use futures::FutureExt;
use sf_protos::metadata::{DeleteMetadataKeyRequest, GetMetadataRequest, SetMetadataKeyRequest};
use sf_store::metadata;

use crate::table::Table;

pub(super) fn bind(table: Table) -> Table {
    table
        .bind::<GetMetadataRequest>(|conn, _, request| metadata::get(conn, request).boxed())
        .bind::<SetMetadataKeyRequest>(|conn, ctx, request| metadata::set_key(conn, ctx, request).boxed())
        .bind::<DeleteMetadataKeyRequest>(|conn, ctx, request| {
            metadata::delete_key(conn, ctx, request).boxed()
        })
}
