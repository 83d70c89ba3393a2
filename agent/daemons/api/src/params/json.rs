//! The strict reading of a JSON body: one object, no duplicate keys, bounded depth and widths, no NUL.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

use super::fault::{Fault, printable};

/// Deepest nesting of a body.
pub const MAX_DEPTH: usize = 32;
const MAX_ITEMS: usize = 4096;
const MAX_KEYS: usize = 1024;

/// Reads a body as an object. White space alone is an empty object.
///
/// # Errors
/// Anything that is not exactly one acceptable JSON object.
pub fn object(body: &[u8]) -> Result<Map<String, Value>, Fault> {
    if body.iter().all(u8::is_ascii_whitespace) {
        return Ok(Map::new());
    }
    let mut reader = serde_json::Deserializer::from_slice(body);
    let value = Strict { depth: 0 }.deserialize(&mut reader).map_err(|error| refused(&error))?;
    reader.end().map_err(|error| refused(&error))?;
    match value {
        Value::Object(map) => Ok(map),
        _ => Err(Fault::new("request body is not a JSON object: it is another JSON value")),
    }
}

fn refused(error: &serde_json::Error) -> Fault {
    let reason = if error.is_data() {
        // Our own sentences; serde_json appends the position.
        error.to_string()
    } else {
        format!("invalid JSON at line {} column {}", error.line(), error.column())
    };
    Fault::new(format!("request body is not a JSON object: {reason}"))
}

#[derive(Clone, Copy)]
struct Strict {
    depth: usize,
}

impl Strict {
    fn deeper<E: Error>(self) -> Result<Self, E> {
        if self.depth >= MAX_DEPTH {
            return Err(E::custom(format_args!("nested deeper than {MAX_DEPTH}")));
        }
        Ok(Self { depth: self.depth + 1 })
    }
}

impl<'de> DeserializeSeed<'de> for Strict {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        Number::from_f64(value).map(Value::Number).ok_or_else(|| E::custom("a number is not finite"))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Value, E> {
        self.visit_string(value.to_owned())
    }

    fn visit_string<E: Error>(self, value: String) -> Result<Value, E> {
        if value.contains('\0') { Err(E::custom("a string contains NUL")) } else { Ok(Value::String(value)) }
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let inner = self.deeper()?;
        let mut list = Vec::new();
        while let Some(item) = items.next_element_seed(inner)? {
            if list.len() >= MAX_ITEMS {
                return Err(A::Error::custom(format_args!("a list has more than {MAX_ITEMS} items")));
            }
            list.push(item);
        }
        Ok(Value::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let inner = self.deeper()?;
        let mut map = Map::new();
        while let Some(key) = entries.next_key::<String>()? {
            if map.len() >= MAX_KEYS {
                return Err(A::Error::custom(format_args!("an object has more than {MAX_KEYS} keys")));
            }
            if key.contains('\0') {
                return Err(A::Error::custom("a key contains NUL"));
            }
            if map.contains_key(&key) {
                return Err(A::Error::custom(format_args!("duplicate key {}", printable(&key))));
            }
            let value = entries.next_value_seed(inner)?;
            map.insert(key, value);
        }
        Ok(Value::Object(map))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_are_read_and_emptiness_is_no_parameters() {
        assert_eq!(object(b" \n").unwrap().len(), 0);
        let map = object(br#"{"a": [1, 2.5, null, {"b": "c"}]}"#).unwrap();
        assert_eq!(Value::Object(map), serde_json::json!({"a": [1, 2.5, null, {"b": "c"}]}));
    }

    #[test]
    fn everything_else_is_refused_without_echo() {
        let deep = format!("{{\"a\":{}1{}}}", "[".repeat(40), "]".repeat(40));
        for (body, words) in [
            ("[1]", "another JSON value"),
            ("\"x\"", "another JSON value"),
            ("{\"a\":1,\"a\":2}", "duplicate key a"),
            ("{\"x\":{\"a\":1,\"a\":2}}", "duplicate key a"),
            ("{", "invalid JSON"),
            ("{\"a\":1} {}", "invalid JSON"),
            ("{\"a\":NaN}", "invalid JSON"),
            ("{\"a\":1e400}", "invalid JSON"),
            ("{\"a\":\"\\u0000\"}", "NUL"),
            ("{\"a\":\"\\ud800\"}", "invalid JSON"),
            (deep.as_str(), "nested deeper than 32"),
        ] {
            let text = object(body.as_bytes()).unwrap_err().to_string();
            assert!(
                text.starts_with("request body is not a JSON object: ") && text.contains(words),
                "{body}: {text}"
            );
        }
        assert!(object(b"\xff\xfe").is_err());
    }

    #[test]
    fn a_flood_of_keys_is_refused() {
        let keys: Vec<String> = (0..2000).map(|n| format!("\"k{n}\":1")).collect();
        assert!(object(format!("{{{}}}", keys.join(",")).as_bytes()).is_err());
    }

    proptest::proptest! {
        #[test]
        fn no_body_panics(body: Vec<u8>) {
            let _ = object(&body);
        }
    }
}
