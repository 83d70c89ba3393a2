//! The request that is being served, carried beside the code: request id, W3C trace context, caller.
//!
//! `sf-api` opens a scope per request, workers open one per operation from the stored ids, and gateway calls, events and
//! log lines read it. A spawned task does not inherit it: use [`scope`] again with [`current`].

use std::fmt;
use std::future::Future;
use std::str::FromStr;

use rand::RngCore;
use sf_model::event::MAX_REQUEST_ID;

/// Who caused the present work, and the trace it belongs to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RequestContext {
    /// The API request, `[A-Za-z0-9._-]{1,64}`.
    pub request_id: Option<String>,
    /// W3C trace context as sent on, `00-<trace>-<span>-<flags>`.
    pub traceparent: Option<String>,
    /// The trace id of `traceparent`: 32 hexadecimal digits.
    pub trace_id: Option<String>,
    /// Namespace of the caller.
    pub namespace: Option<String>,
    /// Name of the key the caller used.
    pub key_name: Option<String>,
}

impl RequestContext {
    /// A context with these ids. An ill-formed `traceparent` starts a new trace, as W3C asks for.
    pub fn new(request_id: Option<String>, traceparent: Option<&str>) -> Self {
        let trace =
            traceparent.and_then(|text| text.parse::<TraceParent>().ok()).unwrap_or_else(TraceParent::start);
        Self { request_id, ..Self::default() }.with_trace(&trace)
    }

    /// The same caller in this trace.
    pub fn with_trace(mut self, trace: &TraceParent) -> Self {
        self.traceparent = Some(trace.to_string());
        self.trace_id = Some(trace.trace_id().to_owned());
        self
    }

    /// The same request with its caller.
    pub fn with_caller(mut self, namespace: impl Into<String>, key_name: Option<String>) -> Self {
        self.namespace = Some(namespace.into());
        self.key_name = key_name;
        self
    }
}

tokio::task_local! {
    static CURRENT: RequestContext;
}

/// Runs `work` with `context` as the current one.
pub async fn scope<F: Future>(context: RequestContext, work: F) -> F::Output {
    CURRENT.scope(context, work).await
}

/// The current context; empty outside of any scope.
pub fn current() -> RequestContext {
    CURRENT.try_with(Clone::clone).unwrap_or_default()
}

/// Whether a request id from outside may be used as it is.
pub fn is_request_id(text: &str) -> bool {
    (1..=MAX_REQUEST_ID).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
}

/// A W3C `traceparent` of version 00.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TraceParent {
    trace_id: String,
    span_id: String,
    sampled: bool,
}

impl TraceParent {
    /// A new trace, sampled.
    pub fn start() -> Self {
        let mut bytes = [0_u8; 16];
        rand::rng().fill_bytes(&mut bytes);
        Self { trace_id: hex(&bytes), span_id: new_span(), sampled: true }
    }

    /// A new span of the same trace.
    pub fn child(&self) -> Self {
        Self { span_id: new_span(), ..self.clone() }
    }

    /// 32 hexadecimal digits.
    pub fn trace_id(&self) -> &str {
        &self.trace_id
    }

    /// 16 hexadecimal digits.
    pub fn span_id(&self) -> &str {
        &self.span_id
    }
}

impl fmt::Display for TraceParent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "00-{}-{}-{:02x}", self.trace_id, self.span_id, u8::from(self.sampled))
    }
}

impl FromStr for TraceParent {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let parts: Vec<&str> = text.trim().split('-').collect();
        let [version, trace, span, flags, rest @ ..] = parts.as_slice() else { return Err(()) };
        let well_formed = is_hex(version, 2) && is_hex(trace, 32) && is_hex(span, 16) && is_hex(flags, 2);
        let zero = |id: &str| id.bytes().all(|b| b == b'0');
        // Later versions may append fields; version 00 may not, and ff is forbidden.
        let version_fits = *version != "ff" && (*version != "00" || rest.is_empty());
        if !well_formed || zero(trace) || zero(span) || !version_fits {
            return Err(());
        }
        let flags = u8::from_str_radix(flags, 16).map_err(|_| ())?;
        Ok(Self { trace_id: (*trace).to_owned(), span_id: (*span).to_owned(), sampled: flags & 1 == 1 })
    }
}

fn is_hex(text: &str, length: usize) -> bool {
    text.len() == length && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

fn new_span() -> String {
    let mut bytes = [0_u8; 8];
    rand::rng().fill_bytes(&mut bytes);
    hex(&bytes)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn traceparents_are_checked() {
        let good = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let parsed: TraceParent = good.parse().unwrap();
        assert_eq!(parsed.to_string(), good);
        assert_eq!(parsed.child().trace_id(), parsed.trace_id());
        assert_ne!(parsed.child().span_id(), parsed.span_id());
        for bad in [
            "",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4BF92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-extra",
        ] {
            assert!(bad.parse::<TraceParent>().is_err(), "{bad}");
        }
    }

    #[tokio::test]
    async fn the_context_is_seen_inside_its_scope_only() {
        let context = RequestContext::new(Some("r1".into()), None).with_caller("ns", None);
        let seen = scope(context.clone(), async { current() }).await;
        assert_eq!(seen, context);
        assert_eq!(seen.trace_id.unwrap().len(), 32);
        assert_eq!(current(), RequestContext::default());
    }

    #[test]
    fn request_ids_from_outside_are_plain() {
        assert!(is_request_id("a.B-9_z"));
        assert!(!is_request_id("") && !is_request_id("a b") && !is_request_id(&"x".repeat(65)));
    }
}
