//! Networks, interfaces and carriers. Renders are next door in `renders.rs`.

use futures::FutureExt;
use sf_protos::networks::{
    AssignCarriersRequest, CreateNetworkRequest, DeleteAllNetworksRequest, DeleteNetworkRequest,
    GetHostIntentRequest, GetInterfaceRequest, GetNetworkRequest, ListAddressesRequest,
    ListInterfacesRequest, ListNetworksRequest, ListNodeIntentsRequest, NetworkAuditRequest,
    RenewCarrierSessionRequest, RenewRenderClaimsRequest, ReportRenderRequest, SweepPoolsRequest,
};
use sf_store::networks::{self, interfaces};

use crate::table::Table;

pub(super) fn bind(table: Table) -> Table {
    table
        .bind::<CreateNetworkRequest>(|conn, ctx, request| networks::create(conn, ctx, request).boxed())
        .bind::<GetNetworkRequest>(|conn, ctx, request| networks::get(conn, &ctx.settings, request).boxed())
        .bind::<ListNetworksRequest>(|conn, ctx, request| {
            networks::list(conn, &ctx.settings, request).boxed()
        })
        .bind::<DeleteNetworkRequest>(|conn, ctx, request| networks::delete(conn, ctx, request).boxed())
        .bind::<DeleteAllNetworksRequest>(|conn, ctx, request| {
            networks::delete_all(conn, ctx, request).boxed()
        })
        .bind::<GetInterfaceRequest>(|conn, _, request| interfaces::get(conn, request).boxed())
        .bind::<ListInterfacesRequest>(|conn, _, request| interfaces::list(conn, request).boxed())
        .bind::<ListAddressesRequest>(|conn, _, request| networks::list_addresses(conn, request).boxed())
        .bind::<RenewRenderClaimsRequest>(|conn, ctx, request| {
            networks::renew_claims(conn, &ctx.settings, request).boxed()
        })
        .bind::<ListNodeIntentsRequest>(|conn, _, request| networks::node_intents(conn, request).boxed())
        .bind::<GetHostIntentRequest>(|conn, ctx, request| {
            networks::host_intent(conn, &ctx.settings, request).boxed()
        })
        .bind::<ReportRenderRequest>(|conn, ctx, request| networks::report_render(conn, ctx, request).boxed())
        .bind::<RenewCarrierSessionRequest>(|conn, ctx, request| {
            networks::renew_session(conn, &ctx.settings, request).boxed()
        })
        .bind::<AssignCarriersRequest>(|conn, ctx, _| networks::assign_carriers(conn, ctx).boxed())
        .bind::<SweepPoolsRequest>(|conn, _, _| networks::sweep_pools(conn).boxed())
        .bind::<NetworkAuditRequest>(|conn, ctx, _| networks::audit(conn, ctx).boxed())
}
