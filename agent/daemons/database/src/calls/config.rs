//! Cluster configuration.

use std::collections::BTreeMap;

use futures::FutureExt;
use sf_protos::config::{
    GetClusterConfigRequest, GetClusterVersionRequest, SetClusterConfigReply, SetClusterConfigRequest,
    UnsetClusterConfigReply, UnsetClusterConfigRequest,
};
use sf_store::config::SetMode;
use sf_store::{Conn, StoreResult, TxContext, config};

use crate::table::Table;

pub(super) fn bind(table: Table) -> Table {
    table
        // Secrets go by who calls, not by what the request says.
        .bind::<GetClusterConfigRequest>(|conn, ctx, _| {
            async move { config::read(conn, ctx.caller_daemon.trim_start_matches("sf-")).await }.boxed()
        })
        .bind::<GetClusterVersionRequest>(|conn, _, _| config::cluster_version(conn).boxed())
        .bind::<SetClusterConfigRequest>(|conn, ctx, request| set(conn, ctx, request).boxed())
        .bind::<UnsetClusterConfigRequest>(|conn, ctx, request| unset(conn, ctx, request).boxed())
}

async fn set(
    conn: &mut Conn,
    ctx: &TxContext,
    request: &SetClusterConfigRequest,
) -> StoreResult<SetClusterConfigReply> {
    let values: BTreeMap<String, String> = request.values.clone().into_iter().collect();
    let mode = SetMode { check_only: request.check_only, purge: request.purge };
    let changed = config::set(conn, ctx, &values, mode).await?;
    Ok(SetClusterConfigReply { changed })
}

async fn unset(
    conn: &mut Conn,
    ctx: &TxContext,
    request: &UnsetClusterConfigRequest,
) -> StoreResult<UnsetClusterConfigReply> {
    Ok(UnsetClusterConfigReply { changed: config::unset(conn, ctx, &request.keys).await? })
}
