//! Conversions between wire types and plain values that several daemons need.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use prost_types::Timestamp;

/// A point in time as the wire carries it.
pub fn timestamp(time: SystemTime) -> Timestamp {
    Timestamp::from(time)
}

/// Seconds since the epoch with microseconds, as the REST views show times.
pub fn unix_seconds(time: &Timestamp) -> f64 {
    #[expect(
        clippy::cast_precision_loss,
        reason = "epoch seconds fit a double to the microsecond until the year 2255"
    )]
    let seconds = time.seconds as f64;
    seconds + f64::from(time.nanos / 1000) / 1e6
}

/// The wire time as system time; times before the epoch are the epoch.
pub fn system_time(time: &Timestamp) -> SystemTime {
    let seconds = u64::try_from(time.seconds).unwrap_or(0);
    let nanos = u32::try_from(time.nanos).unwrap_or(0);
    UNIX_EPOCH + Duration::new(seconds, nanos)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_keep_microseconds() {
        let time = UNIX_EPOCH + Duration::from_micros(1_700_000_000_123_456);
        let wire = timestamp(time);
        assert_eq!(system_time(&wire), time);
        assert!((unix_seconds(&wire) - 1_700_000_000.123_456).abs() < 1e-6);
    }
}
