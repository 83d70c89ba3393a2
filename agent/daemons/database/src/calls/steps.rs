//! Calls that are several transactions: each on a task and in a place of its own, so that no other call waits for more than
//! one of them.

use std::sync::Arc;

use futures::FutureExt;
use futures::future::BoxFuture;
use sf_protos::common::MutationContext;
use sf_protos::{Call, Rpc};
use sf_store::{Conn, StoreResult, TxContext, events, locks, transaction};
use tonic::Status;

use super::waits::in_place;
use crate::caller::Caller;
use crate::state::Gateway;

/// The transactions of one call.
pub(super) struct Steps<'a> {
    gateway: &'a Arc<Gateway>,
    caller: &'a Caller,
    call: Call,
    context: Option<&'a MutationContext>,
}

impl<'a> Steps<'a> {
    pub(super) fn of<R: Rpc>(gateway: &'a Arc<Gateway>, caller: &'a Caller, request: &'a R) -> Self {
        Self { gateway, caller, call: R::CALL, context: request.context() }
    }

    /// One transaction: its work, its events, and the proof that the caller still leads.
    pub(super) async fn step<T, W>(&self, work: W) -> Result<T, Status>
    where
        T: Send + 'static,
        W: for<'c> Fn(&'c mut Conn, &'c TxContext) -> BoxFuture<'c, StoreResult<T>> + Send + Sync + 'static,
    {
        let ctx = self.caller.transaction(&self.call, self.context, self.gateway.settings.load_full())?;
        let (ctx, work, deadline) = (Arc::new(ctx), Arc::new(work), self.caller.deadline);
        in_place(self.gateway, self.caller, self.call, move |gateway| async move {
            let value = transaction(&gateway.pools.ordinary, deadline, |conn| {
                attempt(conn, ctx.clone(), work.clone()).boxed()
            })
            .await?;
            gateway.waiters.wake(ctx.take_wakes());
            Ok(value)
        })
        .await
    }
}

async fn attempt<T, W>(conn: &mut Conn, ctx: Arc<TxContext>, work: Arc<W>) -> StoreResult<T>
where
    W: for<'c> Fn(&'c mut Conn, &'c TxContext) -> BoxFuture<'c, StoreResult<T>>,
{
    ctx.begin_attempt();
    let value = work(conn, &ctx).await?;
    events::insert(conn, &ctx.take_events()).await?;
    if let Some(fence) = &ctx.fence {
        locks::verify(conn, fence).await?;
    }
    Ok(value)
}
