//! Rules that tie several keys together.

use std::collections::BTreeMap;

use crate::choices::{MariadbTlsMode, MeshTls};
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
    let mut problems = match (&config.mariadb_host, &config.mariadb_socket) {
        (None, None) => vec![Problem::new("", "mariadb_host", "is required, unless mariadb_socket is given")],
        (Some(_), Some(_)) => {
            vec![Problem::new("", "mariadb_socket", "cannot be combined with mariadb_host: give one of them")]
        }
        _ => Vec::new(),
    };
    if config.mariadb_tls_cert.is_some() != config.mariadb_tls_key.is_some() {
        problems.push(Problem::new("", "mariadb_tls_cert", "and mariadb_tls_key belong together: give both"));
    }
    if config.tls_mode() == MariadbTlsMode::VerifyCa && config.mariadb_tls_ca.is_none() {
        let why = "is required with verify-ca: the public authorities sign certificates for anyone";
        problems.push(Problem::new("", "mariadb_tls_ca", why));
    }
    problems
}

/// What should be said about the keys of the database tier, although they can be used.
pub(crate) fn advise_database(config: &DatabaseConfig) -> Vec<String> {
    let weak = match config.tls_mode() {
        MariadbTlsMode::Disabled => "is not encrypted",
        MariadbTlsMode::Required => "is encrypted, but anyone may answer in its place",
        MariadbTlsMode::VerifyCa | MariadbTlsMode::VerifyIdentity => return Vec::new(),
    };
    if config.is_local() {
        return Vec::new();
    }
    vec![format!(
        "the connection to MariaDB {weak}: set mariadb_tls_mode to verify-identity and mariadb_tls_ca"
    )]
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
    rule(
        config.tls_mode == MeshTls::Off,
        "tls_mode",
        "cannot be required in this release: set it to off and keep the mesh to the hosts of the cluster",
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_mode_the_connection_is_encrypted_unless_it_stays_on_this_machine() {
        let ca = ("mariadb_tls_ca", "/ca.pem");
        for (pairs, mode, advised) in [
            (vec![("mariadb_socket", "/run/mariadb.sock")], MariadbTlsMode::Disabled, false),
            (vec![("mariadb_host", "127.0.0.1")], MariadbTlsMode::Disabled, false),
            (vec![("mariadb_host", "localhost"), ca], MariadbTlsMode::Disabled, false),
            (vec![("mariadb_host", "db")], MariadbTlsMode::Required, true),
            (vec![("mariadb_host", "db"), ca], MariadbTlsMode::VerifyIdentity, false),
            (vec![("mariadb_host", "db"), ("mariadb_tls_mode", "disabled")], MariadbTlsMode::Disabled, true),
            (
                vec![("mariadb_host", "db"), ("mariadb_tls_mode", "verify-ca"), ca],
                MariadbTlsMode::VerifyCa,
                false,
            ),
        ] {
            let config = DatabaseConfig::from_pairs(&pairs).unwrap();
            assert_eq!(
                (config.tls_mode(), !advise_database(&config).is_empty()),
                (mode, advised),
                "{pairs:?}"
            );
        }
    }

    #[test]
    fn half_an_identity_and_an_authority_that_is_not_named_are_refused() {
        assert!(DatabaseConfig::from_pairs(&[("mariadb_host", "db"), ("mariadb_tls_cert", "/c")]).is_err());
        let any = [("mariadb_host", "db"), ("mariadb_tls_mode", "verify-ca")];
        let refused = DatabaseConfig::from_pairs(&any).unwrap_err().to_string();
        assert!(refused.contains("is required with verify-ca"), "{refused}");
    }
}
