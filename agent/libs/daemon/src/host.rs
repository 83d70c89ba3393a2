//! What the process of a daemon has before it knows the cluster.

use std::sync::Arc;

use parking_lot::Mutex;
use sf_config::NodeConfig;
use sf_events::{BatchSink, Drainer, Recorder, Spool, SpoolOptions};
use sf_model::{DaemonName, IncarnationId};
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
    /// One per process start.
    pub incarnation: IncarnationId,
    /// Every daemon of this node, as far as this process knows; empty when it knows only itself.
    pub daemons: Arc<[DaemonName]>,
    events: Arc<Events>,
}

/// The spool of the process. Several daemons of one process share one: there is one writer and one drainer.
struct Events {
    spool: Spool,
    /// The drainer outlives the daemons: what they record while they end is delivered too.
    ending: Shutdown,
    drainer: Mutex<Option<JoinHandle<()>>>,
}

impl Host {
    /// Opens the spool `name` and puts the rest together.
    ///
    /// # Errors
    /// The identity or the spool cannot be used; another process may be running in this one's place.
    pub fn new(
        config: Arc<NodeConfig>,
        name: &str,
        shutdown: Shutdown,
        metrics: Metrics,
        daemons: &[DaemonName],
    ) -> Result<Self, DaemonError> {
        let node = NodeIdentity::load(&config)?;
        let spool = Spool::open(SpoolOptions::for_daemon(&config, name))?;
        let events =
            Events { spool, ending: Shutdown::new(shutdown.drain_left()), drainer: Mutex::new(None) };
        Ok(Self {
            config,
            node,
            shutdown,
            liveness: Liveness::new(),
            metrics,
            status: StatusLine::new(format!("sf-{name}")),
            incarnation: IncarnationId::random(),
            daemons: daemons.into(),
            events: Arc::new(events),
        })
    }

    /// The recorder of a daemon of this process.
    pub fn recorder(&self, daemon: DaemonName) -> Recorder {
        Recorder::new(self.events.spool.clone(), &self.node.name, &daemon.program())
    }

    /// The same process with another shutdown, for a daemon that has to end before or after the others.
    pub fn with_shutdown(&self, shutdown: Shutdown) -> Self {
        Self { shutdown, ..self.clone() }
    }

    /// Starts delivering recorded events to `sink`. The first call decides; later ones do nothing.
    pub fn start_drainer(&self, sink: Arc<dyn BatchSink>) {
        let mut drainer = self.events.drainer.lock();
        if drainer.is_none() {
            let work = Drainer::new(self.events.spool.clone(), sink);
            *drainer = Some(tokio::spawn(work.run(self.events.ending.clone(), self.liveness.clone())));
        }
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

    /// Delivers what still can be delivered, for at most ten seconds, and closes the spool. To be called when the
    /// daemons have ended.
    pub async fn finish(&self) {
        self.events.ending.request();
        let drainer = self.events.drainer.lock().take();
        if let Some(drainer) = drainer {
            // It bounds itself.
            let _ = drainer.await;
        }
        self.events.spool.close().await;
    }
}
