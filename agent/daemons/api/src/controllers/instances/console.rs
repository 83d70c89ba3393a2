//! `GET` and `DELETE /instances/{instance_ref}/consoledata`: what the guest wrote on its serial console.

use serde_json::Value;
use sf_model::ObjectType;
use sf_protos::instance_node::{ReadConsoleRequest, TruncateConsoleRequest};

use super::get::find;
use super::node::worker;
use crate::call::Call;
use crate::controllers::objects::{Instances, Kind, Plain};
use crate::input::{Input, Request};
use crate::nodes::refused;
use crate::params::{Fault, int};
use crate::reply::{ApiResult, Reply};

const DEFAULT_LENGTH: u64 = 10_240;

/// How much of which console.
pub struct Read {
    reference: String,
    /// `None` is everything.
    length: Option<u64>,
}

impl Request for Read {
    fn read(input: &mut Input) -> Result<Self, Fault> {
        Ok(Self {
            reference: input.path(Instances::PARAMETER, Instances::parse)?,
            length: input.fields.or("length", Some(DEFAULT_LENGTH), length)?,
        })
    }
}

fn length(value: Value) -> Result<Option<u64>, Fault> {
    match int(value)? {
        -1 => Ok(None),
        length => {
            let refused = |_| Fault::new("must be -1 for everything, or not negative");
            Ok(Some(u64::try_from(length).map_err(refused)?))
        }
    }
}

/// Answers the last bytes, none for an instance without a log.
///
/// # Errors
/// 404; 503 when the node does not answer.
pub async fn read(call: Call, request: Read) -> ApiResult {
    let instance = find(&call, request.reference, None).await?;
    let mut bytes = Vec::new();
    if let Some((mut worker, node)) = worker(&call, &instance).await? {
        let wanted = ReadConsoleRequest { instance_uuid: instance.uuid, from_end: request.length };
        let answer = worker.read_console(wanted).await.map_err(|status| refused(&status, &node))?;
        let mut chunks = answer.into_inner();
        // Bounded by the size at which the worker cuts the log.
        while let Some(chunk) = chunks.message().await.map_err(|status| refused(&status, &node))? {
            bytes.extend_from_slice(&chunk.data);
        }
    }
    Ok(Reply::bytes("application/octet-stream", bytes))
}

/// Answers null.
///
/// # Errors
/// 404; 503 when the node does not answer.
pub async fn clear(call: Call, request: Plain<Instances>) -> ApiResult {
    let instance = find(&call, request.reference, None).await?;
    if let Some((mut worker, node)) = worker(&call, &instance).await? {
        let wanted = TruncateConsoleRequest { instance_uuid: instance.uuid.clone() };
        worker.truncate_console(wanted).await.map_err(|status| refused(&status, &node))?;
    }
    call.audit(ObjectType::Instance, instance.uuid, "console log cleared");
    Ok(Reply::null())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn minus_one_is_everything() {
        assert_eq!(length(json!(-1)), Ok(None));
        assert_eq!(length(json!("100")), Ok(Some(100)));
        assert!(length(json!(-2)).is_err());
    }
}
