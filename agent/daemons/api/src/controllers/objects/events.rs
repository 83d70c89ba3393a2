//! `GET …/events`: the history of an object, newest first.

use std::marker::PhantomData;

use serde_json::Value;
use sf_protos::events::GetObjectEventsRequest;

use super::Kind;
use crate::call::Call;
use crate::input::{Input, Request};
use crate::params::{Fault, int, string};
use crate::reply::{ApiResult, Reply};
use crate::views::EventView;

const DEFAULT_LIMIT: u32 = 100;
const MOST: u32 = 1000;
/// Rows of one call.
const PAGE: u32 = 250;

/// Which events of which object.
pub struct Events<K> {
    reference: String,
    event_type: Option<String>,
    limit: u32,
    kind: PhantomData<K>,
}

impl<K: Kind> Request for Events<K> {
    fn read(input: &mut Input) -> Result<Self, Fault> {
        let limit = input.fields.optional("limit", int)?.unwrap_or(0);
        Ok(Self {
            reference: input.path(K::PARAMETER, K::parse)?,
            event_type: input.fields.blankable("event_type", event_type)?,
            limit: clamp(limit),
            kind: PhantomData,
        })
    }
}

/// Answers the events.
///
/// # Errors
/// 404 for an object the caller may not see.
pub async fn handle<K: Kind>(call: Call, request: Events<K>) -> ApiResult {
    let object_id = K::resolve(&call, request.reference).await?;
    let mut rows = Vec::new();
    let mut before = None;
    let mut left = request.limit;
    while left > 0 {
        let page = GetObjectEventsRequest {
            object_type: K::OBJECT.to_string(),
            object_id: object_id.clone(),
            event_type: request.event_type.clone(),
            limit: left.min(PAGE),
            before,
        };
        let reply = call.tier(page).await?;
        left = left.saturating_sub(u32::try_from(reply.events.len()).unwrap_or(u32::MAX));
        rows.extend(reply.events.into_iter().filter_map(|row| row.event));
        before = reply.next;
        if !reply.more || before.is_none() {
            break;
        }
    }
    Ok(Reply::list(rows.into_iter().map(EventView::from)))
}

/// Out of range is clamped, not refused: clients send what a user typed.
fn clamp(limit: i64) -> u32 {
    match u32::try_from(limit) {
        Ok(0) => DEFAULT_LIMIT,
        Ok(limit) => limit.min(MOST),
        Err(_) if limit < 0 => DEFAULT_LIMIT,
        Err(_) => MOST,
    }
}

fn event_type(value: Value) -> Result<String, Fault> {
    let text = string(value)?;
    let mut bytes = text.bytes();
    let fits = text.len() <= 32
        && bytes.next().is_some_and(|b| b.is_ascii_lowercase())
        && bytes.all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    if fits { Ok(text) } else { Err(Fault::new("must be 1 to 32 lower case letters, digits and hyphens")) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn limits_are_clamped() {
        let shown: Vec<u32> = [0, -5, 1, 1000, 1001, i64::MAX].into_iter().map(clamp).collect();
        assert_eq!(shown, [100, 100, 1, 1000, 1000, 1000]);
    }

    #[test]
    fn event_types_have_a_grammar() {
        assert!(event_type(json!("audit")).is_ok() && event_type(json!("made-up")).is_ok());
        for bad in ["Audit", "1x", "a b", "", &"a".repeat(33)] {
            assert!(event_type(json!(bad)).is_err(), "{bad}");
        }
    }
}
