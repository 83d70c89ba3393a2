//! `node deregister`: takes a node out of the cluster, unless the cluster would lose something by it.

use clap::Args;
use serde_json::json;
use sf_gateway::{CallClass, DbError, Gateway};
use sf_protos::nodes as pb;

use super::{remaining, view};
use crate::answer::Answer;
use crate::failure::{Exit, Failure};

#[derive(Debug, Args)]
pub(crate) struct DeregisterOptions {
    /// Name or UUID.
    node: String,
    /// The node is lost: what it alone held is gone already.
    #[arg(long)]
    dead: bool,
    /// Delete its instances with it.
    #[arg(long)]
    delete_instances: bool,
    /// Say what would happen and change nothing.
    #[arg(long)]
    check: bool,
}

pub(super) async fn execute(gateway: &Gateway, options: DeregisterOptions) -> Result<Answer, Failure> {
    let reference = options.node;
    let found =
        gateway.call(CallClass::Background, pb::GetNodeRequest { reference: reference.clone() }).await;
    let node = match found {
        Ok(reply) => reply.node.unwrap_or_default(),
        Err(DbError::NotFound { .. }) => return Ok(gone(&reference)),
        Err(error) => return Err(error.into()),
    };
    if view::state(&node) == "deleted" {
        return Ok(gone(&reference));
    }
    // A node that still checks in holds what it holds, whatever the operator believes.
    if options.dead && view::state(&node) == "created" {
        let why = format!(
            "{} checks in, or did until a moment ago: drain it and leave out --dead; if it is lost, ask again when \
             sf-ctl node status shows it as missing",
            node.name
        );
        return Err(Failure::say(Exit::Refused, why));
    }
    let remains = pb::GetNodeRemainsRequest { reference: node.uuid.clone() };
    let remains = gateway.call(CallClass::Background, remains).await?;
    if remains.instance_count > 0 && !options.delete_instances {
        let why = format!(
            "{} has {} instances: drain it, or give --delete-instances",
            node.name, remains.instance_count
        );
        return Err(Failure::say(Exit::Refused, why).showing(Answer::new(remaining(&remains), "")));
    }
    if options.check {
        return Ok(view::one(node).changed(true));
    }
    let request = pb::DeleteNodeRequest {
        context: None,
        reference: node.uuid,
        force: options.delete_instances,
        planned: true,
    };
    let reply = gateway.call(CallClass::Background, request).await?;
    Ok(view::one(reply.node.unwrap_or_default()).changed(true))
}

fn gone(reference: &str) -> Answer {
    Answer::new(json!({ "node": null }), format!("there is no node {reference}"))
}
