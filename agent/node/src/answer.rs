//! What a command says: one JSON object for automation, or text for people.

use std::io::{self, Write};
use std::process::ExitCode;

use comfy_table::{ContentArrangement, Table, presets};
use serde_json::{Map, Value, json};

use crate::failure::Failure;

/// The result of a command.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    /// Fields of the JSON object; `changed` is added.
    pub(crate) fields: Map<String, Value>,
    /// What people read.
    pub(crate) text: String,
    /// Whether the command changed anything.
    pub(crate) changed: bool,
}

impl Answer {
    /// An answer that changed nothing. `value` must be an object; anything else becomes `result`.
    pub(crate) fn new(value: Value, text: impl Into<String>) -> Self {
        let fields = match value {
            Value::Object(fields) => fields,
            other => Map::from_iter([("result".to_owned(), other)]),
        };
        Self { fields, text: text.into(), changed: false }
    }

    /// Adds a field.
    pub(crate) fn with(mut self, name: &str, value: Value) -> Self {
        self.fields.insert(name.to_owned(), value);
        self
    }

    /// Sets whether the command changed anything.
    pub(crate) fn changed(mut self, changed: bool) -> Self {
        self.changed = changed;
        self
    }
}

/// Outcome of a command that prints at its end; `None` for daemons, which print nothing.
pub(crate) type Outcome = Result<Option<Answer>, Failure>;

/// Prints the outcome and turns it into the exit code.
pub(crate) fn finish(outcome: Outcome, as_json: bool) -> ExitCode {
    match outcome {
        Ok(None) => ExitCode::SUCCESS,
        Ok(Some(answer)) => {
            let text = if as_json { object(answer.fields, answer.changed) } else { answer.text };
            print(&text);
            ExitCode::SUCCESS
        }
        Err(failure) => {
            if as_json {
                let mut fields = failure.fields;
                fields.insert("error".to_owned(), json!(format!("{:#}", failure.error)));
                fields.insert("exit".to_owned(), json!(failure.exit));
                print(&object(fields, failure.changed));
            }
            let _ = writeln!(io::stderr(), "error: {:#}", failure.error);
            ExitCode::from(failure.exit)
        }
    }
}

/// A table without frame for people.
pub(crate) fn table(header: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let mut table = Table::new();
    table
        .load_style(presets::NOTHING)
        .set_content_arrangement(ContentArrangement::Disabled)
        .set_header(header);
    for row in rows {
        table.add_row(row);
    }
    table.lines().map(|line| line.trim_end().to_owned()).collect::<Vec<_>>().join("\n")
}

fn object(mut fields: Map<String, Value>, changed: bool) -> String {
    fields.insert("changed".to_owned(), json!(changed));
    Value::Object(fields).to_string()
}

/// A reader that went away is not an error worth reporting.
fn print(text: &str) {
    let text = text.trim_end();
    if !text.is_empty() {
        let _ = writeln!(io::stdout(), "{text}");
    }
}
