//! Microsoft VHD: a footer of 512 bytes, copied to the front in dynamic images.

use super::fields::Fields;
use super::source::Input;
use super::{Facts, Stop, refuse};

const FIXED: u32 = 2;
const DYNAMIC: u32 = 3;

pub(super) fn parse(input: &Input<'_>) -> Result<Facts, Stop> {
    let tail = input.tail(512).map_err(Stop::Io)?.filter(|tail| tail.starts_with(b"conectix"));
    let front = Fields(input.prefix());
    let footer = tail.as_deref().map_or(front, Fields);
    if footer.bytes(0, 8)? != b"conectix" {
        return refuse("truncated", "its footer is missing");
    }
    let virtual_size = footer.be64(48)?;
    match footer.be32(60)? {
        FIXED => match input.size().checked_sub(512) {
            Some(data) if data >= virtual_size => {}
            _ => return refuse("outside", "it is shorter than the disk it describes"),
        },
        DYNAMIC => check_dynamic(input, footer.be64(16)?)?,
        other => return refuse("parent", format!("its type {other} is not a self-contained disk")),
    }
    // Tools read the copy at the front, others the end; both must say the same.
    if front.0.starts_with(b"conectix") && front.bytes(8, 56)? != footer.bytes(8, 56)? {
        return refuse("header", "its two footers differ");
    }
    Ok(Facts { virtual_size, ..Facts::default() })
}

fn check_dynamic(input: &Input<'_>, offset: u64) -> Result<(), Stop> {
    let header = input.table("dynamic header", offset, 1024)?;
    let header = Fields(&header);
    if header.bytes(0, 8)? != b"cxsparse" {
        return refuse("header", "its dynamic header is missing");
    }
    if header.bytes(40, 16)?.iter().any(|byte| *byte != 0) {
        return refuse("parent", "it has a parent image");
    }
    let (table, entries, block) = (header.be64(16)?, header.be32(28)?, header.be32(32)?);
    if !block.is_power_of_two() || block < 512 {
        return refuse("cluster_size", "its block size is not possible");
    }
    input.inside("block table", table, u64::from(entries) * 4)
}
