//! Claims are leases: renewed together, and given up when the database says so or cannot be asked for too long.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use sf_gateway::CallClass;
use sf_protos::operations::{ReleaseClaimsRequest, RenewClaimsRequest};
use sf_runtime::{Loop, Pass};
use tokio_util::sync::CancellationToken;

use crate::worker::Worker;

/// Longest pause between renewals.
const RENEWAL: Duration = Duration::from_secs(30);
/// Part of the lease after which, by this process's own clock, an unrenewed claim counts as lost: 5/6, so that the
/// successor never starts while we still act.
const TRUST: (u32, u32) = (5, 6);

/// Operations this process holds, with the token that ends each.
#[derive(Debug, Default)]
pub(crate) struct Claims(Mutex<HashMap<String, CancellationToken>>);

impl Claims {
    pub(crate) fn add(&self, operation: &str) -> CancellationToken {
        let token = CancellationToken::new();
        self.0.lock().insert(operation.to_owned(), token.clone());
        token
    }

    pub(crate) fn remove(&self, operation: &str) {
        self.0.lock().remove(operation);
    }

    fn held(&self) -> Vec<String> {
        self.0.lock().keys().cloned().collect()
    }

    fn cancel(&self, operation: &str) {
        if let Some(token) = self.0.lock().get(operation) {
            tracing::warn!(operation, "the claim was lost; the operation stops");
            token.cancel();
        }
    }

    fn cancel_all(&self) {
        self.held().iter().for_each(|operation| self.cancel(operation));
    }
}

/// Gives back what a previous process of this daemon held, so that its work is handed out at once. Keeps trying until
/// the database answers.
pub(crate) async fn release_previous(worker: &Worker) {
    let context = &worker.context;
    let request = ReleaseClaimsRequest {
        node_uuid: context.node.uuid.to_string(),
        daemon: context.name.to_string(),
        keep: context.incarnation.to_string(),
    };
    let release = async {
        loop {
            match context.gateway.call(CallClass::Background, request.clone()).await {
                Ok(reply) => {
                    break tracing::info!(
                        released = reply.released,
                        "claims of the previous process were given back"
                    );
                }
                Err(error) if error.is_transient() => tracing::info!(%error, "waiting to give claims back"),
                Err(error) => {
                    break tracing::error!(%error, "claims of the previous process cannot be given back");
                }
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    };
    let _ = context.shutdown.unless(release).await;
}

/// Renews all claims until shutdown.
pub(crate) async fn renew(worker: Arc<Worker>) {
    let (shutdown, liveness) = (worker.context.shutdown.clone(), worker.context.liveness.clone());
    let renewed = Arc::new(Mutex::new(Instant::now()));
    let pausing = worker.clone();
    let interval = move || RENEWAL.min(pausing.cluster().cluster_op_claim_lease / 4);
    let pass = |_tick| {
        let (worker, renewed) = (worker.clone(), renewed.clone());
        async move { renew_once(&worker, &renewed).await.map(|()| Pass::Done) }
    };
    Loop::every_with("claims", interval)
        .max_silence(Duration::from_secs(120))
        .run(shutdown, liveness, pass)
        .await;
}

async fn renew_once(worker: &Worker, renewed: &Mutex<Instant>) -> Result<(), sf_gateway::DbError> {
    let began = Instant::now();
    let held = worker.claims.held();
    if held.is_empty() {
        *renewed.lock() = began;
        return Ok(());
    }
    let context = &worker.context;
    let request = RenewClaimsRequest {
        node_uuid: context.node.uuid.to_string(),
        daemon: context.name.to_string(),
        incarnation: context.incarnation.to_string(),
        operation_uuids: held,
    };
    match context.gateway.call(CallClass::Lease, request).await {
        Ok(reply) => {
            *renewed.lock() = began;
            reply.lost.iter().for_each(|operation| worker.claims.cancel(operation));
            Ok(())
        }
        Err(error) => {
            let trusted = worker.cluster().cluster_op_claim_lease * TRUST.0 / TRUST.1;
            if renewed.lock().elapsed() > trusted {
                worker.claims.cancel_all();
            }
            Err(error)
        }
    }
}
