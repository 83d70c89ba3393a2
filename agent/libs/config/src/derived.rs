//! Values that follow from keys.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;

use chrono::{DateTime, Utc};
use sf_model::Secret;

use crate::builder::{Given, GivenMap};
use crate::choices::{LogLevel, MariadbTlsMode};
use crate::error::{ConfigError, Problem};
use crate::rules;
use crate::secret::read_secret;
use crate::spec::cluster_key;
use crate::tables::{ClusterConfig, DatabaseConfig, NodeConfig};
use crate::window::SecretWindow;

impl NodeConfig {
    /// Socket on which sf-transfers serves the daemons of its own node.
    pub fn transfers_socket(&self) -> PathBuf {
        self.run_path.join("transfers/storage.sock")
    }

    /// Address that consoles listen on.
    pub fn console_address(&self) -> IpAddr {
        self.console_listen_ip.or(self.node_egress_ip).unwrap_or(self.node_mesh_ip)
    }

    /// The database tier as (host, port), in the order given.
    pub fn gateway_endpoints(&self) -> Vec<(String, u16)> {
        self.mariadb_gateway_hosts
            .iter()
            .map(|host| split_endpoint(host, self.mariadb_gateway_port))
            .collect()
    }

    /// Port of the Prometheus endpoint of a daemon (`api`, `net`, …); `None` for daemons that have none.
    pub fn metrics_port(&self, daemon: &str) -> Option<u16> {
        let name = match daemon {
            "database" => "mariadb_gateway_metrics_port".to_owned(),
            other => format!("{other}_metrics_port"),
        };
        self.ports().into_iter().find(|(key, _)| **key == *name).map(|(_, port)| port)
    }

    /// Least severe line that a daemon (`api`, `net-privexec`, …) writes.
    pub fn log_level(&self, daemon: &str) -> LogLevel {
        match daemon {
            "api" => self.loglevel_api,
            "cleaner" => self.loglevel_cleaner,
            "cluster" => self.loglevel_cluster,
            "database" => self.loglevel_database,
            "net" => self.loglevel_net,
            "net-privexec" => self.loglevel_net_privexec,
            "privexec" => self.loglevel_privexec,
            "queues" => self.loglevel_queues,
            "resources" => self.loglevel_resources,
            "transfers" => self.loglevel_transfers,
            _ => LogLevel::Info,
        }
    }

    /// Every TCP port that daemons of this node listen on, by key.
    pub fn ports(&self) -> Vec<(&'static str, u16)> {
        vec![
            ("api_port", self.api_port),
            ("mariadb_gateway_port", self.mariadb_gateway_port),
            ("node_rpc_port", self.node_rpc_port),
            ("net_rpc_port", self.net_rpc_port),
            ("transfers_port", self.transfers_port),
            ("resources_metrics_port", self.resources_metrics_port),
            ("cluster_metrics_port", self.cluster_metrics_port),
            ("mariadb_gateway_metrics_port", self.mariadb_gateway_metrics_port),
            ("api_metrics_port", self.api_metrics_port),
            ("queues_metrics_port", self.queues_metrics_port),
            ("net_metrics_port", self.net_metrics_port),
            ("cleaner_metrics_port", self.cleaner_metrics_port),
            ("transfers_metrics_port", self.transfers_metrics_port),
            ("sidechannel_metrics_port", self.sidechannel_metrics_port),
        ]
    }

    /// A configuration from keys and texts alone: no file, no environment. For tests and standalone mode.
    ///
    /// # Errors
    /// Every problem found, as with files.
    pub fn from_pairs(pairs: &[(&str, &str)]) -> Result<Self, ConfigError> {
        let (given, mut problems) = given_pairs(pairs, Self::KEYS);
        let config = match Self::build(&given, &[("hostname", hostname())]) {
            Ok(config) => config,
            Err(more) => {
                problems.extend(more);
                return Err(problems.into());
            }
        };
        problems.extend(rules::check_node(&config));
        if problems.is_empty() { Ok(config) } else { Err(problems.into()) }
    }
}

impl DatabaseConfig {
    /// A configuration from keys and texts alone, as [`NodeConfig::from_pairs`].
    ///
    /// # Errors
    /// Every problem found, as with files.
    pub fn from_pairs(pairs: &[(&str, &str)]) -> Result<Self, ConfigError> {
        let (given, mut problems) = given_pairs(pairs, Self::KEYS);
        match Self::build(&given, &[]) {
            Ok(config) => {
                problems.extend(rules::check_database(&config));
                if problems.is_empty() { Ok(config) } else { Err(problems.into()) }
            }
            Err(more) => {
                problems.extend(more);
                Err(problems.into())
            }
        }
    }

    /// How the connection to MariaDB is encrypted: as configured, else by where it goes.
    pub fn tls_mode(&self) -> MariadbTlsMode {
        match (self.mariadb_tls_mode, &self.mariadb_tls_ca) {
            (Some(mode), _) => mode,
            (None, _) if self.is_local() => MariadbTlsMode::Disabled,
            (None, Some(_)) => MariadbTlsMode::VerifyIdentity,
            (None, None) => MariadbTlsMode::Required,
        }
    }

    /// Whether the connection to MariaDB never leaves this machine.
    pub(crate) fn is_local(&self) -> bool {
        let host = self.mariadb_host.as_deref().unwrap_or("localhost");
        host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
    }

    /// The password of the runtime user: systemd credential `mariadb_password`, else the configured file.
    ///
    /// # Errors
    /// The file cannot be read, or is empty.
    pub fn password(&self) -> Result<Option<Secret<String>>, ConfigError> {
        read_secret("mariadb_password", self.mariadb_password_file.as_deref()).map_err(|p| vec![p].into())
    }

