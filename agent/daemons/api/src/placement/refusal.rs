//! The answer when no node takes an instance (`scheduler.md` §9).

use serde_json::{Value, json};
use sf_scheduler::refusal::ReasonCount;
use sf_scheduler::{Dropped, Refusal, RefusalKind};

use crate::error::ApiError;

/// Seconds after which trying again is sensible; fixed, because nobody knows.
const RETRY_AFTER: u64 = 15;

/// The refusal as the client sees it. Figures of single nodes reveal other tenants' usage: administrators only.
pub fn explain(refusal: &Refusal, administrator: bool) -> ApiError {
    let mut refusals: Vec<Value> = refusal.reasons.iter().map(aggregated).collect();
    if administrator {
        refusals.extend(refusal.nodes.iter().map(single));
    }
    let answer = match refusal.kind {
        RefusalKind::Affinity => ApiError::conflict(&refusal.sentence),
        RefusalKind::NoCapacity => ApiError::no_room(&refusal.sentence),
    };
    let answer = answer
        .with("stage", refusal.stage.as_str())
        .with("transient", refusal.transient)
        .with("refusals", refusals);
    if refusal.transient { answer.retry_after(RETRY_AFTER) } else { answer }
}

fn aggregated(reason: &ReasonCount) -> Value {
    let mut entry = json!({ "stage": reason.stage.as_str(), "reason": reason.reason, "count": reason.count });
    if let (Some(dimension), Value::Object(map)) = (reason.dimension, &mut entry) {
        map.insert("dimension".to_owned(), dimension.as_str().into());
    }
    entry
}

fn single(dropped: &Dropped) -> Value {
    json!({
        "stage": dropped.stage.as_str(),
        "reason": dropped.reason.to_string(),
        "dimension": dropped.reason.dimension().map(|dimension| dimension.as_str()),
        "count": 1,
        "node": dropped.name,
        "requested": dropped.requested,
        "used": dropped.used,
        "limit": dropped.limit,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use sf_model::NodeId;
    use sf_scheduler::{Decision, Dimension, GuardRefusal, Reason};

    #[test]
    fn only_administrators_see_single_nodes() {
        let full = GuardRefusal {
            node: NodeId::from_uuid(uuid::Uuid::nil()),
            reason: Reason::Full(Dimension::Memory),
            requested: 10,
            used: 5,
            limit: 12,
        };
        let refusal =
            Refusal::of_walk(&Decision::default(), &sf_model::affinity::Affinity::default(), &[full]);
        insta::assert_json_snapshot!("tenant", explain(&refusal, false).body());
        insta::assert_json_snapshot!("administrator", explain(&refusal, true).body());
        assert_eq!(explain(&refusal, false).status().as_u16(), 507);
    }
}
