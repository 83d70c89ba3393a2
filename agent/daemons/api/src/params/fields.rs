//! The parameters of one object of a request, taken one by one.

use serde_json::{Map, Value};

use super::fault::Fault;

/// What is left to be read of an object. A JSON null counts as absent.
#[derive(Debug, Default)]
pub struct Fields {
    values: Map<String, Value>,
}

impl Fields {
    /// The fields of an object.
    pub fn new(values: Map<String, Value>) -> Self {
        Self { values }
    }

    /// Adds what the query says, unless the body says something already.
    pub fn merge(&mut self, query: Vec<(String, String)>) {
        for (name, value) in query {
            self.values.entry(name).or_insert(Value::String(value));
        }
    }

    /// A parameter that must be there.
    ///
    /// # Errors
    /// It is absent or not what the parser accepts.
    pub fn required<T>(
        &mut self,
        name: &str,
        parse: impl FnOnce(Value) -> Result<T, Fault>,
    ) -> Result<T, Fault> {
        self.optional(name, parse)?.ok_or_else(|| Fault::new("required").at(name))
    }

    /// A parameter that may be absent.
    ///
    /// # Errors
    /// It is there but not what the parser accepts.
    pub fn optional<T>(
        &mut self,
        name: &str,
        parse: impl FnOnce(Value) -> Result<T, Fault>,
    ) -> Result<Option<T>, Fault> {
        match self.values.shift_remove(name) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => parse(value).map(Some).map_err(|fault| fault.at(name)),
        }
    }

    /// A parameter with a default.
    ///
    /// # Errors
    /// It is there but not what the parser accepts.
    pub fn or<T>(
        &mut self,
        name: &str,
        default: T,
        parse: impl FnOnce(Value) -> Result<T, Fault>,
    ) -> Result<T, Fault> {
        Ok(self.optional(name, parse)?.unwrap_or(default))
    }

    /// A parameter of which the empty string means absence: some clients always send it.
    ///
    /// # Errors
    /// It is there but not what the parser accepts.
    pub fn blankable<T>(
        &mut self,
        name: &str,
        parse: impl FnOnce(Value) -> Result<T, Fault>,
    ) -> Result<Option<T>, Fault> {
        if self.values.get(name).and_then(Value::as_str) == Some("") {
            self.values.shift_remove(name);
        }
        self.optional(name, parse)
    }

    /// Refuses fields that have the name of a path parameter.
    ///
    /// # Errors
    /// There is one.
    pub fn forbid(&self, path_parameters: impl IntoIterator<Item = impl AsRef<str>>) -> Result<(), Fault> {
        for name in path_parameters {
            if self.values.contains_key(name.as_ref()) {
                return Err(Fault::new("is part of the path").at(name.as_ref()));
            }
        }
        Ok(())
    }

    /// Refuses whatever nobody asked for.
    ///
    /// # Errors
    /// Something is left.
    pub fn finish(&mut self) -> Result<(), Fault> {
        match std::mem::take(&mut self.values).into_iter().next() {
            None => Ok(()),
            Some((name, _)) => Err(Fault::new("not declared by this endpoint").at(&name)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::scalars::{boolean, string, uint};
    use super::*;
    use serde_json::json;

    fn fields(value: Value) -> Fields {
        match value {
            Value::Object(map) => Fields::new(map),
            _ => panic!("an object"),
        }
    }

    #[test]
    fn null_is_absence_and_the_rest_is_refused() {
        let mut all = fields(json!({"a": null, "b": "x", "c": 1, "namespace": ""}));
        assert_eq!(all.optional("a", string), Ok(None));
        assert_eq!(all.required("b", string).as_deref(), Ok("x"));
        assert_eq!(all.blankable("namespace", string), Ok(None));
        assert_eq!(all.required("d", string).unwrap_err().to_string(), "d: required");
        assert_eq!(all.finish().unwrap_err().to_string(), "c: not declared by this endpoint");
    }

    #[test]
    fn the_body_wins_over_the_query() {
        let mut all = fields(json!({"limit": 1}));
        all.merge(vec![("limit".to_owned(), "2".to_owned()), ("all".to_owned(), "TRUE".to_owned())]);
        assert_eq!(all.required("limit", uint), Ok(1));
        assert_eq!(all.or("all", false, boolean), Ok(true));
        assert_eq!(all.finish(), Ok(()));
    }

    #[test]
    fn path_parameters_cannot_be_given_twice() {
        let all = fields(json!({"key": 1}));
        assert_eq!(all.forbid(["ref", "key"]).unwrap_err().to_string(), "key: is part of the path");
    }
}