    /// User and password for schema work; the runtime user's when no other is configured.
    ///
    /// # Errors
    /// The file cannot be read, or is empty.
    pub fn schema_credentials(&self) -> Result<(String, Option<Secret<String>>), ConfigError> {
        match &self.mariadb_schema_user {
            None => Ok((self.mariadb_user.clone(), self.password()?)),
            Some(user) => {
                let file = self.mariadb_schema_password_file.as_deref();
                let password =
                    read_secret("mariadb_schema_password", file).map_err(|p| ConfigError::from(vec![p]))?;
                Ok((user.clone(), password))
            }
        }
    }
}

impl ClusterConfig {
    /// The cluster configuration from the texts of the database, keys in either case. Keys that this build does not
    /// know are ignored (a newer gateway may have them) and returned beside the result.
    ///
    /// # Errors
    /// Every value that does not parse or is out of range.
    pub fn from_texts<'a>(
        texts: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Result<(Self, Vec<String>), ConfigError> {
        let mut given = GivenMap::new();
        let mut unknown = Vec::new();
        for (name, text) in texts {
            match cluster_key(name) {
                Some(spec) => {
                    let origin = "cluster configuration".to_owned();
                    given.insert(spec.name.to_owned(), Given { origin, text: text.to_owned() });
                }
                None => unknown.push(name.to_owned()),
            }
        }
        let config = Self::build(&given, &[])?;
        let problems = rules::check_cluster(&config);
        if problems.is_empty() { Ok((config, unknown)) } else { Err(problems.into()) }
    }

    /// The seeds that access tokens are checked with at `now`, the one that signs first; none before bootstrap.
    pub fn signing_seeds(&self, now: DateTime<Utc>) -> Vec<Secret<String>> {
        usable(self.auth_secret_seed.as_deref(), now)
    }

    /// The secrets that tokens for bytes between nodes are checked with at `now`, the one that signs first; none before
    /// bootstrap.
    pub fn transfer_secrets(&self, now: DateTime<Utc>) -> Vec<Secret<String>> {
        usable(self.transfer_secret.as_deref(), now)
    }

    /// The canonical text of every key that is not secret, for comparing two configurations.
    pub fn open_texts(&self) -> BTreeMap<&'static str, String> {
        self.texts()
            .into_iter()
            .filter(|(spec, _)| !spec.flags.secret)
            .map(|(spec, text)| (spec.name, text))
            .collect()
    }
}

/// Host name of this machine, as the default node name.
pub fn hostname() -> String {
    std::fs::read_to_string("/proc/sys/kernel/hostname")
        .map(|name| name.trim().to_owned())
        .unwrap_or_default()
}

fn given_pairs(pairs: &[(&str, &str)], keys: &[crate::KeySpec]) -> (GivenMap, Vec<Problem>) {
    let mut given = GivenMap::new();
    let mut problems = Vec::new();
    for (name, text) in pairs {
        if keys.iter().any(|k| k.name == *name) {
            given.insert((*name).to_owned(), Given { origin: "given".to_owned(), text: (*text).to_owned() });
        } else {
            problems.push(Problem::new("given", *name, "is not a key of this table"));
        }
    }
    (given, problems)
}

/// Host and port of `host`, `host:port`, `[v6]:port` or a bare IPv6 address.
pub fn split_endpoint(text: &str, default_port: u16) -> (String, u16) {
    if text.parse::<IpAddr>().is_ok() {
        return (text.to_owned(), default_port);
    }
    match text.rsplit_once(':').and_then(|(host, port)| Some((host, port.parse().ok()?))) {
        Some((host, port)) => (host.trim_matches(['[', ']']).to_owned(), port),
        None => (text.trim_matches(['[', ']']).to_owned(), default_port),
    }
}

/// What is no window was refused when the configuration was read.
fn usable(text: Option<&Secret<String>>, now: DateTime<Utc>) -> Vec<Secret<String>> {
    let window = text.and_then(|text| SecretWindow::parse(text.expose()).ok());
    window.map(|window| window.usable(now)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_take_an_optional_port() {
        for (text, host, port) in [
            ("db1", "db1", 5),
            ("db1:7", "db1", 7),
            ("10.0.0.1", "10.0.0.1", 5),
            ("fd00::1", "fd00::1", 5),
            ("[fd00::1]:7", "fd00::1", 7),
        ] {
            assert_eq!(split_endpoint(text, 5), (host.to_owned(), port), "{text}");
        }
    }

    #[test]
    fn every_metrics_port_is_found_by_daemon() {
        let config =
            NodeConfig::from_pairs(&[("node_mesh_ip", "10.0.0.1"), ("mariadb_gateway_hosts", "a")]).unwrap();
        assert_eq!(config.metrics_port("database"), Some(13006));
        assert_eq!(config.metrics_port("net"), Some(13009));
        assert_eq!(config.metrics_port("privexec"), None);
    }

    #[test]
    fn cluster_defaults_hold_and_unknown_keys_are_returned() {
        let (config, unknown) =
            ClusterConfig::from_texts([("FLOATING_NETWORK", "10.9.0.0/24"), ("NEW_KEY", "1")]).unwrap();
        assert_eq!(config.floating_network.to_string(), "10.9.0.0/24");
        assert_eq!(unknown, ["NEW_KEY"]);
        assert!(ClusterConfig::from_texts([("FLOATING_ROUTER", "10.0.0.1")]).is_err());
    }
}
