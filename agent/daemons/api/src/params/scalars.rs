//! Parsers of single values: what JSON each type accepts (`rest-api.md` §1.6).

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value};
use sf_model::id::parse_hyphenated;
use sf_model::name::NameError;

use super::fault::Fault;
use super::fields::Fields;

/// A string.
///
/// # Errors
/// Any other type.
pub fn string(value: Value) -> Result<String, Fault> {
    match value {
        Value::String(text) => Ok(text),
        _ => Err(Fault::new("must be a string")),
    }
}

/// A string that a grammar of names accepts.
pub fn text_of(check: fn(&str) -> Result<(), NameError>) -> impl Fn(Value) -> Result<String, Fault> {
    move |value| {
        let text = string(value)?;
        check(&text).map_err(|error| Fault::new(error.0))?;
        Ok(text)
    }
}

/// An integer, or a string that holds one in decimal.
///
/// # Errors
/// Booleans, fractions, anything outside 64 bits.
pub fn int(value: Value) -> Result<i64, Fault> {
    let number = match &value {
        Value::Number(number) => number.as_i64(),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    };
    number.ok_or_else(|| Fault::new("must be an integer"))
}

/// An integer that is not negative.
///
/// # Errors
/// As [`int`], and negative numbers.
pub fn uint(value: Value) -> Result<u64, Fault> {
    int(value)
        .ok()
        .and_then(|number| u64::try_from(number).ok())
        .ok_or_else(|| Fault::new("must be an integer that is not negative"))
}

/// An integer within bounds.
pub fn uint_in(bounds: RangeInclusive<u64>) -> impl Fn(Value) -> Result<u64, Fault> {
    move |value| match uint(value)? {
        number if bounds.contains(&number) => Ok(number),
        _ => Err(Fault::new(format!("must be between {} and {}", bounds.start(), bounds.end()))),
    }
}

/// A finite number, or a string that holds one.
///
/// # Errors
/// Booleans and anything that is not finite.
pub fn number(value: Value) -> Result<f64, Fault> {
    let number = match &value {
        Value::Number(number) => number.as_f64(),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    };
    number.filter(|n: &f64| n.is_finite()).ok_or_else(|| Fault::new("must be a number"))
}

/// A truth value: true and false, the words for them in any case, 0 and 1.
///
/// # Errors
/// Anything else.
pub fn boolean(value: Value) -> Result<bool, Fault> {
    let truth = match &value {
        Value::Bool(truth) => Some(*truth),
        Value::Number(number) => match number.as_i64() {
            Some(0) => Some(false),
            Some(1) => Some(true),
            _ => None,
        },
        Value::String(text) if text.eq_ignore_ascii_case("true") => Some(true),
        Value::String(text) if text.eq_ignore_ascii_case("false") => Some(false),
        _ => None,
    };
    truth.ok_or_else(|| Fault::new("must be true or false"))
}

/// The literal true that destructive calls ask for.
///
/// # Errors
/// Anything else.
pub fn confirmed(value: Value) -> Result<(), Fault> {
    if value == Value::Bool(true) { Ok(()) } else { Err(Fault::new("must be true")) }
}

/// A UUID in canonical form.
///
/// # Errors
/// Any other text.
pub fn uuid<T: FromStr>(value: Value) -> Result<T, Fault> {
    string(value)
        .ok()
        .and_then(|text| text.parse().ok())
        .ok_or_else(|| Fault::new("must be a UUID in canonical form"))
}

/// A UUID or a name. UUIDs are returned in lower case.
///
/// # Errors
/// Empty texts, texts longer than any name, control characters.
pub fn reference(value: Value) -> Result<String, Fault> {
    let text = string(value)?;
    if let Some(uuid) = parse_hyphenated(&text) {
        return Ok(uuid.to_string());
    }
    let fits = (1..=1020).contains(&text.len()) && !text.chars().any(|c| c.is_control() || c == '/');
    if fits { Ok(text) } else { Err(Fault::new("must be a UUID or a name")) }
}

/// One word of a closed set. `expectation` names the words.
pub fn choice<T: FromStr>(expectation: &'static str) -> impl Fn(Value) -> Result<T, Fault> {
    move |value| {
        let parsed = string(value).ok().and_then(|text| text.parse().ok());
        parsed.ok_or_else(|| Fault::new(expectation))
    }
}

