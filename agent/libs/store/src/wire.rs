//! Small conversions between rows and messages that every domain needs.

use std::str::FromStr;

use chrono::{DateTime, Utc};
use prost_types::Timestamp;
use sf_model::text::cut;
use sf_protos::common::StateInfo;

use crate::error::{StoreError, StoreResult};

/// Longest sentence kept with a state, bytes.
const MAX_STATE_MESSAGE: usize = 4096;

/// A sentence as it is kept with a state. It may quote what came from outside, at any length.
pub fn state_message(message: &str) -> &str {
    cut(message, MAX_STATE_MESSAGE)
}

/// A time as messages carry it.
pub fn timestamp(time: DateTime<Utc>) -> Timestamp {
    let nanos = i32::try_from(time.timestamp_subsec_nanos()).unwrap_or(0);
    Timestamp { seconds: time.timestamp(), nanos }
}

/// A time as rows carry it, to the microsecond; `None` when out of range.
pub fn datetime(time: &Timestamp) -> Option<DateTime<Utc>> {
    let nanos = u32::try_from(time.nanos).ok()?;
    DateTime::from_timestamp(time.seconds, nanos - nanos % 1000)
}

/// Parses a field of a request.
///
/// # Errors
/// [`StoreError::Invalid`] naming the field.
pub fn parse<T: FromStr>(field: &str, text: &str) -> StoreResult<T> {
    text.parse().map_err(|_| StoreError::Invalid(format!("{field} is not valid: {text:?}")))
}

/// Parses a value of a row.
///
/// # Errors
/// [`StoreError::Corrupt`] naming the column.
pub fn from_row<T: FromStr>(column: &str, text: &str) -> StoreResult<T> {
    text.parse().map_err(|_| StoreError::Corrupt(format!("an unknown {column} {text:?}")))
}

/// State columns as every view shows them.
pub fn state_info(state: &str, changed_at: DateTime<Utc>, message: Option<String>) -> StateInfo {
    StateInfo { state: state.to_owned(), changed_at: Some(timestamp(changed_at)), message }
}
