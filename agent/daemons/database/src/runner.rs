//! Runs one call: a read on a session, or a mutation in its transaction on a task of its own.

use std::sync::Arc;

use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use prost::Message;
use sf_protos::common::MutationContext;
use sf_protos::{Call, CallKind, Rpc};
use sf_store::{
    Conn, Deadline, Pool, StoreResult, TxContext, events, locks, mutations, session, statements, transaction,
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

/// A call to run, whatever its messages are: what the runner wants to know of its request, and its work.
pub(crate) struct Order {
    call: Call,
    context: Option<MutationContext>,
    job: Box<dyn Job>,
}

impl Order {
    /// The work of a call for a request of this caller, who must not speak for another node.
    pub(crate) fn of<R: Rpc>(caller: &Caller, request: R, work: Work<R>) -> Result<Self, Status> {
        caller.owns(&request)?;
        let context = request.context().cloned();
        Ok(Self { call: R::CALL, context, job: Box::new(Bound { request, work }) })
    }
}

/// Work that has its request and can be done several times, should a transaction have to be run again.
trait Job: Send + Sync {
    /// Does it, and gives the reply as it travels.
    fn run<'a>(&'a self, conn: &'a mut Conn, ctx: &'a TxContext) -> BoxFuture<'a, StoreResult<Vec<u8>>>;
}

struct Bound<R: Rpc> {
    request: R,
    work: Work<R>,
}

impl<R: Rpc> Job for Bound<R> {
    fn run<'a>(&'a self, conn: &'a mut Conn, ctx: &'a TxContext) -> BoxFuture<'a, StoreResult<Vec<u8>>> {
        let working = (self.work)(conn, ctx, &self.request);
        working.map(|outcome| outcome.map(|reply| reply.encode_to_vec())).boxed()
    }
}

/// Runs a call by its kind, and gives its reply as it travels.
pub(crate) async fn run(
    gateway: &Arc<Gateway>,
    lane: Lane,
    caller: &Caller,
    order: Order,
) -> Result<Bytes, Status> {
    let call = order.call;
    let mutates = call.kind != CallKind::Read;
    if mutates && gateway.is_read_only() {
        return Err(status::read_only());
    }
    let context = caller.transaction(&call, order.context.as_ref(), gateway.settings.load_full())?;
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
        let (context, order) = (Arc::new(context), Arc::new(order));
        let work = statements::attributed(call.method, async {
            let context = context.clone();
            if mutates {
                mutate(&pool, deadline, context, order).await
            } else {
                session(&pool, deadline, |conn| async move { order.job.run(conn, &context).await }.boxed())
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
    detached(call, task).await.map(Bytes::from)
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
async fn mutate(
    pool: &Pool,
    deadline: Deadline,
    context: Arc<TxContext>,
    order: Arc<Order>,
) -> StoreResult<Vec<u8>> {
    transaction(pool, deadline, |conn| attempt(conn, context.clone(), order.clone()).boxed()).await
}

async fn attempt(conn: &mut Conn, context: Arc<TxContext>, order: Arc<Order>) -> StoreResult<Vec<u8>> {
    context.begin_attempt();
    let call = order.call;
    let id = context.mutation_id.filter(|_| call.kind == CallKind::Mutation);
    if let Some(id) = id
        && let Some(reply) = mutations::begin(conn, id, call.method).await?
    {
        metrics::counter!("database_mutation_replays_total", "operation" => call.method).increment(1);
        // As it was sent the first time. Whoever made the call reads it.
        return Ok(reply);
    }
    let reply = order.job.run(conn, &context).await?;
    if let Some(id) = id {
        mutations::finish(conn, id, reply.clone()).await?;
    }
    let mut facts = context.take_events();
    facts.extend(order.context.iter().flat_map(|context| context.events.iter().cloned()));
    events::insert(conn, &facts).await?;
    if let Some(fence) = &context.fence {
        locks::verify(conn, fence).await?;
    }
    Ok(reply)
}
