//! Keeps secrets out of events and log lines.

use serde_json::Value;

/// What stands in the place of a secret.
pub const REDACTED: &str = "<redacted>";

/// Whether a key or setting of this name holds a secret: nothing shows its value.
pub fn is_secret_name(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    const INSIDE: [&str; 6] = ["secret", "password", "passphrase", "token", "auth_header", "authorization"];
    INSIDE.iter().any(|part| name.contains(part)) || name.ends_with("_seed") || name.ends_with("_key")
}

/// Replaces, at any depth, the values of keys whose name says that they are secret. Numbers and booleans stay: they are
/// counts and flags, such as `token_count`.
pub fn redact(value: &mut Value) {
    match value {
        Value::Object(map) => {
            for (key, inner) in map.iter_mut() {
                redact_named(key, inner);
            }
        }
        Value::Array(items) => items.iter_mut().for_each(redact),
        _ => {}
    }
}

/// As [`redact`], for a value under a known name.
pub fn redact_named(name: &str, value: &mut Value) {
    let harmless = matches!(value, Value::Number(_) | Value::Bool(_));
    if is_secret_name(name) && !harmless {
        *value = Value::String(REDACTED.to_owned());
    } else {
        redact(value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn secrets_go_at_any_depth_and_counts_stay() {
        let mut value = json!({
            "a": [{"Password": "x", "deep": {"auth_token": {"inner": 1}, "user": "u"}}],
            "API_KEY": null, "token_count": 3, "auth_secret_seed": "s", "keyboard": "us", "has_password": true,
        });
        redact(&mut value);
        let expected = json!({
            "a": [{"Password": REDACTED, "deep": {"auth_token": REDACTED, "user": "u"}}],
            "API_KEY": REDACTED, "token_count": 3, "auth_secret_seed": REDACTED, "keyboard": "us", "has_password": true,
        });
        assert_eq!(value, expected);
    }
}
