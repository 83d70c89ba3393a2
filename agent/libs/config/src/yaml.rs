//! The only place that knows the YAML library, so that it can be replaced.

use serde_yaml::Value;

use crate::builder::{Given, GivenMap};
use crate::error::Problem;
use crate::spec::{KeySpec, Kind};

/// The top-level keys of a configuration file, in order of the file, not yet typed.
pub(crate) struct Document {
    file: String,
    text: String,
    entries: Vec<(String, Value)>,
}

impl Document {
    /// Parses `text`. An empty document has no keys.
    pub(crate) fn parse(file: &str, text: &str) -> Result<Self, Problem> {
        let refuse = |message: String| Problem::new(file, "", message);
        let value: Value = serde_yaml::from_str(text).map_err(|e| refuse(format!("not valid YAML: {e}")))?;
        let mapping = match value {
            Value::Null => serde_yaml::Mapping::new(),
            Value::Mapping(mapping) => mapping,
            _ => return Err(refuse("must be a mapping of keys to values".to_owned())),
        };
        let mut entries = Vec::new();
        for (key, value) in mapping {
            let Value::String(key) = key else {
                return Err(refuse(format!("a key must be a word, not {}", describe(&key))));
            };
            entries.push((key, value));
        }
        Ok(Self { file: file.to_owned(), text: text.to_owned(), entries })
    }

    pub(crate) fn keys(&self) -> impl Iterator<Item = &str> {
        self.entries.iter().map(|(key, _)| key.as_str())
    }

    /// `file:line` of a key.
    pub(crate) fn origin(&self, key: &str) -> String {
        let starts =
            |line: &str| line.strip_prefix(key).is_some_and(|rest| rest.trim_start().starts_with(':'));
        match self.text.lines().position(|line| starts(line.trim_start_matches(['"', '\'']))) {
            Some(index) => format!("{}:{}", self.file, index + 1),
            None => self.file.clone(),
        }
    }

    /// Adds the value of `spec`, if the file has it, to `into`. A null means "not given".
    pub(crate) fn read(&self, spec: &KeySpec, into: &mut GivenMap) -> Result<(), Problem> {
        let Some((_, value)) = self.entries.iter().find(|(key, _)| key == spec.name) else { return Ok(()) };
        if value.is_null() {
            return Ok(());
        }
        let origin = self.origin(spec.name);
        match canonical_text(value, spec.kind) {
            Some(text) => {
                into.insert(spec.name.to_owned(), Given { origin, text });
                Ok(())
            }
            None => {
                let message = format!("must be written as {}, not {}", accepted(spec.kind), describe(value));
                Err(Problem::new(origin, spec.name, message))
            }
        }
    }
}

/// The text of a value that is spelled the way `kind` asks for.
fn canonical_text(value: &Value, kind: Kind) -> Option<String> {
    match (kind, value) {
        (Kind::Text | Kind::List, Value::String(text)) => Some(text.clone()),
        (Kind::Integer, Value::Number(n)) if !n.is_f64() => Some(n.to_string()),
        (Kind::Number, Value::Number(n)) => Some(n.to_string()),
        (Kind::Boolean, Value::Bool(b)) => Some(b.to_string()),
        (Kind::List, Value::Sequence(items)) => {
            items.iter().map(list_item).collect::<Option<Vec<_>>>().map(|items| items.join(","))
        }
        _ => None,
    }
}

fn list_item(value: &Value) -> Option<String> {
    match value {
        Value::String(text) if !text.contains(',') => Some(text.clone()),
        Value::Number(n) if !n.is_f64() => Some(n.to_string()),
        _ => None,
    }
}

fn accepted(kind: Kind) -> &'static str {
    match kind {
        Kind::Text => "text in quotes",
        Kind::Integer => "a whole number",
        Kind::Number => "a number",
        Kind::Boolean => "true or false",
        Kind::List => "a list of texts",
    }
}

fn describe(value: &Value) -> &'static str {
    match value {
        Value::Null => "nothing",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "text",
        Value::Sequence(_) => "a list",
        Value::Mapping(_) => "a mapping",
        Value::Tagged(_) => "a tagged value",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Strings that YAML readers like to mistake for numbers, booleans or nulls arrive unchanged when quoted.
    #[test]
    fn quoted_text_arrives_unchanged() {
        let spec = crate::find_key("node_fault_domain").unwrap();
        for text in [
            "1e3", "08", "0o17", "0x10", "1_000", "12:30", "on", "off", "~", "null", "", ".5", "+1",
            "1234e567", "a: b", "#x", "é",
        ] {
            let document = Document::parse("f", &format!("node_fault_domain: \"{text}\"\n")).unwrap();
            let mut given = GivenMap::new();
            document.read(spec, &mut given).unwrap();
            assert_eq!(given["node_fault_domain"].text, text);
        }
    }

    #[test]
    fn a_wrong_spelling_names_file_line_key_and_accepted_form() {
        let document = Document::parse("f.yaml", "# c\napi_port: \"13000\"\n").unwrap();
        let problem = document.read(crate::find_key("api_port").unwrap(), &mut GivenMap::new()).unwrap_err();
        assert_eq!(problem.to_string(), "f.yaml:2: api_port: must be written as a whole number, not text");
    }

    #[test]
    fn duplicate_keys_and_non_mappings_are_refused() {
        assert!(Document::parse("f", "a: 1\na: 2\n").is_err());
        assert!(Document::parse("f", "- a\n").is_err());
        assert_eq!(Document::parse("f", "").unwrap().keys().count(), 0);
    }
}
