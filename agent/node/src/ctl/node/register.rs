//! `node register`: this node with everything the cluster keeps about it.

use std::time::{Duration, Instant};

use clap::Args;
use sf_config::NodeConfig;
use sf_daemon::{NodeIdentity, Release};
use sf_gateway::{CallClass, DbError, Gateway};
use sf_model::DaemonName;
use sf_protos::nodes as pb;

use super::view;
use crate::answer::Answer;
use crate::cli::daemon_name;
use crate::failure::{Exit, Failure};

/// Pause between two attempts to reach a gateway.
const PAUSE: Duration = Duration::from_millis(500);

#[derive(Debug, Args)]
pub(crate) struct RegisterOptions {
    /// The whole set of daemons of this node; what is recorded stays when left out.
    #[arg(long, value_delimiter = ',', value_parser = daemon_name)]
    daemons: Vec<DaemonName>,
    /// Seconds to wait for a gateway.
    #[arg(long, default_value_t = 60)]
    wait: u64,
    /// Say what would change and change nothing.
    #[arg(long)]
    check: bool,
}

pub(super) async fn execute(
    gateway: &Gateway,
    config: &NodeConfig,
    options: RegisterOptions,
) -> Result<Answer, Failure> {
    let deadline = Instant::now() + Duration::from_secs(options.wait);
    let identity =
        if options.check { NodeIdentity::known(config)? } else { Some(NodeIdentity::load(config)?) };
    let own = identity.as_ref().map(|identity| identity.uuid.to_string());
    let before = match &own {
        Some(uuid) => find(gateway, uuid, deadline).await?,
        None => None,
    };
    refuse_foreign_name(gateway, config, own.as_deref(), deadline).await?;
    let wanted = request(config, own.unwrap_or_default(), &options.daemons);
    let removed = removed(before.as_ref(), &wanted.daemons);
    let answer = if options.check {
        let after = predicted(before.clone().unwrap_or_default(), &wanted);
        compare(before.as_ref(), after)
    } else {
        let reply = gateway.call(CallClass::Background, wanted).await?;
        compare(before.as_ref(), reply.node.unwrap_or_default())
    };
    Ok(answer.with("removed_daemons", removed.into()))
}

fn request(config: &NodeConfig, node_uuid: String, daemons: &[DaemonName]) -> pb::RegisterNodeRequest {
    pb::RegisterNodeRequest {
        context: None,
        node_uuid,
        name: config.node_name.clone(),
        mesh_ip: config.node_mesh_ip.to_string(),
        egress_ip: config.node_egress_ip.unwrap_or(config.node_mesh_ip).to_string(),
        release: Release::own().to_string(),
        daemons: daemons.iter().map(ToString::to_string).collect(),
        is_hypervisor: config.node_is_hypervisor,
        carrier_eligible: config.carrier_eligible,
    }
}

/// The record as the request would leave it.
fn predicted(before: pb::Node, wanted: &pb::RegisterNodeRequest) -> pb::Node {
    let mut names = wanted.daemons.clone();
    names.sort();
    let known = |name: &String| before.daemons.iter().find(|daemon| daemon.daemon == *name).cloned();
    let daemons: Vec<pb::NodeDaemon> = names
        .into_iter()
        .map(|daemon| known(&daemon).unwrap_or(pb::NodeDaemon { daemon, ..pb::NodeDaemon::default() }))
        .collect();
    let whole = !daemons.is_empty();
    pb::Node {
        uuid: wanted.node_uuid.clone(),
        name: wanted.name.clone(),
        mesh_ip: wanted.mesh_ip.clone(),
        egress_ip: wanted.egress_ip.clone(),
        release: wanted.release.clone(),
        is_hypervisor: wanted.is_hypervisor,
        is_network_node: wanted.carrier_eligible,
        is_database_node: if whole {
            daemons.iter().any(|daemon| daemon.daemon == "database")
        } else {
            before.is_database_node
        },
        daemons: if whole { daemons } else { before.daemons.clone() },
        ..before
    }
}

fn removed(before: Option<&pb::Node>, daemons: &[String]) -> Vec<String> {
    let recorded = before.map_or(&[][..], |node| node.daemons.as_slice());
    let gone = recorded.iter().filter(|daemon| !daemons.is_empty() && !daemons.contains(&daemon.daemon));
    gone.map(|daemon| daemon.daemon.clone()).collect()
}

fn compare(before: Option<&pb::Node>, after: pb::Node) -> Answer {
    match before {
        Some(before) => view::compare(before, after),
        None => view::one(after).changed(true),
    }
}

/// Asks before it changes anything, and says what to do about it.
async fn refuse_foreign_name(
    gateway: &Gateway,
    config: &NodeConfig,
    own: Option<&str>,
    deadline: Instant,
) -> Result<(), Failure> {
    let name = &config.node_name;
    match find(gateway, name, deadline).await? {
        Some(node) if own != Some(node.uuid.as_str()) => Err(Failure::say(
            Exit::Refused,
            format!(
                "another node is registered as {name} ({}, {}): `sf-ctl node deregister {}` when it is gone for good, \
                 or give this one another node_name",
                node.uuid, node.mesh_ip, node.uuid
            ),
        )),
        _ => Ok(()),
    }
}

/// A node by name or UUID; a gateway is waited for.
async fn find(gateway: &Gateway, reference: &str, deadline: Instant) -> Result<Option<pb::Node>, Failure> {
    loop {
        let request = pb::GetNodeRequest { reference: reference.to_owned() };
        match gateway.call(CallClass::Interactive, request).await {
            Ok(reply) => return Ok(reply.node),
            Err(DbError::NotFound { .. }) => return Ok(None),
            Err(DbError::DatabaseUnavailable { .. }) if Instant::now() + PAUSE < deadline => {
                tokio::time::sleep(PAUSE).await;
            }
            Err(error) => return Err(error.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(daemons: &[DaemonName]) -> pb::RegisterNodeRequest {
        let pairs = [("node_mesh_ip", "10.0.0.1"), ("mariadb_gateway_hosts", "a"), ("node_name", "n")];
        request(&NodeConfig::from_pairs(&pairs).unwrap(), "u".to_owned(), daemons)
    }

    #[test]
    fn a_check_predicts_what_registering_does() {
        let first = predicted(pb::Node::default(), &wanted(&[DaemonName::Net, DaemonName::Database]));
        assert!(first.is_database_node);
        let again = predicted(first.clone(), &wanted(&[DaemonName::Database, DaemonName::Net]));
        assert!(!compare(Some(&first), again).changed);
        let fewer = wanted(&[DaemonName::Net]);
        assert_eq!(removed(Some(&first), &fewer.daemons), ["database"]);
        let after = predicted(first.clone(), &fewer);
        assert!(!after.is_database_node && compare(Some(&first), after).changed);
        let silent = wanted(&[]);
        assert!(removed(Some(&first), &silent.daemons).is_empty());
        assert!(!compare(Some(&first), predicted(first.clone(), &silent)).changed);
    }
}
