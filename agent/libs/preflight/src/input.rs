//! What is asked.

use std::path::PathBuf;

use ipnet::Ipv4Net;
use serde::Deserialize;
use serde_json::{Map, Value};
use sf_config::{ConfigError, DatabaseConfig, NodeConfig, Secret};
use sf_model::DaemonName;
use sf_units::Role;

/// The name under which the password of the database travels; it is no configuration key.
const PASSWORD: &str = "mariadb_password";

/// Why the input is not understood.
#[derive(Debug, thiserror::Error)]
pub enum InputError {
    /// It is no such JSON object. The parser's own words could quote a secret.
    #[error("the input is not the JSON object of docs/reference/role-contract.md (line {0}, column {1})")]
    Json(usize, usize),
    /// A configuration in it is refused.
    #[error("the configuration in the input is refused")]
    Config(#[from] ConfigError),
    /// A daemon or role that does not exist.
    #[error("there is no {0}")]
    Unknown(String),
}

/// What a host is meant to be.
#[derive(Debug)]
pub struct Input {
    /// Its keys.
    pub node: NodeConfig,
    /// The tier's keys, on its hosts.
    pub database: Option<DatabaseConfig>,
    /// The password of the database user.
    pub password: Option<Secret<String>>,
    /// What it is for.
    pub roles: Vec<Role>,
    /// What it runs.
    pub daemons: Vec<DaemonName>,
    /// Whether the cluster has other hosts.
    pub multi: bool,
    /// What the operator decided.
    pub settings: Settings,
}

/// What the operator decided.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Guests may run without KVM.
    pub allow_emulation: bool,
    /// Storage that loses data is a warning.
    pub allow_unsafe_storage: bool,
    /// An unknown distribution is a warning.
    pub allow_unsupported_os: bool,
    /// The packages of guests are yet to be installed: what only they could tell is skipped.
    pub packages_pending: bool,
    /// A host of the database tier takes part in the same run: its gateway comes up before this host needs it.
    pub tier_in_run: bool,
    /// MTU that the mesh device must carry.
    pub min_mesh_mtu: u32,
    /// Block of floating addresses.
    pub floating_network: Option<Ipv4Net>,
    /// DNS suffix of the cluster.
    pub zone: Option<String>,
    /// Mesh addresses of the other hosts.
    pub members: Vec<std::net::IpAddr>,
    /// Checks whose failure is a warning.
    pub ignore: Vec<String>,
    /// Certificates of the mesh.
    pub tls: Option<TlsFiles>,
    /// Seconds for all checks together.
    pub timeout: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            allow_emulation: false,
            allow_unsafe_storage: false,
            allow_unsupported_os: false,
            packages_pending: false,
            tier_in_run: false,
            min_mesh_mtu: 1500,
            floating_network: None,
            zone: None,
            members: Vec::new(),
            ignore: Vec::new(),
            tls: None,
            timeout: 60,
        }
    }
}

/// Certificates of the mesh, on this host.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TlsFiles {
    /// Who signs.
    pub ca: Pem,
    /// The host's own.
    pub cert: Pem,
    /// Its key.
    pub key: Pem,
}

/// Something in PEM: a file of this host, or the text itself where it is not there yet.
#[derive(Debug)]
pub enum Pem {
    /// Where it is.
    File(PathBuf),
    /// What it is.
    Text(Secret<String>),
}

impl<'de> Deserialize<'de> for Pem {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = String::deserialize(deserializer)?;
        let is_text = value.contains("-----BEGIN ");
        Ok(if is_text { Self::Text(Secret::new(value)) } else { Self::File(value.into()) })
    }
}

impl std::fmt::Display for Pem {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::File(path) => path.display().fmt(formatter),
            Self::Text(_) => formatter.write_str("of the controller"),
        }
    }
}

/// The same as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    node: Map<String, Value>,
    #[serde(default)]
    database: Option<Map<String, Value>>,
    roles: Vec<String>,
    daemons: Vec<String>,
    #[serde(default)]
    multi: bool,
    #[serde(default)]
    settings: Settings,
}

