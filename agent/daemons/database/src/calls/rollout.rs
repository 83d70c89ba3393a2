//! Rolling restarts.

use futures::FutureExt;
use sf_protos::rollout::{EndRollRequest, ListRollFailuresRequest, TakeRollSlotRequest};
use sf_store::rollout;

use crate::table::Table;

pub(super) fn bind(table: Table) -> Table {
    table
        .bind::<TakeRollSlotRequest>(|conn, _, request| rollout::take(conn, request).boxed())
        .bind::<EndRollRequest>(|conn, _, request| rollout::end(conn, request).boxed())
        .bind::<ListRollFailuresRequest>(|conn, _, _| rollout::list(conn).boxed())
}
