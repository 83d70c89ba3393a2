//! The grammars of names. Every check returns the sentence a user is shown, without the offending value.

use crate::id::parse_hyphenated;

/// Why a name is refused, as the expectation that was not met.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct NameError(pub &'static str);

/// Instance names: 1–63 letters, digits and hyphens, no hyphen at either end, not a UUID (`instances.md` §3.3).
pub fn instance(name: &str) -> Result<(), NameError> {
    const RULE: NameError = NameError(
        "must be 1 to 63 letters, digits and hyphens, without a hyphen at either end, and not a UUID",
    );
    let ok = (1..=63).contains(&name.len())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
        && !name.starts_with('-')
        && !name.ends_with('-')
        && parse_hyphenated(name).is_none();
    if ok { Ok(()) } else { Err(RULE) }
}

/// Network names: 1–255 printable characters without `/`, not a UUID (`rest-api.md` §3.4).
pub fn network(name: &str) -> Result<(), NameError> {
    printable(name, "must be 1 to 255 printable characters without a slash, and not a UUID")
}

/// Artifact names: 1–255 characters without `/` or control characters, not a UUID (`rest-api.md` §3.6).
pub fn artifact(name: &str) -> Result<(), NameError> {
    printable(name, "must be 1 to 255 characters without a slash or control characters, and not a UUID")
}

/// Namespace names: `[A-Za-z0-9][A-Za-z0-9._-]{0,254}` (`security.md` §2.1).
pub fn namespace(name: &str) -> Result<(), NameError> {
    let mut bytes = name.bytes();
    let ok = name.len() <= 255
        && bytes.next().is_some_and(|b| b.is_ascii_alphanumeric())
        && bytes.all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'));
    if ok {
        Ok(())
    } else {
        Err(NameError(
            "must be 1 to 255 letters, digits, dots, underscores and hyphens, and begin with a letter or digit",
        ))
    }
}

/// Key names: 1–255 bytes without `/` or control characters (`security.md` §3.1).
pub fn key(name: &str) -> Result<(), NameError> {
    if (1..=255).contains(&name.len()) && !name.contains('/') && !name.chars().any(char::is_control) {
        Ok(())
    } else {
        Err(NameError("must be 1 to 255 bytes without a slash or control characters"))
    }
}

/// Whether a key name is reserved for the system itself.
pub fn key_is_reserved(name: &str) -> bool {
    name == "service_key" || name.starts_with("_service_key") || name.starts_with("_oidc_")
}

/// Metadata keys: 1–255 bytes without control characters (`security.md` §10).
pub fn metadata_key(name: &str) -> Result<(), NameError> {
    if (1..=255).contains(&name.len()) && !name.chars().any(char::is_control) {
        Ok(())
    } else {
        Err(NameError("must be 1 to 255 bytes without control characters"))
    }
}

/// Host names of RFC 1123, dots allowed (`rest-api.md` §3.4).
pub fn host(name: &str) -> Result<(), NameError> {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    if (1..=253).contains(&name.len()) && name.split('.').all(label) {
        Ok(())
    } else {
        Err(NameError("must be a host name of letters, digits, hyphens and dots"))
    }
}

fn printable(name: &str, rule: &'static str) -> Result<(), NameError> {
    let count = name.chars().count();
    let ok = (1..=255).contains(&count)
        && name.len() <= 1020
        && !name.contains('/')
        && !name.chars().any(char::is_control)
        && parse_hyphenated(name).is_none();
    if ok { Ok(()) } else { Err(NameError(rule)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Check = fn(&str) -> Result<(), NameError>;

    #[test]
    fn grammars() {
        let uuid = "00000000-0000-4000-8000-00000000f10a";
        let long = "a".repeat(64);
        let cases: [(&str, Check, &[&str], &[&str]); 6] = [
            ("instance", instance, &["a", "web-1", "A9"], &["", "-a", "a-", "a.b", "a_b", uuid, &long]),
            ("network", network, &["a b", "é", "x.y"], &["", "a/b", "a\nb", uuid]),
            ("namespace", namespace, &["system", "t1", "a.b_c-d"], &["", ".a", "a:b", "a/b", "a b"]),
            ("key", key, &["bootstrap", "a b"], &["", "a/b", "a\0b"]),
            ("metadata", metadata_key, &["tags", "a/b"], &["", "a\nb"]),
            ("host", host, &["www", "a.b-c.d"], &["", ".a", "a..b", "-a", "a_b"]),
        ];
        for (what, check, good, bad) in cases {
            for name in good {
                assert_eq!(check(name), Ok(()), "{what} {name:?}");
            }
            for name in bad {
                assert!(check(name).is_err(), "{what} {name:?}");
            }
        }
    }

    #[test]
    fn reserved_keys() {
        assert!(
            key_is_reserved("service_key") && key_is_reserved("_service_key_x") && key_is_reserved("_oidc_a")
        );
        assert!(!key_is_reserved("bootstrap"));
    }
}
