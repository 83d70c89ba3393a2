//! Who calls: told with every request, and the origin of every change.

use http::HeaderValue;
use sf_protos::common::MutationContext;
use sf_runtime::context::{self, TraceParent};
use tonic::metadata::{Ascii, MetadataMap, MetadataValue};
use tonic::service::Interceptor;
use tonic::{Request, Status};
use uuid::Uuid;

/// The daemon that makes calls.
#[derive(Debug, Clone)]
pub struct Caller {
    /// Without `sf-`: `api`, `queues`, …; `ctl` for the command line.
    pub daemon: String,
    /// UUID of the node.
    pub node: String,
    /// Release of the agent.
    pub version: String,
}

impl Caller {
    /// A new mutation context, caused by the current request. Every attempt of one logical call carries the same one.
    pub fn mutation(&self) -> MutationContext {
        let current = context::current();
        MutationContext {
            mutation_id: Uuid::now_v7().to_string(),
            request_id: current.request_id,
            namespace: current.namespace,
            key_name: current.key_name,
            caller_node: self.node.clone(),
            caller_daemon: self.daemon.clone(),
            traceparent: current.traceparent,
            fence: None,
            events: Vec::new(),
        }
    }

    /// Adds who calls and for whom to the headers of a request. The trace goes on in a span of its own.
    pub(crate) fn write(&self, metadata: &mut MetadataMap) {
        let current = context::current();
        let span =
            current.traceparent.and_then(|text| text.parse::<TraceParent>().ok()).map(|trace| trace.child());
        let values = [
            ("caller-daemon", Some(self.daemon.clone())),
            ("caller-node", Some(self.node.clone())),
            ("caller-version", Some(self.version.clone())),
            ("x-request-id", current.request_id),
            ("traceparent", span.map(|s| s.to_string())),
        ];
        for (name, value) in values {
            if let Some(value) = value.and_then(|text| ascii(&text)) {
                metadata.insert(name, value);
            }
        }
    }
}

/// Calls to services of other daemons tell the same about their caller as calls to the tier.
impl Interceptor for Caller {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        self.write(request.metadata_mut());
        Ok(request)
    }
}

/// A header value; names with other characters are sent without them rather than not at all.
fn ascii(text: &str) -> Option<MetadataValue<Ascii>> {
    let plain: String = text.chars().map(|c| if c.is_ascii_graphic() { c } else { '?' }).collect();
    MetadataValue::try_from(HeaderValue::from_str(&plain).ok()?.as_bytes()).ok()
}
