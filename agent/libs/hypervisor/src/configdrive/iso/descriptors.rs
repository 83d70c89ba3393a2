//! Volume descriptors (ECMA-119 §8).

use chrono::{DateTime, Utc};

use super::SECTOR;
use super::layout::{Layout, Side};
use super::records::{Names, Role, both16, both32, encode_name, record};

/// Number of descriptors [`all`] makes.
pub(super) const COUNT: u32 = 4;

/// Escape sequence of Joliet level 3.
const JOLIET_ESCAPE: &[u8] = b"%/E";

/// What distinguishes the three volume descriptors.
struct Kind {
    descriptor_type: u8,
    version: u8,
    structure_version: u8,
    names: Names,
    escape: &'static [u8],
}

/// Primary, Joliet and enhanced (interchange level 4: names as long as the plain tree has them) descriptors, and the
/// terminator.
pub(super) fn all(layout: &Layout, volume_id: &str, made_at: DateTime<Utc>) -> Vec<Vec<u8>> {
    let plain = |descriptor_type, version, structure_version| Kind {
        descriptor_type,
        version,
        structure_version,
        names: Names::RockRidge,
        escape: &[],
    };
    let joliet = Kind {
        descriptor_type: 2,
        version: 1,
        structure_version: 1,
        names: Names::Joliet,
        escape: JOLIET_ESCAPE,
    };
    vec![
        volume(&plain(1, 1, 1), &layout.rock_ridge, layout.total, volume_id, made_at),
        volume(&joliet, &layout.joliet, layout.total, volume_id, made_at),
        volume(&plain(2, 2, 2), &layout.rock_ridge, layout.total, volume_id, made_at),
        [&[0xff], b"CD001".as_slice(), &[1]].concat(),
    ]
}

fn volume(kind: &Kind, side: &Side, total: u32, volume_id: &str, made_at: DateTime<Utc>) -> Vec<u8> {
    let sector = u16::try_from(SECTOR).unwrap_or(2048);
    let mut out = vec![kind.descriptor_type];
    out.extend(b"CD001");
    out.extend([kind.version, 0]);
    out.extend(text("", 32, kind.names));
    out.extend(text(volume_id, 32, kind.names));
    out.extend([0; 8]);
    out.extend(both32(total));
    out.extend(padded(kind.escape.to_vec(), 32, 0));
    // Volume set size, sequence number, block size.
    [1, 1, sector].into_iter().for_each(|value| out.extend(both16(value)));
    out.extend(both32(side.table_length));
    out.extend(side.table_le.to_le_bytes());
    out.extend([0; 4]);
    out.extend(side.table_be.to_be_bytes());
    out.extend([0; 4]);
    // The root record of a descriptor has no extension entries.
    out.extend(record(Role::SelfRecord, side.root(), Names::Joliet, made_at));
    // Volume set, publisher, preparer, application; then three file identifiers.
    [128; 4].into_iter().chain([37; 3]).for_each(|width| out.extend(text("", width, kind.names)));
    let stamp = made_at.format("%Y%m%d%H%M%S00").to_string();
    let time = padded(stamp.into_bytes(), 17, 0);
    let never = padded(vec![b'0'; 16], 17, 0);
    // Creation, modification, expiration, effective.
    [&time, &time, &never, &time].into_iter().for_each(|moment| out.extend(moment));
    out.push(kind.structure_version);
    out
}

/// A text field: padded with spaces of its own alphabet.
fn text(value: &str, width: usize, names: Names) -> Vec<u8> {
    let mut bytes = encode_name(value, names);
    let space = encode_name(" ", names);
    while bytes.len() + space.len() <= width {
        bytes.extend(&space);
    }
    padded(bytes, width, 0)
}

fn padded(mut bytes: Vec<u8>, width: usize, filler: u8) -> Vec<u8> {
    bytes.resize(width, filler);
    bytes
}
