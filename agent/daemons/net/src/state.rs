//! What the loops of the daemon share.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize};

use parking_lot::Mutex;
use sf_daemon::{DaemonContext, Peers};
use sf_model::NetworkId;
use sf_protos::net_privexec::{HostIntent, NetworkIntent};
use tokio::sync::Mutex as AsyncMutex;

use crate::condition::Conditions;
use crate::privexec::Privexec;
use crate::service::Plane;

/// Shared state. Cheap to clone.
#[derive(Clone)]
pub(crate) struct State {
    pub(crate) context: DaemonContext,
    pub(crate) privexec: Privexec,
    pub(crate) plane: Plane,
    pub(crate) peers: Peers,
    pub(crate) shared: Arc<Shared>,
}

/// What only exists once.
#[derive(Default)]
pub(crate) struct Shared {
    /// The last host intent, for renders while the database is away.
    pub(crate) host: Mutex<Option<HostIntent>>,
    /// The host was rendered and may carry networks.
    pub(crate) may_carry: AtomicBool,
    /// Conditions of the node, reported on change.
    pub(crate) conditions: Conditions,
    /// The last intent of each network, valid as long as the database names the same generation.
    pub(crate) intents: Mutex<HashMap<NetworkId, NetworkIntent>>,
    /// Renders of claims that are waiting or running.
    pub(crate) queued: AtomicUsize,
    /// One render per network at a time, also between claims and the reconcile pass.
    pub(crate) busy: Mutex<HashMap<NetworkId, Arc<AsyncMutex<()>>>>,
}

impl State {
    pub(crate) fn new(context: DaemonContext) -> Self {
        let privexec = Privexec::new(&context.config.net_privexec_socket);
        let plane = Plane::new(privexec.clone(), context.events.clone());
        let peers = context.peers();
        Self { context, privexec, plane, peers, shared: Arc::default() }
    }

    /// The identity of the node as it stands in messages.
    pub(crate) fn node_uuid(&self) -> String {
        self.context.node.uuid.to_string()
    }

    /// The turn of a network: hold the lock while rendering it.
    pub(crate) fn turn(&self, network: NetworkId) -> Arc<AsyncMutex<()>> {
        let mut busy = self.shared.busy.lock();
        if busy.len() > 4_096 {
            busy.retain(|_, turn| Arc::strong_count(turn) > 1);
        }
        Arc::clone(busy.entry(network).or_default())
    }
}
