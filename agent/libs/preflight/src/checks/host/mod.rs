//! The machine itself.

mod capacity;
mod storage;
mod system;
mod virt;

pub(super) use capacity::{memory, processors};
pub(super) use storage::{disk, nfs, storage};
pub(super) use system::{binary, init, os};
pub(super) use virt::{kvm, virt};

use std::path::Path;

/// The value of `KEY=` or `Key:` in a text, without quotes.
fn value<'a>(text: &'a str, key: &str, separator: char) -> Option<&'a str> {
    let lines = text.lines().filter_map(|line| line.split_once(separator));
    lines.filter(|(name, _)| name.trim() == key).map(|(_, value)| value.trim().trim_matches('"')).next()
}

/// The first dotted number in what a program says about its version.
fn version(text: &str) -> Option<&str> {
    let words = text.split(|c: char| c.is_whitespace() || matches!(c, '(' | ')' | ',' | '-' | '+' | '~'));
    words.filter(|word| word.contains('.') || word.len() >= 2).find(|word| {
        word.starts_with(|c: char| c.is_ascii_digit()) && word.chars().all(|c| c.is_ascii_digit() || c == '.')
    })
}

/// As [`std::fs::read_to_string`] of the subject's system, as a sentence when it fails.
fn read(subject: &crate::subject::Subject, path: &str) -> Result<String, String> {
    subject.system.read(Path::new(path)).map_err(|error| format!("{path} cannot be read: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_found_in_what_programs_say() {
        for (text, expected) in [
            ("systemd 252 (252.39-1~deb12u1)", "252"),
            ("QEMU emulator version 7.2.15 (Debian 1:7.2)", "7.2.15"),
            ("libvirtd (libvirt) 9.0.0", "9.0.0"),
            ("6.1.0-18-amd64", "6.1.0"),
        ] {
            assert_eq!(version(text), Some(expected), "{text}");
        }
        assert_eq!(version("none"), None);
    }
}
