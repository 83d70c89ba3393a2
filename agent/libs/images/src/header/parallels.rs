//! Parallels images, version 2.

use super::fields::Fields;
use super::source::Input;
use super::{Facts, Stop, refuse};

const VERSION: u32 = 2;
const IN_USE: u32 = 0x746f_6e59;

pub(super) fn parse(input: &Input<'_>) -> Result<Facts, Stop> {
    let fields = Fields(input.prefix());
    let version = fields.le32(16)?;
    if version != VERSION {
        return refuse("version", format!("Parallels version {version} is not supported"));
    }
    if fields.le32(44)? == IN_USE {
        return refuse("corrupt", "it was not closed");
    }
    if fields.le64(56)? != 0 {
        return refuse("feature", "it has a format extension");
    }
    let (track, entries) = (u64::from(fields.le32(28)?), u64::from(fields.le32(32)?));
    if track == 0 || track > (64 << 20) / 512 {
        return refuse("cluster_size", "its clusters are of an impossible size");
    }
    input.inside("block table", 64, entries * 4)?;
    let sectors = fields.le64(36)?;
    if entries.saturating_mul(track) < sectors {
        return refuse("tables", "its block table is too small for its size");
    }
    match sectors.checked_mul(512) {
        Some(virtual_size) => {
            Ok(Facts { virtual_size, cluster_size: Some(track * 512), details: Vec::new() })
        }
        None => refuse("virtual_size", "it describes a disk of more than 2^64 bytes"),
    }
}
