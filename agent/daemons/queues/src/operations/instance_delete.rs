//! Removes an instance from its node. Nothing is released in the database before the domain is proven gone.

use std::time::Instant;

use sf_gateway::{CallClass, DbError};
use sf_model::InstanceId;
use sf_model::state::InstanceState;
use sf_protos::instances::FinishDeleteRequest;

use crate::error::Stop;
use crate::record;
use crate::stages::{definition, guard, rollback};
use crate::worker::Worker;

pub(super) async fn run(worker: &Worker, instance: InstanceId) -> Result<(), Stop> {
    let began = Instant::now();
    let plan = definition::load(worker, instance).await?;
    guard::placed_here(worker, &plan, None, &[InstanceState::DeleteWait])?;
    let lock = worker.lock(instance).await?;
    let removed = {
        let _acting = worker.acting.begin(instance);
        rollback::remove_from_node(worker, instance, plan.cluster).await
    };
    let result = if removed.is_ok() { "ok" } else { "error" };
    metrics::histogram!("sf_instance_delete_seconds", "result" => result)
        .record(began.elapsed().as_secs_f64());
    removed?;
    finish(worker, instance).await?;
    worker.facts.forget(instance);
    lock.discard();
    worker.record(record::audit(instance, "instance deleted").duration(began.elapsed().as_secs_f64())).await;
    Ok(())
}

/// Stage D6: the database lets everything go, in one transaction. Done before is done.
pub(crate) async fn finish(worker: &Worker, instance: InstanceId) -> Result<(), Stop> {
    let request = FinishDeleteRequest { context: None, instance_uuid: instance.to_string() };
    match worker.context.gateway.call(CallClass::Background, request).await {
        Ok(_) | Err(DbError::NotFound { .. }) => Ok(()),
        Err(error) => Err(error.into()),
    }
}
