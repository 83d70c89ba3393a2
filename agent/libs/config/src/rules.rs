//! Rules that tie several keys together.

use std::collections::BTreeMap;

use crate::error::Problem;
use crate::tables::{ClusterConfig, DatabaseConfig, NodeConfig};

/// Rules of a node's own keys.
pub(crate) fn check_node(config: &NodeConfig) -> Vec<Problem> {
    let mut problems = Vec::new();
    if config.mariadb_gateway_hosts.is_empty() {
        problems.push(Problem::new(
            "",
            "mariadb_gateway_hosts",
            "is required: list the hosts of the database tier",
        ));
    }
    if config.node_name.is_empty() || config.node_name.len() > 255 {
        problems.push(Problem::new("", "node_name", "must have from 1 to 255 characters"));
    }
    let mut seen: BTreeMap<u16, &str> = BTreeMap::new();
    for (name, port) in config.ports() {
        if let Some(other) = seen.insert(port, name) {
            problems.push(Problem::new("", name, format!("uses port {port}, which {other} uses too")));
        }
    }
    problems
}

/// Rules of the keys of the database tier.
pub(crate) fn check_database(config: &DatabaseConfig) -> Vec<Problem> {
    match (&config.mariadb_host, &config.mariadb_socket) {
        (None, None) => vec![Problem::new("", "mariadb_host", "is required, unless mariadb_socket is given")],
        (Some(_), Some(_)) => {
            vec![Problem::new("", "mariadb_socket", "cannot be combined with mariadb_host: give one of them")]
        }
        _ => Vec::new(),
    }
}

/// Rules of the cluster keys.
pub(crate) fn check_cluster(config: &ClusterConfig) -> Vec<Problem> {
    let mut problems = Vec::new();
    let mut rule = |holds: bool, key: &str, message: &str| {
        if !holds {
            problems.push(Problem::new("", key, message));
        }
    };
    let floating = config.floating_network;
    rule(floating.prefix_len() <= 29, "floating_network", "must be a /29 or larger");
    rule(
        config.floating_router.is_none_or(|router| floating.contains(&router)),
        "floating_router",
        "must be an address of floating_network",
    );
    rule(
        config.carrier_session_renew * 2 < config.carrier_session_fence
            && config.carrier_session_fence < config.carrier_session_ttl,
        "carrier_session_fence",
        "must be above twice carrier_session_renew and below carrier_session_ttl",
    );
    rule(
        config.node_metrics_max_age >= config.node_metrics_interval * 2,
        "node_metrics_max_age",
        "must be at least twice node_metrics_interval",
    );
    rule(
        is_mac_prefix(&config.mac_prefix),
        "mac_prefix",
        "must be three bytes such as 02:00:00, locally administered",
    );
    rule(!config.dns_server.is_empty(), "dns_server", "must name at least one server");
    rule(config.api_advertised_base_path.starts_with('/'), "api_advertised_base_path", "must begin with /");
    problems
}

/// Three hexadecimal bytes, unicast and locally administered, so that no real card has the address.
fn is_mac_prefix(text: &str) -> bool {
    let bytes: Vec<Option<u8>> = text
        .split(':')
        .map(|part| (part.len() == 2).then(|| u8::from_str_radix(part, 16).ok()).flatten())
        .collect();
    matches!(bytes.as_slice(), [Some(first), Some(_), Some(_)] if first & 0x03 == 0x02)
}
