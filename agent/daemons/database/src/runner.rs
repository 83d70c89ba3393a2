//! Runs one call: a read on a session, or a mutation in its transaction on a task of its own.

use std::sync::Arc;

use futures::FutureExt;
use futures::future::BoxFuture;
use prost::Message;
use sf_protos::{Call, CallKind, Rpc};
use sf_store::{
    Conn, Deadline, Pool, StoreError, StoreResult, TxContext, events, locks, mutations, session, statements,
    transaction,
};
use tonic::Status;

use crate::caller::Caller;
use crate::state::Gateway;
use crate::status;

/// A store function as the table knows it.
pub(crate) type Work<R> =
    for<'a> fn(&'a mut Conn, &'a TxContext, &'a R) -> BoxFuture<'a, StoreResult<<R as Rpc>::Reply>>;

/// Which sessions a call uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lane {
    /// The pool, behind the admission.
    Ordinary,
    /// The sessions kept for leases.
    Lease,
}

/// Runs a call by its kind.
pub(crate) async fn run<R: Rpc>(
    gateway: &Arc<Gateway>,
    lane: Lane,
    caller: &Caller,
    request: R,
    work: Work<R>,
) -> Result<R::Reply, Status> {
    let call = R::CALL;
    let mutates = call.kind != CallKind::Read;
    if mutates && gateway.is_read_only() {
        return Err(status::read_only());
    }
    let context = caller.transaction(&call, request.context(), gateway.settings.load_full())?;
    caller.owns(&call, &request)?;
    let place = match lane {
        Lane::Ordinary => Some(gateway.admission.enter(caller.deadline).await?),
        Lane::Lease => None,
    };
    let pool = match lane {
        Lane::Ordinary => gateway.pools.ordinary.clone(),
        Lane::Lease => gateway.pools.lease.clone(),
    };
    let deadline = caller.deadline;
    let gateway = gateway.clone();
    let task = async move {
        let (context, request) = (Arc::new(context), Arc::new(request));
        let work = statements::attributed(call.method, async {
            let context = context.clone();
            if mutates {
                mutate(&pool, deadline, context, request, work).await
            } else {
                session(&pool, deadline, |conn| async move { work(conn, &context, &request).await }.boxed())
                    .await
            }
        });
        let outcome = work.await;
        if outcome.is_ok() {
            gateway.waiters.wake(context.take_wakes());
        }
        drop(place);
        outcome
    };
    detached(call, task).await
}

/// Runs the work of a call on a task of its own. A client that goes away drops its call, but not the task: no transaction
/// is cut between two statements.
pub(crate) async fn detached<T: Send + 'static>(
    call: Call,
    work: impl Future<Output = StoreResult<T>> + Send + 'static,
) -> Result<T, Status> {
    match tokio::spawn(work).await {
        Ok(outcome) => outcome.map_err(status::from_store),
        Err(error) => {
            tracing::error!(%error, operation = call.method, "the task of a call ended without an answer");
            Err(Status::internal("the call ended without an answer, see the gateway's log"))
        }
    }
}

/// One transaction: the memory of the mutation first, then the work, then events, then the proof that the caller still
/// leads, then commit.
async fn mutate<R: Rpc>(
    pool: &Pool,
    deadline: Deadline,
    context: Arc<TxContext>,
    request: Arc<R>,
    work: Work<R>,
) -> StoreResult<R::Reply> {
    transaction(pool, deadline, |conn| attempt(conn, context.clone(), request.clone(), work).boxed()).await
}

async fn attempt<R: Rpc>(
    conn: &mut Conn,
    context: Arc<TxContext>,
    request: Arc<R>,
    work: Work<R>,
) -> StoreResult<R::Reply> {
    context.begin_attempt();
    let call = R::CALL;
    let id = context.mutation_id.filter(|_| call.kind == CallKind::Mutation);
    if let Some(id) = id
        && let Some(reply) = mutations::begin(conn, id, call.method).await?
    {
        metrics::counter!("database_mutation_replays_total", "operation" => call.method).increment(1);
        return R::Reply::decode(reply.as_slice())
            .map_err(|error| StoreError::Corrupt(format!("a remembered reply: {error}")));
    }
    let reply = work(conn, &context, &request).await?;
    if let Some(id) = id {
        mutations::finish(conn, id, reply.encode_to_vec()).await?;
    }
    let mut facts = context.take_events();
    facts.extend(request.context().iter().flat_map(|context| context.events.iter().cloned()));
    events::insert(conn, &facts).await?;
    if let Some(fence) = &context.fence {
        locks::verify(conn, fence).await?;
    }
    Ok(reply)
}
