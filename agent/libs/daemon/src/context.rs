//! What a daemon's `run` is given.

use std::sync::Arc;
use std::time::Duration;

use sf_config::{ClusterConfig, NodeConfig};
use sf_events::Recorder;
use sf_gateway::{CallClass, Caller, DbError, Gateway, GatewayOptions};
use sf_model::{DaemonName, IncarnationId};
use sf_protos::nodes::{DaemonConditions, RegisterNodeRequest, ReportDaemonStateRequest};
use sf_runtime::{Liveness, Shutdown, StatusLine, notify};

use crate::cluster::{self, ClusterConfigHandle, ClusterReader};
use crate::error::DaemonError;
use crate::host::Host;
use crate::identity::NodeIdentity;
use crate::kek::Kek;
use crate::peers::Peers;
use crate::release::Release;

const FIRST_BACKOFF: Duration = Duration::from_millis(200);
const MAX_BACKOFF: Duration = Duration::from_secs(5);

/// A started daemon: configured, registered, recording. Cheap to clone.
#[derive(Clone)]
pub struct DaemonContext {
    /// Which daemon this is.
    pub name: DaemonName,
    /// Which node it runs on.
    pub node: NodeIdentity,
    /// Keys of the node.
    pub config: Arc<NodeConfig>,
    /// Keys of the cluster, fresh.
    pub cluster: ClusterConfigHandle,
    /// The client of the database tier.
    pub gateway: Gateway,
    /// The recorder of events.
    pub events: Recorder,
    /// Asks the daemon to end.
    pub shutdown: Shutdown,
    /// Where loops promise progress.
    pub liveness: Liveness,
    /// What the service manager shows.
    pub status: StatusLine,
    /// One per start of the daemon, for locks and claims: what an earlier life holds is given back by the next.
    pub incarnation: IncarnationId,
}

impl DaemonContext {
    /// Starts a daemon: serves metrics, reports readiness, waits for the cluster configuration without limit,
    /// registers, and starts to deliver events.
    ///
    /// Readiness is reported before the wait: the order in which hosts boot must not matter.
    ///
    /// # Errors
    /// The daemon must not run: see [`DaemonError`]. A database that is not there is waited for, never an error.
    pub async fn start(host: &Host, name: DaemonName) -> Result<Self, DaemonError> {
        let events = host.recorder(name)?;
        host.serve_metrics(name).await?;
        let gateway = gateway(host, name)?;
        let status = host.status.for_daemon(name.program());
        notify::ready();
        status.set("waiting for sf-database");
        let reader = ClusterReader { gateway: gateway.clone(), daemon: name, kek: kek(host, name)? };
        let first = patiently(&host.shutdown, || reader.fetch()).await?;
        let context = Self {
            name,
            node: host.node.clone(),
            config: host.config.clone(),
            cluster: ClusterConfigHandle::new(first),
            gateway,
            events,
            shutdown: host.shutdown.clone(),
            liveness: host.liveness.clone(),
            status,
            incarnation: IncarnationId::random(),
        };
        context.register(host).await?;
        host.start_drainer(name, Arc::new(context.gateway.clone()))?;
        context.keep_fresh(reader);
        context.status.set("running");
        Ok(context)
    }

    /// Tells the cluster what this daemon does: `running`, `stopping`, `stopped`. Best effort; check-in is what counts.
    pub async fn report(&self, state: &str) {
        if let Err(error) = self.gateway.call(CallClass::Once, self.report_of(state, None)).await {
            tracing::debug!(%error, state, "the state of the daemon could not be reported");
        }
    }

    /// Tells the cluster what keeps this daemon, which runs, from part of its work; nothing when `conditions` is empty.
    ///
    /// # Errors
    /// The gateway did not take it: what was told before stands.
    pub async fn report_conditions(&self, conditions: Vec<String>) -> Result<(), DbError> {
        let request = self.report_of("running", Some(DaemonConditions { names: conditions }));
        self.gateway.call(CallClass::Background, request).await.map(|_| ())
    }

    fn report_of(&self, state: &str, conditions: Option<DaemonConditions>) -> ReportDaemonStateRequest {
        ReportDaemonStateRequest {
            node_uuid: self.node.uuid.to_string(),
            daemon: self.name.to_string(),
            state: state.to_owned(),
            incarnation: self.incarnation.to_string(),
            pid: std::process::id(),
            release: Release::own().to_string(),
            conditions,
        }
    }

    /// The other nodes, as far as this daemon needs to tell who calls it. Nobody keeps the table fresh yet.
    pub fn peers(&self) -> Peers {
        Peers::new(self.gateway.clone(), self.node.uuid, self.config.node_mesh_ip)
    }

    async fn register(&self, host: &Host) -> Result<(), DaemonError> {
        self.status.set("registering the node");
        let config = &self.config;
        let request = RegisterNodeRequest {
            context: Some(self.gateway.mutation()),
            node_uuid: self.node.uuid.to_string(),
            name: self.node.name.clone(),
            mesh_ip: config.node_mesh_ip.to_string(),
            egress_ip: config.node_egress_ip.unwrap_or(config.node_mesh_ip).to_string(),
            release: Release::own().to_string(),
            daemons: host.daemons.iter().map(ToString::to_string).collect(),
            is_hypervisor: config.node_is_hypervisor,
            carrier_eligible: config.carrier_eligible,
        };
        patiently(&self.shutdown, || async {
            Ok(self.gateway.call(CallClass::Background, request.clone()).await?)
        })
        .await?;
        self.report("running").await;
        Ok(())
    }

    fn keep_fresh(&self, reader: ClusterReader) {
        let echo = self.events.clone();
        let applied = move |config: &ClusterConfig| echo.set_echo(config.log_events_to_loki);
        applied(&self.cluster.current());
        let (shutdown, liveness) = (self.shutdown.clone(), self.liveness.clone());
        tokio::spawn(self.cluster.clone().refresh(reader, shutdown, liveness, applied));
    }
}

/// The key-encryption key, for the daemon that reads what it encrypts.
fn kek(host: &Host, name: DaemonName) -> Result<Option<Arc<Kek>>, DaemonError> {
    match name {
        DaemonName::Api => Ok(Kek::of_node(&host.config)?.map(Arc::new)),
        _ => Ok(None),
    }
}

/// The client of the database tier of a daemon.
fn gateway(host: &Host, name: DaemonName) -> Result<Gateway, DaemonError> {
    let caller = Caller {
        daemon: name.to_string(),
        node: host.node.uuid.to_string(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
    };
    Gateway::new(GatewayOptions { endpoints: host.config.gateway_endpoints(), caller })
        .map_err(|e| DaemonError::Endpoints(e.to_string()))
}

/// Tries until it works, with growing pauses; only a database that cannot be reached is waited for.
async fn patiently<T, F: Future<Output = Result<T, DaemonError>>>(
    shutdown: &Shutdown,
    attempt: impl Fn() -> F,
) -> Result<T, DaemonError> {
    let mut pause = FIRST_BACKOFF;
    loop {
        match shutdown.unless(attempt()).await.ok_or(DaemonError::Interrupted)? {
            Err(error) if cluster::is_transient(&error) => tracing::info!(%error, "waiting for sf-database"),
            outcome => return outcome,
        }
        shutdown.unless(tokio::time::sleep(pause)).await.ok_or(DaemonError::Interrupted)?;
        pause = (pause * 2).min(MAX_BACKOFF);
    }
}
