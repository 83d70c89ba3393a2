//! Collects the fields of a tracing record as JSON.

use std::error::Error;
use std::fmt::Debug;

use serde_json::{Map, Value, json};
use sf_model::redact::redact_named;
use tracing::field::{Field, Visit};

/// The fields of one record, secrets already replaced.
#[derive(Debug, Clone, Default)]
pub(crate) struct Fields {
    pub(crate) values: Map<String, Value>,
    pub(crate) message: Option<String>,
    pub(crate) exception: Option<Exception>,
}

/// An error that was logged as such.
#[derive(Debug, Clone)]
pub(crate) struct Exception {
    pub(crate) class: String,
    pub(crate) chain: String,
}

/// A field of this name holds references, `<type>=<id> …`; each becomes a field of its own, named for the type.
const OBJECTS: &str = "objects";

impl Fields {
    fn put(&mut self, field: &Field, mut value: Value) {
        if field.name() == "message" {
            self.message = Some(value.as_str().map_or_else(|| value.to_string(), str::to_owned));
            return;
        }
        if let (OBJECTS, Some(objects)) = (field.name(), value.as_str()) {
            return self.put_objects(objects);
        }
        redact_named(field.name(), &mut value);
        self.values.insert(field.name().to_ascii_lowercase(), value);
    }

    fn put_objects(&mut self, objects: &str) {
        for (object_type, id) in objects.split(' ').filter_map(|reference| reference.split_once('=')) {
            let value = match self.values.get(object_type).and_then(Value::as_str) {
                Some(before) => format!("{before},{id}"),
                None => id.to_owned(),
            };
            self.values.insert(object_type.to_owned(), json!(value));
        }
    }
}

impl Visit for Fields {
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field, json!(value));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, json!(value));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, json!(value));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, json!(value));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, json!(value));
    }

    fn record_error(&mut self, field: &Field, value: &(dyn Error + 'static)) {
        self.exception = Some(Exception { class: class_of(value), chain: chain_of(value) });
        self.put(field, json!(value.to_string()));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.put(field, json!(format!("{value:?}")));
    }
}

/// The type name of an error as its `Debug` begins with it; a trait object has no other.
fn class_of(error: &(dyn Error + 'static)) -> String {
    let debug = format!("{error:?}");
    let end = debug.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(debug.len());
    let (name, _) = debug.split_at(end);
    if name.is_empty() { "Error".to_owned() } else { name.to_owned() }
}

fn chain_of(error: &(dyn Error + 'static)) -> String {
    let mut lines = vec![error.to_string()];
    let mut next = error.source();
    while let Some(source) = next {
        lines.push(format!("caused by: {source}"));
        next = source.source();
    }
    lines.join("\n")
}
