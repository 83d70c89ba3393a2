//! Whether a daemon of this host is well, by what it does itself.

use std::time::Duration;

use async_trait::async_trait;
use sf_config::{DatabaseConfig, NodeConfig};
use sf_daemon::NodeIdentity;
use sf_gateway::{CallClass, Gateway};
use sf_model::DaemonName;
use sf_protos::nodes::{GetNodeRequest, NodeDaemon};
use sf_rollout::converge::Gates;
use sf_rollout::observe::Configuration;

/// Time for one question.
const PATIENCE: Duration = Duration::from_secs(3);

/// The gates of this host.
pub(super) struct HostGates {
    node: NodeConfig,
    database: Option<DatabaseConfig>,
    gateway: Gateway,
    http: reqwest::Client,
    identity: Option<NodeIdentity>,
}

impl HostGates {
    pub(super) fn new(
        configuration: &Configuration,
        gateway: Gateway,
        identity: Option<NodeIdentity>,
    ) -> Result<Self, reqwest::Error> {
        let http = reqwest::Client::builder().timeout(PATIENCE).no_proxy().build()?;
        let Configuration { node, database } = configuration.clone();
        Ok(Self { node, database, gateway, http, identity })
    }

    /// The gateway of this host, on its own address.
    async fn serves(&self) -> Result<(), String> {
        let bound = self.database.as_ref().and_then(|database| database.database_bind_address);
        let address = bound.filter(|ip| !ip.is_unspecified()).unwrap_or(self.node.node_mesh_ip);
        let port = self.node.mariadb_gateway_port;
        sf_gateway::probe(&address.to_string(), port, PATIENCE).await.map_err(|error| error.to_string())
    }

    async fn is_ready(&self) -> Result<(), String> {
        let address = self.node.api_listen.first().copied().unwrap_or(self.node.node_mesh_ip);
        let url = format!("http://{}/readyz", std::net::SocketAddr::new(address, self.node.api_port));
        let reply = self.http.get(&url).send().await.map_err(|error| format!("{url}: {error}"))?;
        let status = reply.status();
        if status.is_success() {
            return Ok(());
        }
        let text = reply.text().await.unwrap_or_default();
        Err(format!("{url} answers {status}: {}", text.trim()))
    }

    /// The cluster's record of a daemon, by the process that is meant.
    async fn is_recorded(&self, daemon: DaemonName, pid: u32) -> Result<(), String> {
        let identity = self.identity.as_ref().ok_or("this node has no identity yet")?;
        let request = GetNodeRequest { reference: identity.uuid.to_string() };
        let reply =
            self.gateway.call(CallClass::Interactive, request).await.map_err(|error| error.to_string())?;
        let name = daemon.to_string();
        let rows = reply.node.unwrap_or_default().daemons;
        recorded(rows.iter().find(|row| row.daemon == name), pid)
    }
}

fn recorded(row: Option<&NodeDaemon>, pid: u32) -> Result<(), String> {
    match row {
        None => Err("the cluster does not know it on this node".to_owned()),
        Some(row) if row.pid != Some(pid) => Err("it has not reported to the cluster yet".to_owned()),
        Some(row) if row.state.as_deref() == Some("running") => Ok(()),
        Some(row) => Err(format!("it reports that it is {}", row.state.as_deref().unwrap_or("not running"))),
    }
}

#[async_trait]
impl Gates for HostGates {
    async fn check(&self, daemon: DaemonName, pid: u32) -> Result<(), String> {
        match daemon {
            DaemonName::Database => self.serves().await,
            DaemonName::Api => self.is_ready().await,
            // They know no cluster; ready means that they serve their socket.
            DaemonName::Privexec | DaemonName::NetPrivexec => Ok(()),
            other => self.is_recorded(other, pid).await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_of_another_process_does_not_count() {
        let row = |pid, state: &str| NodeDaemon {
            daemon: "net".into(),
            pid: Some(pid),
            state: Some(state.into()),
            ..NodeDaemon::default()
        };
        assert!(recorded(Some(&row(7, "running")), 7).is_ok());
        for (row, expected) in [(row(6, "running"), "not reported"), (row(7, "stopping"), "stopping")] {
            assert!(recorded(Some(&row), 7).unwrap_err().contains(expected));
        }
        assert!(recorded(None, 7).is_err());
    }
}
