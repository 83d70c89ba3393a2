//! Directory records (ECMA-119 §9.1) and the Rock Ridge entries inside them (IEEE P1282, version 1.09).

use chrono::{DateTime, Datelike, Timelike, Utc};

use super::tree::Node;

/// Identifier by which readers recognise Rock Ridge 1.09.
const RRIP_ID: &[u8] = b"RRIP_1991A";
const RRIP_DESCRIPTOR: &[u8] =
    b"THE ROCK RIDGE INTERCHANGE PROTOCOL PROVIDES SUPPORT FOR POSIX FILE SYSTEM SEMANTICS";

/// File flag of a directory.
const FLAG_DIRECTORY: u8 = 2;

/// Which of the two name trees a record belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Names {
    /// Plain names with Rock Ridge entries.
    RockRidge,
    /// UCS-2 names.
    Joliet,
}

/// Where the bytes of a file or directory lie.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Extent {
    /// First sector.
    pub(super) start: u32,
    /// Bytes.
    pub(super) length: u32,
}

/// Which record of a directory this is.
#[derive(Debug, Clone, Copy)]
pub(super) enum Role<'a> {
    /// `.` of the root: announces Rock Ridge.
    RootSelf,
    /// `.` of any other directory.
    SelfRecord,
    /// `..`.
    Parent,
    /// A named entry.
    Named(&'a str, Node),
}

/// The name as bytes of the given tree.
pub(super) fn encode_name(name: &str, names: Names) -> Vec<u8> {
    match names {
        Names::RockRidge => name.as_bytes().to_vec(),
        Names::Joliet => name.encode_utf16().flat_map(u16::to_be_bytes).collect(),
    }
}

/// One directory record. Its length depends on the names only, so layout may use it before extents are known.
pub(super) fn record(role: Role<'_>, extent: Extent, names: Names, made_at: DateTime<Utc>) -> Vec<u8> {
    let (name, directory) = match role {
        Role::RootSelf | Role::SelfRecord => (vec![0], true),
        Role::Parent => (vec![1], true),
        Role::Named(name, node) => (encode_name(name, names), matches!(node, Node::Directory(_))),
    };
    let mut tail = Vec::new();
    if name.len() % 2 == 0 {
        tail.push(0);
    }
    if names == Names::RockRidge {
        tail.extend(rock_ridge(role, directory, made_at));
    }
    if tail.len() % 2 != name.len().wrapping_add(1) % 2 {
        tail.push(0);
    }

    let mut record = Vec::with_capacity(128);
    record.push(byte(33 + name.len() + tail.len()));
    record.push(0);
    record.extend(both32(extent.start));
    record.extend(both32(extent.length));
    record.extend(short_time(made_at));
    record.push(if directory { FLAG_DIRECTORY } else { 0 });
    record.extend([0, 0]);
    record.extend(both16(1));
    record.push(byte(name.len()));
    record.extend(name);
    record.extend(tail);
    record
}

/// Rock Ridge entries of a record.
fn rock_ridge(role: Role<'_>, directory: bool, made_at: DateTime<Utc>) -> Vec<u8> {
    let mut out = Vec::new();
    if let Role::RootSelf = role {
        out.extend(entry(b"SP", &[0xbe, 0xef, 0]));
    }
    out.extend(attributes(directory));
    // Times of modification, access and attribute change.
    let mut times = vec![0x0e];
    (0..3).for_each(|_| times.extend(short_time(made_at)));
    out.extend(entry(b"TF", &times));
    match role {
        Role::RootSelf => {
            let mut body = vec![byte(RRIP_ID.len()), byte(RRIP_DESCRIPTOR.len()), 0, 1];
            body.extend(RRIP_ID);
            body.extend(RRIP_DESCRIPTOR);
            out.extend(entry(b"ER", &body));
        }
        Role::Named(name, _) => {
            let mut body = vec![0];
            body.extend(name.as_bytes());
            out.extend(entry(b"NM", &body));
        }
        Role::SelfRecord | Role::Parent => {}
    }
    out
}

/// POSIX attributes: readable by everybody, owned by root, never writable.
fn attributes(directory: bool) -> Vec<u8> {
    let (mode, links) = if directory { (0o040_555, 2) } else { (0o100_444, 1) };
    let body: Vec<u8> = [mode, links, 0, 0].into_iter().flat_map(both32).collect();
    entry(b"PX", &body)
}

fn entry(signature: &[u8; 2], body: &[u8]) -> Vec<u8> {
    let mut out = signature.to_vec();
    out.extend([byte(body.len() + 4), 1]);
    out.extend(body);
    out
}

/// Seven-byte time of records.
fn short_time(at: DateTime<Utc>) -> [u8; 7] {
    let year = at.year().clamp(1900, 2155) - 1900;
    let parts = [at.month(), at.day(), at.hour(), at.minute(), at.second()];
    let [month, day, hour, minute, second] = parts.map(|part| u8::try_from(part).unwrap_or(0));
    [u8::try_from(year).unwrap_or(0), month, day, hour, minute, second, 0]
}

/// A number as the formats store it twice: little-endian, then big-endian.
pub(super) fn both32(value: u32) -> Vec<u8> {
    [value.to_le_bytes(), value.to_be_bytes()].concat()
}

/// As [`both32`], for 16 bits.
pub(super) fn both16(value: u16) -> Vec<u8> {
    [value.to_le_bytes(), value.to_be_bytes()].concat()
}

/// Lengths here are bounded by the name limit, far below 256.
fn byte(length: usize) -> u8 {
    u8::try_from(length).unwrap_or(u8::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_even_fit_a_byte_and_say_their_length() {
        let longest = "n".repeat(64);
        let roles = [
            Role::RootSelf,
            Role::SelfRecord,
            Role::Parent,
            Role::Named("a", Node::File(0)),
            Role::Named("ab", Node::Directory(1)),
            Role::Named(&longest, Node::File(0)),
        ];
        for role in roles {
            for names in [Names::RockRidge, Names::Joliet] {
                let bytes = record(role, Extent::default(), names, DateTime::UNIX_EPOCH);
                assert_eq!(bytes.len() % 2, 0, "{role:?}");
                assert_eq!(usize::from(bytes[0]), bytes.len(), "{role:?} {names:?}");
            }
        }
    }
}
