//! `net check`: what stands in the way of this node's networks, as its privileged worker found it.

use std::time::Duration;

use clap::Subcommand;
use serde_json::json;
use sf_config::NodeConfig;
use sf_netstate::wire::Client;
use sf_protos::net_privexec::InventoryCall;
use sf_protos::net_privexec::request::Call;
use sf_protos::net_privexec::response::Outcome;

use crate::answer::Answer;
use crate::failure::{Exit, Failure};

/// The worker looks at every device of the node.
const PATIENCE: Duration = Duration::from_secs(30);

#[derive(Debug, Subcommand)]
pub(crate) enum NetCommand {
    /// Say which conditions of this node's network stand.
    Check,
}

/// Nothing is known of the node's network: it was not rendered since the helper started.
const NOT_RENDERED: &str = "host_not_rendered";

pub(crate) fn execute(command: NetCommand, config: &NodeConfig) -> Result<Answer, Failure> {
    let NetCommand::Check = command;
    let client = Client::new(&config.net_privexec_socket, PATIENCE);
    let answered = client.call("", Call::Inventory(InventoryCall {}));
    let (outcome, _) = answered.map_err(|error| Failure::new(Exit::Unreachable, error))?;
    let Outcome::Inventory(inventory) = outcome else {
        return Err(Failure::say(Exit::Internal, "the answer of sf-net-privexec belongs to another call"));
    };
    let unrendered = (!inventory.host_rendered).then(|| NOT_RENDERED.to_owned());
    report(&unrendered.into_iter().chain(inventory.conditions).collect::<Vec<_>>())
}

fn report(conditions: &[String]) -> Result<Answer, Failure> {
    let values: Vec<_> = conditions.iter().map(|name| json!({ "name": name })).collect();
    let answer = Answer::new(json!({ "conditions": values }), "nothing stands in the way");
    if conditions.is_empty() {
        return Ok(answer);
    }
    let why = format!("the network of this node is not as it should be: {}", conditions.join(", "));
    Err(Failure::say(Exit::Unhealthy, why).showing(answer))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_condition_is_named_and_no_success() {
        assert!(report(&[]).is_ok());
        let failure = report(&["foreign_forward_drop".to_owned()]).unwrap_err();
        assert_eq!(failure.exit, Exit::Unhealthy as u8);
        assert_eq!(failure.fields["conditions"][0]["name"], "foreign_forward_drop");
    }
}
