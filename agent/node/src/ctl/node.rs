//! Nodes, through the gateway.

use clap::Subcommand;
use serde_json::{Value, json};
use sf_config::NodeConfig;
use sf_daemon::{NodeIdentity, Release};
use sf_gateway::{CallClass, Gateway};
use sf_protos::convert::unix_seconds;
use sf_protos::nodes as pb;

use super::gateway;
use crate::answer::{Answer, table};
use crate::failure::Failure;

#[derive(Debug, Subcommand)]
pub(crate) enum NodeCommand {
    /// Make this node known to the cluster; done already when it is.
    Register,
    /// Show one node, or all.
    Status {
        /// Name or UUID; every node when left out.
        node: Option<String>,
    },
    /// Take a repaired node out of state `error`.
    ClearError {
        /// Name or UUID.
        node: String,
    },
    /// Place no new instances on a node.
    Cordon {
        /// Name or UUID.
        node: String,
    },
    /// Place instances on a node again.
    Uncordon {
        /// Name or UUID.
        node: String,
    },
}

pub(crate) async fn execute(command: NodeCommand, config: &NodeConfig) -> Result<Answer, Failure> {
    let gateway = gateway::client(config)?;
    match command {
        NodeCommand::Register => register(&gateway, config).await,
        NodeCommand::Status { node: None } => list(&gateway).await,
        NodeCommand::Status { node: Some(node) } => Ok(one(get(&gateway, node).await?)),
        NodeCommand::ClearError { node } => {
            let before = get(&gateway, node.clone()).await?;
            let request = pb::ClearNodeErrorRequest { context: None, reference: node };
            let reply = gateway.call(CallClass::Background, request).await?;
            Ok(compare(&before, reply.node.unwrap_or_default()))
        }
        NodeCommand::Cordon { node } => set_schedulable(&gateway, node, false).await,
        NodeCommand::Uncordon { node } => set_schedulable(&gateway, node, true).await,
    }
}

async fn register(gateway: &Gateway, config: &NodeConfig) -> Result<Answer, Failure> {
    let identity = NodeIdentity::load(config)?;
    let known = gateway
        .call(CallClass::Background, pb::GetNodeRequest { reference: identity.uuid.to_string() })
        .await;
    let request = pb::RegisterNodeRequest {
        context: None,
        node_uuid: identity.uuid.to_string(),
        name: identity.name,
        mesh_ip: config.node_mesh_ip.to_string(),
        egress_ip: config.node_egress_ip.unwrap_or(config.node_mesh_ip).to_string(),
        release: Release::own().to_string(),
        daemons: Vec::new(),
        is_hypervisor: config.node_is_hypervisor,
        carrier_eligible: config.carrier_eligible,
    };
    let reply = gateway.call(CallClass::Background, request).await?;
    let node = reply.node.unwrap_or_default();
    match known {
        Ok(reply) => Ok(compare(&reply.node.unwrap_or_default(), node)),
        Err(_) => Ok(one(node).changed(true)),
    }
}

async fn set_schedulable(gateway: &Gateway, node: String, schedulable: bool) -> Result<Answer, Failure> {
    let before = get(gateway, node.clone()).await?;
    let draining = schedulable.then_some(false);
    let request = pb::SetNodeSchedulableRequest { context: None, reference: node, schedulable, draining };
    let reply = gateway.call(CallClass::Background, request).await?;
    Ok(compare(&before, reply.node.unwrap_or_default()))
}

async fn list(gateway: &Gateway) -> Result<Answer, Failure> {
    let nodes = gateway
        .collect_all(
            CallClass::Background,
            |page| pb::ListNodesRequest { page: Some(page), include_deleted: false },
            |reply| (reply.nodes, reply.page),
        )
        .await?
        .into_vec();
    let values: Vec<Value> = nodes.iter().map(value).collect();
    Ok(Answer::new(json!({ "nodes": values }), text(&nodes)))
}

async fn get(gateway: &Gateway, reference: String) -> Result<pb::Node, Failure> {
    let reply = gateway.call(CallClass::Background, pb::GetNodeRequest { reference }).await?;
    Ok(reply.node.unwrap_or_default())
}

fn compare(before: &pb::Node, after: pb::Node) -> Answer {
    let essence = |n: &pb::Node| {
        let state = n.state.as_ref().map(|s| s.state.clone());
        (state, n.schedulable, n.draining, n.mesh_ip.clone(), n.release.clone(), n.is_hypervisor)
    };
    let changed = essence(before) != essence(&after);
    one(after).changed(changed)
}

fn one(node: pb::Node) -> Answer {
    Answer::new(json!({ "node": value(&node) }), text(std::slice::from_ref(&node)))
}

fn value(node: &pb::Node) -> Value {
    json!({
        "uuid": node.uuid, "name": node.name, "state": state(node), "mesh_ip": node.mesh_ip, "release": node.release,
        "schedulable": node.schedulable, "draining": node.draining, "is_hypervisor": node.is_hypervisor,
        "last_seen": node.last_seen.as_ref().map(unix_seconds), "degraded_daemons": node.degraded_daemons,
    })
}

fn text(nodes: &[pb::Node]) -> String {
    let row = |node: &pb::Node| {
        let placement = if node.schedulable { "yes" } else { "no" };
        vec![
            node.name.clone(),
            node.uuid.clone(),
            state(node),
            placement.to_owned(),
            node.mesh_ip.clone(),
            node.release.clone(),
        ]
    };
    table(&["name", "uuid", "state", "schedulable", "mesh address", "release"], nodes.iter().map(row))
}

fn state(node: &pb::Node) -> String {
    node.state.as_ref().map(|s| s.state.clone()).unwrap_or_default()
}
