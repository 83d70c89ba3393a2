//! The worker: owns the sockets, renders one thing of a network at a time, and remembers what it applied.

use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use parking_lot::{Mutex, MutexGuard, RwLock};
use sf_model::{ClusterId, NetworkId};
use sf_netstate::NetError;
use sf_netstate::intent::{HostIntent, NetworkIntent};
use sf_netstate::render::host::{Host, render_host};
use sf_netstate::render::{Report, Sockets, render};

use crate::announcer::Announcer;
use crate::persist::Applied;
use crate::service::ServiceSockets;
use crate::spaces::Spaces;

/// Locks that networks share by hash: enough that two networks rarely wait for each other.
const SHARDS: usize = 64;

/// Everything calls work on.
pub(crate) struct Worker {
    pub(crate) spaces: Arc<Spaces>,
    pub(crate) applied: Applied,
    pub(crate) services: ServiceSockets,
    pub(crate) announcer: Announcer,
    host: RwLock<Option<Arc<Host>>>,
    rendering_host: Mutex<()>,
    shards: Vec<Mutex<()>>,
    idle: Mutex<Vec<Sockets>>,
}

impl Worker {
    pub(crate) fn new(spaces: Arc<Spaces>, applied: Applied, announcer: Announcer) -> Self {
        Self {
            services: ServiceSockets::new(Arc::clone(&spaces)),
            spaces,
            applied,
            announcer,
            host: RwLock::new(None),
            rendering_host: Mutex::new(()),
            shards: (0..SHARDS).map(|_| Mutex::new(())).collect(),
            idle: Mutex::new(Vec::new()),
        }
    }

    /// The host as last rendered.
    pub(crate) fn host(&self) -> Result<Arc<Host>, NetError> {
        self.host.read().clone().ok_or(NetError::HostNotRendered)
    }

    /// The cluster whose networks are rendered here, once its host is.
    pub(crate) fn cluster(&self) -> Option<ClusterId> {
        self.host.read().as_ref().map(|host| host.intent.cluster)
    }

    /// Renders the host.
    pub(crate) fn render_host(&self, intent: &HostIntent) -> Result<Arc<Host>, NetError> {
        let _alone = self.rendering_host.lock();
        if let Some(egress) = &intent.egress {
            self.applied.pin_floating(egress.floating_network)?;
        }
        let host = Arc::new(self.with_root(|root| render_host(root, intent))?);
        *self.host.write() = Some(Arc::clone(&host));
        Ok(host)
    }

    /// Renders a network. When the host's own state was disturbed, that is repaired first and the render tried again.
    pub(crate) fn render(&self, intent: &NetworkIntent) -> Result<Report, NetError> {
        let _alone = self.network(intent.network);
        self.applied.check(intent)?;
        let host = self.host()?;
        if !intent.present || intent.carrier.is_none() {
            // Open sockets would keep a namespace alive beyond its deletion.
            self.services.close(intent.network);
        }
        let report = match self.with_root(|root| render(root, &*self.spaces, &host, intent)) {
            Err(NetError::HostNotRendered | NetError::Kernel(_)) => {
                let host = self.render_host(&host.intent.clone())?;
                self.with_root(|root| render(root, &*self.spaces, &host, intent))?
            }
            outcome => outcome?,
        };
        self.applied.record(intent);
        Ok(report)
    }

    /// Holds off every other change of the network.
    pub(crate) fn network(&self, network: NetworkId) -> MutexGuard<'_, ()> {
        static FALLBACK: Mutex<()> = Mutex::new(());
        let mut hasher = DefaultHasher::new();
        network.hash(&mut hasher);
        let index = usize::try_from(hasher.finish() % SHARDS as u64).unwrap_or(0);
        self.shards.get(index).unwrap_or(&FALLBACK).lock()
    }

    /// Runs `work` with sockets of the root namespace; every concurrent call has its own.
    pub(crate) fn with_root<T>(
        &self,
        work: impl FnOnce(&mut Sockets) -> Result<T, NetError>,
    ) -> Result<T, NetError> {
        let idle = self.idle.lock().pop();
        let mut sockets = match idle {
            Some(sockets) => sockets,
            None => Sockets::open()?,
        };
        let outcome = work(&mut sockets);
        // After a transport error the socket may still hold answers of the failed call.
        if !matches!(outcome, Err(NetError::Io { .. } | NetError::Decode { .. })) {
            self.idle.lock().push(sockets);
        }
        outcome
    }
}
