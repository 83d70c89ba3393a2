//! Turns given texts into a typed table, collecting every problem.

use std::collections::BTreeMap;

use crate::error::Problem;
use crate::spec::KeySpec;
use crate::value::ConfigValue;

/// A text given for a key, and where.
#[derive(Debug, Clone)]
pub(crate) struct Given {
    pub(crate) origin: String,
    pub(crate) text: String,
}

/// Texts given for the keys of one table.
pub(crate) type GivenMap = BTreeMap<String, Given>;

/// Reads keys in declared order; a default may refer to an earlier key as `{key}`.
pub(crate) struct Builder<'a> {
    keys: &'static [KeySpec],
    given: &'a GivenMap,
    settled: BTreeMap<&'static str, String>,
    problems: Vec<Problem>,
}

impl<'a> Builder<'a> {
    pub(crate) fn new(
        keys: &'static [KeySpec],
        given: &'a GivenMap,
        preset: &[(&'static str, String)],
    ) -> Self {
        Self { keys, given, settled: preset.iter().cloned().collect(), problems: Vec::new() }
    }

    /// The value of `name`; `None` leaves a problem behind, unless it only follows from an earlier one.
    pub(crate) fn take<T: ConfigValue>(&mut self, name: &'static str) -> Option<T> {
        let spec = self.keys.iter().find(|k| k.name == name)?;
        let (origin, text) = match self.given.get(name) {
            Some(given) => (given.origin.clone(), given.text.clone()),
            None => ("default".to_owned(), self.expand(spec.default)?),
        };
        if text.is_empty() && !T::OPTIONAL {
            self.problems.push(Problem::new("", name, format!("is required: {}", spec.help.trim())));
            return None;
        }
        let parsed = T::parse(&text).and_then(|v| spec.bound.check(v.number()).map(|()| v));
        match parsed {
            Ok(value) => {
                self.settled.insert(name, value.render());
                Some(value)
            }
            Err(why) => {
                let shown = if spec.flags.secret { String::new() } else { format!(", not {text:?}") };
                self.problems.push(Problem::new(origin, name, format!("{why}{shown}")));
                None
            }
        }
    }

    pub(crate) fn finish(self) -> Vec<Problem> {
        self.problems
    }

    /// Replaces each `{key}`; `None` when that key itself was refused.
    fn expand(&self, default: &str) -> Option<String> {
        let mut text = String::new();
        let mut rest = default;
        while let Some((before, after)) = rest.split_once('{') {
            let (key, tail) = after.split_once('}')?;
            text.push_str(before);
            text.push_str(self.settled.get(key)?);
            rest = tail;
        }
        text.push_str(rest);
        Some(text)
    }
}