impl Input {
    /// Reads the JSON object.
    ///
    /// # Errors
    /// See [`InputError`].
    pub fn parse(text: &str) -> Result<Self, InputError> {
        let written: Written =
            serde_json::from_str(text).map_err(|error| InputError::Json(error.line(), error.column()))?;
        let mut database = written.database;
        let password =
            database.as_mut().and_then(|keys| keys.remove(PASSWORD)).and_then(|value| plain(&value));
        let names = |name: &String| {
            let plain = name.strip_prefix("sf-").unwrap_or(name);
            plain.parse::<DaemonName>().map_err(|_| InputError::Unknown(format!("daemon {name}")))
        };
        let roles =
            |name: &String| name.parse::<Role>().map_err(|_| InputError::Unknown(format!("role {name}")));
        Ok(Self {
            node: NodeConfig::from_pairs(&pairs(&texts(&written.node)))?,
            database: database.map(|keys| DatabaseConfig::from_pairs(&pairs(&texts(&keys)))).transpose()?,
            password: password.map(Secret::new),
            roles: written.roles.iter().map(roles).collect::<Result<_, _>>()?,
            daemons: written.daemons.iter().map(names).collect::<Result<_, _>>()?,
            multi: written.multi,
            settings: written.settings,
        })
    }

    /// Whether the host has a role.
    pub fn is(&self, role: Role) -> bool {
        self.roles.contains(&role)
    }
}

fn texts(keys: &Map<String, Value>) -> Vec<(String, String)> {
    keys.iter().filter_map(|(key, value)| Some((key.clone(), plain(value)?))).collect()
}

fn pairs(texts: &[(String, String)]) -> Vec<(&str, &str)> {
    texts.iter().map(|(key, text)| (key.as_str(), text.as_str())).collect()
}

/// A value as configuration texts are written; a key without value is not given.
fn plain(value: &Value) -> Option<String> {
    match value {
        Value::Null => None,
        Value::String(text) => Some(text.clone()),
        Value::Array(items) => Some(items.iter().filter_map(plain).collect::<Vec<_>>().join(",")),
        other => Some(other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_role_sends_is_understood() {
        let text = r#"{"node": {"node_mesh_ip": "10.0.0.1", "mariadb_gateway_hosts": ["10.0.0.1:13005"], "api_port": 13000},
            "database": {"mariadb_host": "db", "mariadb_password": "hush"}, "roles": ["database"], "daemons": ["database", "sf-api"],
            "settings": {"min_mesh_mtu": 1400, "floating_network": "192.168.20.0/24",
                "tls": {"ca": "/ca", "cert": "/cert", "key": "-----BEGIN PRIVATE KEY-----\nhush"}}}"#;
        let input = Input::parse(text).unwrap();
        assert_eq!(input.password.as_ref().map(|secret| secret.expose().as_str()), Some("hush"));
        assert_eq!(input.daemons, [DaemonName::Database, DaemonName::Api]);
        assert!(input.is(Role::Database) && !input.is(Role::Network) && !input.multi);
        assert_eq!((input.settings.min_mesh_mtu, input.settings.timeout), (1400, 60));
        let files = input.settings.tls.as_ref().map(|files| (files.ca.to_string(), files.key.to_string()));
        assert_eq!(files, Some(("/ca".to_owned(), "of the controller".to_owned())));
        assert!(!format!("{input:?}").contains("hush"));
    }

    #[test]
    fn what_is_not_understood_is_refused_without_quoting_it() {
        for text in [
            r#"{"hush": 1}"#,
            r#"{"node": {}, "roles": [], "daemons": []}"#,
            r#"{"node": {"node_mesh_ip": "10.0.0.1", "mariadb_gateway_hosts": "a"}, "roles": [], "daemons": ["lamp"]}"#,
        ] {
            let error = Input::parse(text).unwrap_err().to_string();
            assert!(!error.contains("hush"), "{error}");
        }
    }
}
