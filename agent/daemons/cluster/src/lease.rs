//! The leader's lock: acquired, refreshed, lost.

use std::time::{Duration, Instant};

use sf_daemon::DaemonContext;
use sf_gateway::{CallClass, DbError};
use sf_protos::common::{LockFence, MutationContext};
use sf_protos::locks::{AcquireLockRequest, LockHolder, RefreshLocksRequest, ReleaseLockRequest};
use tokio_util::sync::CancellationToken;

/// Name of the lock.
pub(crate) const LOCK: &str = "cluster";
/// Pause between refreshes that succeed.
const REFRESH: Duration = Duration::from_secs(20);
/// Pause between refreshes that fail.
const RETRY: Duration = Duration::from_secs(2);
/// A lease is 60 s by the database's clock. The holder gives it up 10 s earlier by its own, counted from the moment the
/// last successful refresh was sent, so that nobody can hold it meanwhile.
const GIVE_UP: Duration = Duration::from_secs(50);

/// Proof of leadership. Cheap to clone; every clone sees the loss.
#[derive(Debug, Clone)]
pub struct Lease {
    fence: u64,
    incarnation: String,
    lost: CancellationToken,
}

impl Lease {
    /// Tries once to become the leader. `None`: somebody else is.
    ///
    /// # Errors
    /// The database did not answer.
    pub async fn acquire(context: &DaemonContext) -> Result<Option<Self>, DbError> {
        let holder = LockHolder {
            node: context.node.name.clone(),
            daemon: context.name.to_string(),
            pid: std::process::id(),
            incarnation: context.incarnation.to_string(),
            operation: Some("maintenance".to_owned()),
        };
        let request = AcquireLockRequest { lock_name: LOCK.to_owned(), holder: Some(holder) };
        let reply = context.gateway.call(CallClass::Lease, request).await?;
        let incarnation = context.incarnation.to_string();
        Ok(reply.fence.map(|fence| Self { fence, incarnation, lost: CancellationToken::new() }))
    }

    /// Adds the proof to a mutation.
    pub fn sign(&self, mut context: MutationContext) -> MutationContext {
        context.fence = Some(LockFence { lock_name: LOCK.to_owned(), fence: self.fence });
        context
    }

    /// The proof alone.
    pub fn fence(&self) -> u64 {
        self.fence
    }

    /// Whether leadership is over.
    pub fn is_lost(&self) -> bool {
        self.lost.is_cancelled()
    }

    /// Resolves when leadership is over.
    pub async fn lost(&self) {
        self.lost.cancelled().await;
    }

    /// Ends leadership here, for a call that was refused with `lock-lost`.
    pub fn give_up(&self) {
        self.lost.cancel();
    }

    /// Refreshes the lock until it is lost or shutdown is asked for. `alive` says whether the protected loop made
    /// progress; a wedged one must lose its lease.
    pub async fn keep(&self, context: &DaemonContext, acquired: Instant, alive: impl Fn() -> bool) {
        let mut last_sent = acquired;
        let mut pause = REFRESH;
        loop {
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = self.lost() => return,
                () = context.shutdown.requested() => return,
            }
            if last_sent.elapsed() >= GIVE_UP {
                tracing::warn!("the leader's lock could not be refreshed in time");
                return self.give_up();
            }
            if !alive() {
                pause = RETRY;
                continue;
            }
            let sent = Instant::now();
            match self.refresh(context).await {
                Ok(true) => {
                    last_sent = sent;
                    pause = REFRESH;
                }
                Ok(false) => {
                    tracing::warn!("the leader's lock is held by somebody else");
                    return self.give_up();
                }
                Err(error) => {
                    tracing::info!(%error, "the leader's lock could not be refreshed, trying again");
                    pause = RETRY;
                }
            }
        }
    }

    /// Hands the lock back, so that another daemon leads within seconds. Best effort: it expires anyway.
    pub async fn release(&self, context: &DaemonContext) {
        let request = ReleaseLockRequest { fence: self.fence, incarnation: self.incarnation.clone() };
        if let Err(error) = context.gateway.call(CallClass::Once, request).await {
            tracing::info!(%error, "the leader's lock was not released and will expire");
        }
    }

    async fn refresh(&self, context: &DaemonContext) -> Result<bool, DbError> {
        let request = RefreshLocksRequest { incarnation: self.incarnation.clone(), fences: vec![self.fence] };
        let reply = context.gateway.call(CallClass::Lease, request).await?;
        Ok(reply.held.contains(&self.fence))
    }
}
