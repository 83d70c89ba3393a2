//! What the process of a daemon has before it knows the cluster.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;
use sf_config::NodeConfig;
use sf_events::{BatchSink, Drainer, Recorder, Spool, SpoolFigures, SpoolOptions};
use sf_model::DaemonName;
use sf_runtime::{Liveness, Metrics, Shutdown, StatusLine};
use tokio::task::JoinHandle;

use crate::error::DaemonError;
use crate::identity::NodeIdentity;

/// The foundation of a process, shared by all daemons that it runs. Cheap to clone.
#[derive(Clone)]
pub struct Host {
    /// Keys of this node.
    pub config: Arc<NodeConfig>,
    /// Which node this is.
    pub node: NodeIdentity,
    /// Asks the daemons to end.
    pub shutdown: Shutdown,
    /// Loops of the process.
    pub liveness: Liveness,
    /// The recorder of the process.
    pub metrics: Metrics,
    /// The status board of the process.
    pub status: StatusLine,
    /// Every daemon of this node, as far as this process knows; empty when it knows only itself.
    pub daemons: Arc<[DaemonName]>,
    events: Arc<Events>,
}

/// The spools of the process: one for each daemon that it runs, whether that is one or all of a node.
struct Events {
    outlets: Mutex<BTreeMap<DaemonName, Outlet>>,
    figures: SpoolFigures,
    /// The drainers outlive the daemons: what they record while they end is delivered too.
    ending: Shutdown,
}

/// The way of one daemon's events out of the process.
struct Outlet {
    spool: Spool,
    drainer: Option<JoinHandle<()>>,
}

impl Host {
    /// A process called `sf-<name>`.
    ///
    /// # Errors
    /// The identity of the node cannot be used.
    pub fn new(
        config: Arc<NodeConfig>,
        name: &str,
        shutdown: Shutdown,
        metrics: Metrics,
        daemons: &[DaemonName],
    ) -> Result<Self, DaemonError> {
        let node = NodeIdentity::load(&config)?;
        let events = Events {
            outlets: Mutex::default(),
            figures: SpoolFigures::default(),
            ending: Shutdown::new(shutdown.drain_left()),
        };
        Ok(Self {
            config,
            node,
            shutdown,
            liveness: Liveness::new(),
            metrics,
            status: StatusLine::new(format!("sf-{name}")),
            daemons: daemons.into(),
            events: Arc::new(events),
        })
    }

    /// The recorder of a daemon of this process. Its spool is opened by the first call and kept open to the end.
    ///
    /// # Errors
    /// The spool cannot be used; another process may be running in this one's place.
    pub fn recorder(&self, daemon: DaemonName) -> Result<Recorder, DaemonError> {
        let spool = self.events.with_outlet(&self.config, daemon, |outlet| outlet.spool.clone())?;
        Ok(Recorder::new(spool, &self.node.name, &daemon.program()))
    }

    /// The same process with another shutdown, for a daemon that has to end before or after the others.
    pub fn with_shutdown(&self, shutdown: Shutdown) -> Self {
        Self { shutdown, ..self.clone() }
    }

    /// Starts delivering what a daemon recorded to `sink`. The first call decides; later ones do nothing.
    ///
    /// # Errors
    /// As [`Host::recorder`].
    pub fn start_drainer(&self, daemon: DaemonName, sink: Arc<dyn BatchSink>) -> Result<(), DaemonError> {
        self.events.with_outlet(&self.config, daemon, |outlet| {
            outlet.drainer.get_or_insert_with(|| {
                let work = Drainer::new(outlet.spool.clone(), sink);
                tokio::spawn(work.run(self.events.ending.clone(), self.liveness.clone()))
            });
        })
    }

    /// Serves the Prometheus endpoint of a daemon, if it has one, and declares what every daemon exposes.
    ///
    /// # Errors
    /// The port cannot be used.
    pub async fn serve_metrics(&self, daemon: DaemonName) -> Result<(), DaemonError> {
        Metrics::announce(&daemon.program(), env!("CARGO_PKG_VERSION"));
        if let Some(port) = self.config.metrics_port(&daemon.to_string()) {
            self.metrics.serve(self.config.metrics_bind, port, &self.shutdown).await?;
        }
        Ok(())
    }

    /// Delivers what still can be delivered, for at most ten seconds, and closes the spools. To be called when the
    /// daemons have ended.
    pub async fn finish(&self) {
        self.events.ending.request();
        let outlets = std::mem::take(&mut *self.events.outlets.lock());
        // The drainers end side by side, and each bounds itself.
        for outlet in outlets.into_values() {
            if let Some(drainer) = outlet.drainer {
                let _ = drainer.await;
            }
            outlet.spool.close().await;
        }
    }
}

impl Events {
    fn with_outlet<T>(
        &self,
        config: &NodeConfig,
        daemon: DaemonName,
        work: impl FnOnce(&mut Outlet) -> T,
    ) -> Result<T, DaemonError> {
        let mut outlets = self.outlets.lock();
        if let Some(outlet) = outlets.get_mut(&daemon) {
            return Ok(work(outlet));
        }
        let spool = Spool::open_among(SpoolOptions::for_daemon(config, &daemon.to_string()), &self.figures)?;
        Ok(work(outlets.entry(daemon).or_insert(Outlet { spool, drainer: None })))
    }
}
