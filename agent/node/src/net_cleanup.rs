//! `sf-node net-cleanup`: takes everything this product put into the kernel's network off the node.

use serde_json::json;
use sf_config::NodeConfig;
use sf_daemon_net_privexec::{Options, purge};
use sf_model::ClusterId;

use crate::answer::Answer;
use crate::failure::{Exit, Failure};

/// Removes the marked links, namespaces and tables of one cluster, or of any. For a node that is taken out of service: its daemons must not run.
pub(crate) fn run(config: &NodeConfig, cluster: Option<ClusterId>) -> Result<Answer, Failure> {
    let removed = purge(&Options::from_config(config), cluster).map_err(|error| {
        Failure::say(Exit::Internal, format!("the network of this node was not cleaned up: {error}"))
    })?;
    let text = if removed.is_empty() {
        "nothing was left".to_owned()
    } else {
        format!("removed {}", removed.join(", "))
    };
    let changed = !removed.is_empty();
    Ok(Answer::new(json!({ "removed": removed }), text).changed(changed))
}