/// Base64 of the standard alphabet, white space allowed, at most `max` bytes decoded; returned as sent.
pub fn base64(max: usize) -> impl Fn(Value) -> Result<String, Fault> {
    move |value| {
        let text = string(value)?;
        let packed: Vec<u8> = text.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
        match STANDARD.decode(packed) {
            Ok(bytes) if bytes.len() <= max => Ok(text),
            Ok(_) => Err(Fault::new(format!("must be at most {max} bytes when decoded"))),
            Err(_) => Err(Fault::new("must be base64")),
        }
    }
}

/// Any JSON value.
///
/// # Errors
/// None.
pub fn any(value: Value) -> Result<Value, Fault> {
    Ok(value)
}

/// A list of so many items.
pub fn list<T>(
    bounds: RangeInclusive<usize>,
    item: impl Fn(Value) -> Result<T, Fault>,
) -> impl Fn(Value) -> Result<Vec<T>, Fault> {
    move |value| {
        let Value::Array(items) = value else { return Err(Fault::new("must be a list")) };
        if !bounds.contains(&items.len()) {
            return Err(Fault::new(format!("must have {} to {} items", bounds.start(), bounds.end())));
        }
        let parsed = items.into_iter().enumerate();
        parsed.map(|(index, value)| item(value).map_err(|fault| fault.at_index(index))).collect()
    }
}

/// An object whose fields are declared.
pub fn nested<T>(parse: impl Fn(&mut Fields) -> Result<T, Fault>) -> impl Fn(Value) -> Result<T, Fault> {
    move |value| {
        let mut fields = Fields::new(map(value)?);
        let parsed = parse(&mut fields)?;
        fields.finish()?;
        Ok(parsed)
    }
}

/// An object with any keys.
///
/// # Errors
/// Any other type.
pub fn map(value: Value) -> Result<Map<String, Value>, Fault> {
    match value {
        Value::Object(map) => Ok(map),
        _ => Err(Fault::new("must be an object")),
    }
}

impl<T: Display> From<(T, &str)> for Fault {
    /// An expectation at a field.
    fn from((expectation, field): (T, &str)) -> Self {
        Self::new(expectation.to_string()).at(field)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use sf_model::BlobId;

    fn table<T: std::fmt::Debug>(parse: impl Fn(Value) -> Result<T, Fault>, good: &[Value], bad: &[Value]) {
        for value in good {
            assert!(parse(value.clone()).is_ok(), "{value}");
        }
        for value in bad {
            assert!(parse(value.clone()).is_err(), "{value}");
        }
    }

    #[test]
    fn every_type_accepts_its_spellings() {
        table(
            int,
            &[json!(5), json!("-7"), json!("100")],
            &[json!(1.5), json!(true), json!("x"), json!(u64::MAX)],
        );
        table(uint, &[json!(0), json!("9")], &[json!(-1), json!("-1"), json!(null)]);
        table(number, &[json!(1.5), json!("2.5")], &[json!("nan"), json!("inf"), json!(true)]);
        table(
            boolean,
            &[json!(true), json!("FALSE"), json!(0), json!(1)],
            &[json!(2), json!("yes"), json!([])],
        );
        table(confirmed, &[json!(true)], &[json!("true"), json!(1), json!(false)]);
        let upper = BlobId::random().to_string().to_uppercase();
        table(uuid::<BlobId>, &[json!(upper)], &[json!(upper.replace('-', "")), json!(5), json!("")]);
        table(reference, &[json!("name"), json!(upper)], &[json!(""), json!("a/b"), json!("a\n"), json!(7)]);
        table(
            base64(3),
            &[json!("Zm9v"), json!("Zm\n9v"), json!("")],
            &[json!("Zm9"), json!("Zm9vZg=="), json!("*")],
        );
        table(uint_in(1..=3), &[json!(1), json!(3)], &[json!(0), json!(4)]);
    }

    #[test]
    fn uuids_come_out_in_lower_case() {
        let id = BlobId::random().to_string();
        assert_eq!(reference(json!(id.to_uppercase())), Ok(id));
    }

    #[test]
    fn lists_and_objects_say_where() {
        let parse = list(0..=2, nested(|fields| fields.required("a", uint)));
        assert_eq!(parse(json!([{"a": 1}])), Ok(vec![1]));
        assert_eq!(
            parse(json!([{"a": 1}, {"a": -1}])).unwrap_err().to_string(),
            "[1].a: must be an integer that is not negative"
        );
        assert_eq!(
            parse(json!([{"a": 1, "b": 2}])).unwrap_err().to_string(),
            "[0].b: not declared by this endpoint"
        );
        assert!(parse(json!([{}, {}, {}])).is_err());
    }
}
