//! `check-database`: what must hold between tables, asked through the gateway.

use serde_json::{Value, json};
use sf_config::NodeConfig;
use sf_gateway::CallClass;
use sf_protos::maintenance::{CheckInvariantsReply, CheckInvariantsRequest, InvariantCount};

use super::gateway;
use crate::answer::{Answer, table};
use crate::failure::{Exit, Failure};

/// Says which checks found something; that is a failure, with everything there is to show.
pub(crate) async fn check(config: &NodeConfig) -> Result<Answer, Failure> {
    judge(&gateway::client(config)?.call(CallClass::Bulk, CheckInvariantsRequest {}).await?)
}

fn judge(reply: &CheckInvariantsReply) -> Result<Answer, Failure> {
    let rows = reply
        .checks
        .iter()
        .map(|check| vec![check.check.clone(), check.violations.to_string(), check.examples.join("\n")]);
    let text = table(&["check", "violations", "for example"], rows);
    let checks: Vec<Value> = reply.checks.iter().map(value).collect();
    let answer = Answer::new(json!({ "checks": checks }), text);
    let violations: u64 = reply.checks.iter().map(|check| check.violations).sum();
    if violations == 0 {
        return Ok(answer);
    }
    let text = format!("the database contradicts itself in {violations} places:\n{}", answer.text);
    Err(Failure::say(Exit::Unhealthy, text).showing(answer))
}

fn value(check: &InvariantCount) -> Value {
    json!({ "check": check.check, "violations": check.violations, "examples": check.examples })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reply(violations: u64, examples: &[&str]) -> CheckInvariantsReply {
        let examples = examples.iter().map(|id| (*id).to_owned()).collect();
        let check = InvariantCount { check: "a-without-b".to_owned(), violations, examples };
        CheckInvariantsReply { checks: vec![check] }
    }

    #[test]
    fn a_contradiction_is_a_failure_that_shows_everything() {
        assert!(judge(&reply(0, &[])).is_ok());
        let failure = judge(&reply(12, &["one", "two"])).unwrap_err();
        assert_eq!(failure.exit, Exit::Unhealthy as u8);
        let text = failure.error.to_string();
        assert!(text.contains("12 places") && text.contains("two"), "{text}");
        assert_eq!(failure.fields["checks"][0]["violations"], 12);
    }
}
