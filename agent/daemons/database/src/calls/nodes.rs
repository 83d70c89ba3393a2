//! Nodes.

use futures::FutureExt;
use sf_protos::nodes::{
    CascadeNodesRequest, CheckInRequest, ClearNodeErrorRequest, DeleteNodeRequest, GetNodeMetricsRequest,
    GetNodeRemainsRequest, GetNodeReply, GetNodeRequest, ListNodesRequest, MarkMissingNodesRequest,
    RegisterNodeRequest, ReportDaemonStateRequest, SetNodeErrorRequest, SetNodeSchedulableRequest,
};
use sf_store::nodes;

use crate::table::Table;

pub(super) fn bind(table: Table) -> Table {
    table
        .bind::<RegisterNodeRequest>(|conn, ctx, request| nodes::register(conn, ctx, request).boxed())
        .bind::<ReportDaemonStateRequest>(|conn, _, request| nodes::report_daemon(conn, request).boxed())
        .bind::<CheckInRequest>(|conn, ctx, request| nodes::check_in(conn, ctx, request).boxed())
        .bind::<GetNodeRequest>(|conn, _, request| {
            async move { Ok(GetNodeReply { node: Some(nodes::get(conn, request).await?) }) }.boxed()
        })
        .bind::<ListNodesRequest>(|conn, _, request| nodes::list(conn, request).boxed())
        .bind::<GetNodeMetricsRequest>(|conn, _, request| nodes::get_metrics(conn, request).boxed())
        .bind::<SetNodeErrorRequest>(|conn, ctx, request| nodes::set_error(conn, ctx, request).boxed())
        .bind::<ClearNodeErrorRequest>(|conn, ctx, request| nodes::clear_error(conn, ctx, request).boxed())
        .bind::<SetNodeSchedulableRequest>(|conn, ctx, request| {
            nodes::set_schedulable(conn, ctx, request).boxed()
        })
        .bind::<GetNodeRemainsRequest>(|conn, _, request| nodes::remains(conn, request).boxed())
        .bind::<DeleteNodeRequest>(|conn, ctx, request| nodes::delete(conn, ctx, request).boxed())
        .bind::<MarkMissingNodesRequest>(|conn, ctx, _| nodes::mark_missing(conn, ctx).boxed())
        .bind::<CascadeNodesRequest>(|conn, ctx, _| nodes::cascade(conn, ctx).boxed())
}
