//! Names of guests in the local zone: pure.

/// Longest label of a host name.
const MAX_LABEL: usize = 63;

/// The host name of an instance: lower case, everything else than letters, digits and hyphens a hyphen, trimmed; an
/// empty one becomes `vm-` and the beginning of its UUID (`networking.md` §8.2).
pub(super) fn host_name(name: &str, instance_uuid: &str) -> String {
    let mapped: String = name
        .to_lowercase()
        .chars()
        .map(|c| if c.is_ascii_lowercase() || c.is_ascii_digit() { c } else { '-' })
        .collect();
    let trimmed: String = mapped.trim_matches('-').chars().take(MAX_LABEL).collect();
    let trimmed = trimmed.trim_end_matches('-');
    if trimmed.is_empty() {
        format!("vm-{}", instance_uuid.chars().take(8).collect::<String>())
    } else {
        trimmed.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_become_labels() {
        for (name, label) in [
            ("Web-1", "web-1"),
            ("a_b.c", "a-b-c"),
            ("--x--", "x"),
            ("___", "vm-01234567"),
            ("", "vm-01234567"),
        ] {
            assert_eq!(host_name(name, "01234567-89ab"), label, "{name}");
        }
        assert_eq!(host_name(&"a".repeat(80), "u").len(), 63);
    }
}
