//! Writes records in the field contract: an operator's queries depend on these names.

use std::io::Write;
use std::process;
use std::thread;
use std::time::Instant;

use chrono::{SecondsFormat, Utc};
use parking_lot::Mutex;
use serde_json::{Map, Value, json};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::{Context, Layer};
use tracing_subscriber::registry::LookupSpan;

use super::fields::Fields;
use super::rate::RateLimit;
use crate::context::{self, TraceParent};

/// Target prefix of the crates of daemons, from which a line's program is told in a process with several.
const DAEMON_TARGET: &str = "sf_daemon_";

/// Formats every record as one JSON object per line.
pub struct JsonLayer<W> {
    program: String,
    writer: W,
    rate: Mutex<RateLimit>,
}

impl<W> JsonLayer<W> {
    /// A layer for `program` that writes to `writer`.
    pub fn new(program: &str, writer: W) -> Self {
        Self { program: program.to_owned(), writer, rate: Mutex::default() }
    }
}

impl<S, W> Layer<S> for JsonLayer<W>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    W: for<'a> MakeWriter<'a> + 'static,
{
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, ctx: Context<'_, S>) {
        let mut fields = Fields::default();
        attributes.record(&mut fields);
        if let Some(span) = ctx.span(id) {
            span.extensions_mut().insert(fields);
        }
    }

    fn on_record(&self, id: &Id, record: &Record<'_>, ctx: Context<'_, S>) {
        if let Some(span) = ctx.span(id)
            && let Some(fields) = span.extensions_mut().get_mut::<Fields>()
        {
            record.record(fields);
        }
    }

    fn on_event(&self, event: &Event<'_>, ctx: Context<'_, S>) {
        let metadata = event.metadata();
        let Some(suppressed) = self.rate.lock().admit(metadata.callsite(), Instant::now()) else { return };
        let mut line = Map::new();
        let mut function = None;
        // Outermost first, so that an inner span and the record itself win.
        for span in ctx.event_scope(event).into_iter().flat_map(|scope| scope.from_root()) {
            function = Some(span.name().to_owned());
            if let Some(fields) = span.extensions().get::<Fields>() {
                line.extend(fields.values.clone());
            }
        }
        let mut fields = Fields::default();
        event.record(&mut fields);
        line.extend(std::mem::take(&mut fields.values));
        if suppressed > 0 {
            line.insert("suppressed".to_owned(), json!(suppressed));
        }
        self.contract(metadata, function, fields, &mut line);
        let mut bytes = Value::Object(line).to_string().into_bytes();
        bytes.push(b'\n');
        // A full pipe or a closed stderr must not end the daemon.
        let _ = self.writer.make_writer_for(metadata).write_all(&bytes);
    }
}

impl<W> JsonLayer<W> {
    /// Adds the fields that every line has.
    fn contract(
        &self,
        metadata: &Metadata<'_>,
        function: Option<String>,
        fields: Fields,
        line: &mut Map<String, Value>,
    ) {
        let context = context::current();
        let trace = context.traceparent.and_then(|text| text.parse::<TraceParent>().ok());
        let (class, chain) = fields.exception.map(|e| (e.class, e.chain)).unzip();
        let contract = [
            ("ts", json!(Utc::now().to_rfc3339_opts(SecondsFormat::Millis, true))),
            ("level", json!(level(*metadata.level()))),
            ("logger_name", json!(metadata.target())),
            ("module", json!(metadata.module_path())),
            ("function", json!(function)),
            ("pid", json!(process::id())),
            ("thread_name", json!(thread::current().name())),
            ("program", json!(self.program_of(metadata.target()))),
            ("message", json!(fields.message.unwrap_or_default())),
            ("exception_class", json!(class)),
            ("stack_trace", json!(chain)),
        ];
        line.extend(contract.map(|(name, value)| (name.to_owned(), value)));
        let mut optional = |name: &str, value: Option<&str>| {
            if let Some(value) = value {
                line.insert(name.to_owned(), json!(value));
            }
        };
        optional("request-id", context.request_id.as_deref());
        optional("trace_id", trace.as_ref().map(TraceParent::trace_id));
        optional("span_id", trace.as_ref().map(TraceParent::span_id));
    }

    fn program_of(&self, target: &str) -> String {
        match target.strip_prefix(DAEMON_TARGET) {
            Some(rest) => format!("sf-{}", rest.split("::").next().unwrap_or(rest).replace('_', "-")),
            None => self.program.clone(),
        }
    }
}

fn level(level: Level) -> &'static str {
    match level {
        Level::ERROR => "ERROR",
        Level::WARN => "WARNING",
        Level::INFO => "INFO",
        _ => "DEBUG",
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tracing_subscriber::layer::SubscriberExt;

    use super::*;
    use crate::context::RequestContext;

    #[derive(Clone, Default)]
    struct Buffer(Arc<Mutex<Vec<u8>>>);

    impl Write for Buffer {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    fn lines(work: impl FnOnce()) -> Vec<Map<String, Value>> {
        let buffer = Buffer::default();
        let writer = buffer.clone();
        let subscriber =
            tracing_subscriber::registry().with(JsonLayer::new("sf-test", move || writer.clone()));
        tracing::subscriber::with_default(subscriber, work);
        let text = String::from_utf8(buffer.0.lock().clone()).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    #[test]
    fn the_field_contract_holds() {
        let mut lines = lines(|| {
            let span = tracing::info_span!("op create", instance = "i-1", password = "p");
            let _entered = span.enter();
            let error = std::io::Error::other("disk gone");
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                auth_token = "t",
                count = 3,
                "it failed"
            );
        });
        let line = lines.remove(0);
        let text = |name: &str| line[name].as_str().unwrap().to_owned();
        assert_eq!(text("level"), "WARNING");
        assert_eq!(text("message"), "it failed");
        assert_eq!(text("function"), "op create");
        assert_eq!(text("program"), "sf-test");
        assert_eq!(text("exception_class"), "Custom");
        assert_eq!(text("stack_trace"), "disk gone");
        assert_eq!(text("instance"), "i-1");
        assert_eq!((text("password"), text("auth_token")), ("<redacted>".into(), "<redacted>".into()));
        assert_eq!(line["count"], 3);
        assert!(text("ts").ends_with('Z') && text("ts").len() == "2026-01-01T00:00:00.000Z".len());
        for name in ["logger_name", "module", "pid", "thread_name"] {
            assert!(line.contains_key(name), "{name}");
        }
    }

    #[tokio::test]
    async fn ids_of_the_request_are_on_the_line() {
        let context = RequestContext::new(Some("req-1".into()), None);
        let line =
            context::scope(context.clone(), async { lines(|| tracing::info!("hello")) }).await.remove(0);
        assert_eq!(line["request-id"], "req-1");
        assert_eq!(line["trace_id"].as_str(), context.trace_id.as_deref());
    }

    #[test]
    fn a_flood_is_sampled_and_counted() {
        let lines = lines(|| (0..5000).for_each(|_| tracing::info!("again")));
        assert!(lines.len() < 5000);
    }

    #[test]
    fn a_daemon_is_told_by_its_crate() {
        let layer = JsonLayer::new("sf-standalone", std::io::stderr);
        assert_eq!(layer.program_of("sf_daemon_net_privexec::helper"), "sf-net-privexec");
        assert_eq!(layer.program_of("sf_gateway"), "sf-standalone");
    }
}
