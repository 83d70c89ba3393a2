//! The walk of a create over its candidates: decide on a snapshot, have the admission transaction try, say what happened.

use std::time::Instant;

use sf_events::event;
use sf_model::ObjectType;
use sf_model::event::EventType;
use sf_protos::instances::{CreateInstanceReply, CreateInstanceRequest};
use sf_protos::scheduler::GetCapacityRequest;
use sf_scheduler::wire::refusals_from_wire;
use sf_scheduler::{Decision, GuardRefusal, Policy, Refusal, Request as Wanted, decide};

use super::figures;
use super::snapshot::{Age, Reading};
use crate::call::Call;
use crate::error::ApiError;

/// Candidates of one walk.
const MOST_CANDIDATES: usize = 32;
/// Walks: one, and one more over fresh figures without the nodes that refused.
const WALKS: usize = 2;
/// Refusals of a create that are told when it found a node after all.
const MOST_TOLD: usize = 10;

/// Decides, and has the admission transaction try the candidates in order. The inner result is the account when no node
/// took the instance.
///
/// # Errors
/// The database tier does not answer, or refuses the request for another reason than room.
pub async fn place(
    call: &Call,
    request: CreateInstanceRequest,
    mut wanted: Wanted,
    tags: &[String],
) -> Result<Result<CreateInstanceReply, Refusal>, ApiError> {
    let mut refused: Vec<GuardRefusal> = Vec::new();
    let mut decision = Decision::default();
    for _ in 0..WALKS {
        let (decided, reading, age) =
            decide_now(call, &request, &wanted).await.inspect_err(figures::failed)?;
        decision = decided;
        let candidates = decision.candidates(MOST_CANDIDATES);
        if candidates.is_empty() && age == Age::Fresh {
            break;
        }
        if candidates.is_empty() {
            // Nobody is refused for what was true a second ago.
            call.api.capacity.expire(&reading);
            continue;
        }
        let candidate_node_uuids = candidates.iter().map(ToString::to_string).collect();
        let began = Instant::now();
        let reply = call.tier(CreateInstanceRequest { candidate_node_uuids, ..request.clone() }).await;
        let reply = reply.inspect_err(|error| figures::admission_failed(began, error))?;
        figures::walked(began, &reply);
        refused.extend(refusals_from_wire(&reply.refusals));
        if let Some(instance) = &reply.instance {
            tell_refusals(call, &instance.uuid, &refused).await;
            if let Some(node) = &reply.admitted {
                call.api.capacity.admitted(node, tags);
            }
            return Ok(Ok(reply));
        }
        call.api.capacity.expire(&reading);
        wanted.excluded.extend(candidates);
        if reply.r#final {
            break;
        }
    }
    let affinity = &wanted.affinity;
    let account = if refused.is_empty() {
        Refusal::of_decision(&decision, affinity)
    } else {
        Refusal::of_walk(&decision, affinity, &refused)
    };
    figures::refused(&account);
    Ok(Err(account))
}

async fn decide_now(
    call: &Call,
    request: &CreateInstanceRequest,
    wanted: &Wanted,
) -> Result<(Decision, Reading, Age), ApiError> {
    let affinity = &wanted.affinity;
    let lists =
        [&affinity.require_with, &affinity.require_without, &affinity.prefer_with, &affinity.prefer_without];
    let tags: Vec<String> = lists.into_iter().flatten().cloned().collect();
    let blob_uuids: Vec<String> = request.disks.iter().filter_map(|disk| disk.blob_uuid.clone()).collect();
    let capacity = GetCapacityRequest {
        namespace: (!tags.is_empty()).then(|| request.namespace.clone()),
        tags,
        blob_uuids,
    };
    let (reading, age) = call.api.capacity.snapshot(&call.api, capacity).await?;
    let cluster = call.cluster();
    let policy = Policy {
        target_load: cluster.scheduler_target_load,
        locality_weight: cluster.scheduler_locality_weight,
    };
    let began = Instant::now();
    let decision = decide(&reading.figures, wanted, &policy, &mut rand::rng());
    figures::decided(began);
    Ok((decision, reading, age))
}

/// What a create that succeeded met on its way.
async fn tell_refusals(call: &Call, instance: &str, refused: &[GuardRefusal]) {
    for refusal in refused.iter().take(MOST_TOLD) {
        let extra = serde_json::json!({
            "node": refusal.node.to_string(),
            "reason": refusal.reason.to_string(),
            "requested": refusal.requested,
            "used": refusal.used,
            "limit": refusal.limit,
        });
        let entry = event(EventType::Audit, "schedule candidate refused")
            .object(ObjectType::Instance, instance)
            .extra(extra);
        call.api.daemon.events.record(entry).await;
    }
}
