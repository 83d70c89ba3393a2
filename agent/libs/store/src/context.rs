//! What a transaction knows about its caller, and what it leaves to be done once it has committed.

use std::ops::Deref;
use std::sync::Arc;

use parking_lot::Mutex;
use prost_types::Timestamp;
use sf_config::ClusterConfig;
use sf_model::event::{
    EventType, MAX_FQDN, MAX_OBJECT_ID, MAX_OBJECTS, MAX_REQUEST_ID, fit_extra, fit_message,
};
use sf_model::text::cut;
use sf_model::{EventId, MutationId, NodeId, ObjectRef, OperationId};
use sf_protos::events::{Event, EventObject};

/// Cluster-scope values as of the last refresh, and who this gateway is.
#[derive(Debug)]
pub struct Settings {
    /// The cluster configuration.
    pub cluster: ClusterConfig,
    /// Name of the node the gateway runs on, the `fqdn` of events it writes.
    pub fqdn: String,
}

impl Deref for Settings {
    type Target = ClusterConfig;

    fn deref(&self) -> &ClusterConfig {
        &self.cluster
    }
}

/// Proof that a lock is held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fence {
    /// The lock.
    pub lock_name: String,
    /// The number its holder was given.
    pub fence: u64,
}

/// Waiters to be woken after commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Wake {
    /// Workers of a node: there may be work for it.
    Work(NodeId),
    /// The network daemon of a node: there may be something to render.
    Renders(NodeId),
    /// Whoever waits for an operation: its state changed.
    Operation(OperationId),
}

/// One call as the store sees it.
#[derive(Debug)]
pub struct TxContext {
    /// The same for every attempt of one logical call; none for reads and absolute writes.
    pub mutation_id: Option<MutationId>,
    /// The API request that caused it.
    pub request_id: Option<String>,
    /// W3C trace context.
    pub traceparent: Option<String>,
    /// Namespace of the user who caused it.
    pub namespace: Option<String>,
    /// Key of that user.
    pub key_name: Option<String>,
    /// Node of the calling daemon, when it said so.
    pub caller_node: Option<NodeId>,
    /// Calling daemon with its `sf-`, or `unknown`.
    pub caller_daemon: String,
    /// Verified before commit.
    pub fence: Option<Fence>,
    /// Configuration.
    pub settings: Arc<Settings>,
    after: Mutex<After>,
}

/// What accumulates during one attempt.
#[derive(Debug, Default)]
struct After {
    wakes: Vec<Wake>,
    events: Vec<Event>,
}

/// How much had been recorded at some moment of an attempt.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Recorded {
    wakes: usize,
    events: usize,
}

impl TxContext {
    /// A context without caller: for the gateway's own work and for tests. The gateway fills in the rest.
    pub fn internal(settings: Arc<Settings>, daemon: &str) -> Self {
        Self {
            mutation_id: None,
            request_id: None,
            traceparent: None,
            namespace: None,
            key_name: None,
            caller_node: None,
            caller_daemon: daemon.to_owned(),
            fence: None,
            settings,
            after: Mutex::default(),
        }
    }

    /// Wakes waiters once the transaction has committed.
    pub fn wake(&self, wake: Wake) {
        let mut after = self.after.lock();
        if !after.wakes.contains(&wake) {
            after.wakes.push(wake);
        }
    }

    /// Records an event in the transaction itself, so that change and record commit together.
    pub fn event(&self, event_type: EventType, message: impl Into<String>, objects: &[ObjectRef]) {
        self.event_with(event_type, message, objects, None);
    }

    /// As [`TxContext::event`] with a JSON object of details. Made to fit, as every emitter does: what comes from outside,
    /// such as an address, must not make the mutation itself impossible.
    pub fn event_with(
        &self,
        event_type: EventType,
        message: impl Into<String>,
        objects: &[ObjectRef],
        extra: Option<&serde_json::Value>,
    ) {
        let now = chrono::Utc::now();
        let event = Event {
            event_uuid: EventId::ordered().to_string(),
            event_type: event_type.to_string(),
            timestamp: Some(Timestamp {
                seconds: now.timestamp(),
                nanos: i32::try_from(now.timestamp_subsec_nanos()).unwrap_or(0),
            }),
            fqdn: cut(&self.settings.fqdn, MAX_FQDN).to_owned(),
            daemon: "sf-database".to_owned(),
            duration: None,
            message: fit_message(&message.into()),
            extra_json: extra.cloned().map(fit_extra),
            request_id: self.request_id.as_deref().map(|id| cut(id, MAX_REQUEST_ID).to_owned()),
            trace_id: self.trace_id(),
            objects: objects
                .iter()
                .take(MAX_OBJECTS)
                .map(|o| EventObject {
                    object_type: o.object_type.clone(),
                    object_id: cut(&o.object_id, MAX_OBJECT_ID).to_owned(),
                })
                .collect(),
        };
        self.after.lock().events.push(event);
    }

    /// The trace id of `traceparent`.
    pub fn trace_id(&self) -> Option<String> {
        let id = self.traceparent.as_deref()?.split('-').nth(1)?;
        (id.len() == 32).then(|| id.to_owned())
    }

    /// Starts an attempt with nothing left over from the one before.
    pub fn begin_attempt(&self) {
        *self.after.lock() = After::default();
    }

    /// How much this attempt has recorded so far.
    pub(crate) fn recorded(&self) -> Recorded {
        let after = self.after.lock();
        Recorded { wakes: after.wakes.len(), events: after.events.len() }
    }

    /// Takes back what was recorded since: it was rolled back to there.
    pub(crate) fn forget_since(&self, then: Recorded) {
        let mut after = self.after.lock();
        after.wakes.truncate(then.wakes);
        after.events.truncate(then.events);
    }

    /// The events of this attempt, for its last insert.
    pub fn take_events(&self) -> Vec<Event> {
        std::mem::take(&mut self.after.lock().events)
    }

    /// The wake-ups of the attempt that committed.
    pub fn take_wakes(&self) -> Vec<Wake> {
        std::mem::take(&mut self.after.lock().wakes)
    }
}
