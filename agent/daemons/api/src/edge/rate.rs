//! How often one source may try to log in, and one key may ask (`security.md` §9).

use std::net::IpAddr;
use std::time::Instant;

use crate::api::Api;
use crate::caller::Caller;
use crate::error::ApiError;

/// Log-in attempts of one source, per second and at once.
const LOGIN_RATE: (f64, f64) = (10.0, 50.0);
/// How many seconds' worth of its rate a key may use at once: 1,000 at 200 per second.
const KEY_BURST_SECONDS: f64 = 5.0;

pub(super) fn visitor(api: &Api, source: IpAddr) -> Result<(), ApiError> {
    let (rate, burst) = LOGIN_RATE;
    let allowed = api.login_attempts.allows(source, rate, burst, Instant::now());
    if allowed { Ok(()) } else { Err(limited("source", 1)) }
}

pub(super) fn caller(api: &Api, caller: &Caller) -> Result<(), ApiError> {
    let rate = f64::from(api.daemon.cluster.current().api_rate_per_key);
    let key = (caller.namespace.clone(), caller.key_name.clone());
    let allowed = api.key_requests.allows(key, rate, rate * KEY_BURST_SECONDS, Instant::now());
    if allowed { Ok(()) } else { Err(limited("key", 1)) }
}

/// 429, counted by which limit was reached.
pub(crate) fn limited(bucket: &'static str, seconds: u64) -> ApiError {
    metrics::counter!("sf_rate_limited_total", "bucket" => bucket).increment(1);
    ApiError::throttled(seconds)
}
