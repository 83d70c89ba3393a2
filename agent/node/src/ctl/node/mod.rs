//! Nodes, through the gateway.

mod deregister;
mod drain;
mod register;
mod view;

use clap::{Args, Subcommand};
use serde_json::{Value, json};
use sf_config::NodeConfig;
use sf_daemon::NodeIdentity;
use sf_gateway::{CallClass, Gateway};
use sf_protos::nodes as pb;

use super::gateway;
use crate::answer::Answer;
use crate::failure::{Exit, Failure};

#[derive(Debug, Subcommand)]
pub(crate) enum NodeCommand {
    /// Make this node known to the cluster, with its addresses, roles and daemons; done already when it is.
    Register(register::RegisterOptions),
    /// Show one node, or all.
    Status {
        /// Name or UUID; every node when left out.
        node: Option<String>,
    },
    /// Take a repaired node out of state `error`.
    ClearError(Changed),
    /// Place no new instances on a node.
    Cordon(Changed),
    /// Place instances on a node again.
    Uncordon(Changed),
    /// Cordon a node and wait until it holds nothing that the cluster needs.
    Drain(drain::DrainOptions),
    /// Take a node out of the cluster.
    Deregister(deregister::DeregisterOptions),
}

/// A node that is changed by one switch.
#[derive(Debug, Args)]
pub(crate) struct Changed {
    /// Name or UUID; this node when left out.
    node: Option<String>,
    /// Say what would change and change nothing.
    #[arg(long)]
    check: bool,
}

pub(crate) async fn execute(command: NodeCommand, config: &NodeConfig) -> Result<Answer, Failure> {
    let gateway = gateway::client(config)?;
    match command {
        NodeCommand::Register(options) => register::execute(&gateway, config, options).await,
        NodeCommand::Status { node: None } => Ok(view::many(&list(&gateway).await?)),
        NodeCommand::Status { node: Some(node) } => Ok(view::one(get(&gateway, node).await?)),
        NodeCommand::ClearError(changed) => clear_error(&gateway, config, changed).await,
        NodeCommand::Cordon(changed) => set_schedulable(&gateway, config, changed, false).await,
        NodeCommand::Uncordon(changed) => set_schedulable(&gateway, config, changed, true).await,
        NodeCommand::Drain(options) => drain::execute(&gateway, config, options).await,
        NodeCommand::Deregister(options) => deregister::execute(&gateway, options).await,
    }
}

/// Every node that is not deleted.
pub(super) async fn list(gateway: &Gateway) -> Result<Vec<pb::Node>, Failure> {
    let nodes = gateway
        .collect_all(
            CallClass::Background,
            |page| pb::ListNodesRequest { page: Some(page), include_deleted: false },
            |reply| (reply.nodes, reply.page),
        )
        .await?;
    Ok(nodes.into_vec())
}

/// A node as automation reads it.
pub(super) fn value(node: &pb::Node) -> Value {
    view::value(node)
}

async fn get(gateway: &Gateway, reference: String) -> Result<pb::Node, Failure> {
    let reply = gateway.call(CallClass::Background, pb::GetNodeRequest { reference }).await?;
    Ok(reply.node.unwrap_or_default())
}

/// The node that is meant: the named one, or this one.
fn reference(config: &NodeConfig, named: Option<String>) -> Result<String, Failure> {
    if let Some(named) = named {
        return Ok(named);
    }
    let own = NodeIdentity::known(config)?;
    let unknown = || Failure::say(Exit::Refused, "this node has no identity yet: it was never registered");
    Ok(own.ok_or_else(unknown)?.uuid.to_string())
}

async fn clear_error(gateway: &Gateway, config: &NodeConfig, changed: Changed) -> Result<Answer, Failure> {
    let before = get(gateway, reference(config, changed.node)?).await?;
    if changed.check {
        let would = view::state(&before) == "error";
        return Ok(view::one(before).changed(would));
    }
    let request = pb::ClearNodeErrorRequest { context: None, reference: before.uuid.clone() };
    let reply = gateway.call(CallClass::Background, request).await?;
    Ok(view::compare(&before, reply.node.unwrap_or_default()))
}

async fn set_schedulable(
    gateway: &Gateway,
    config: &NodeConfig,
    changed: Changed,
    schedulable: bool,
) -> Result<Answer, Failure> {
    let before = get(gateway, reference(config, changed.node)?).await?;
    if changed.check {
        let would = before.schedulable != schedulable || (schedulable && before.draining);
        return Ok(view::one(before).changed(would));
    }
    let draining = schedulable.then_some(false);
    let request = pb::SetNodeSchedulableRequest {
        context: None,
        reference: before.uuid.clone(),
        schedulable,
        draining,
    };
    let reply = gateway.call(CallClass::Background, request).await?;
    Ok(view::compare(&before, reply.node.unwrap_or_default()))
}

/// What ties a node to the cluster, for automation.
fn remaining(remains: &pb::GetNodeRemainsReply) -> Value {
    let instance =
        |i: &pb::RemainingInstance| json!({ "uuid": i.uuid, "name": i.name, "namespace": i.namespace });
    json!({
        "instances": remains.instances.iter().map(instance).collect::<Vec<_>>(),
        "instance_count": remains.instance_count, "blobs_under_replicated": remains.blobs_under_replicated,
    })
}
