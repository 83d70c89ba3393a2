//! VirtualBox images, version 1.1.

use super::fields::Fields;
use super::source::Input;
use super::{Facts, Stop, refuse};

const VERSION: u32 = 0x0001_0001;
const DYNAMIC: u32 = 1;
const STATIC: u32 = 2;

pub(super) fn parse(input: &Input<'_>) -> Result<Facts, Stop> {
    let fields = Fields(input.prefix());
    let version = fields.le32(68)?;
    if version != VERSION {
        return refuse("version", format!("VDI version {version:#x} is not supported"));
    }
    let kind = fields.le32(76)?;
    if kind != DYNAMIC && kind != STATIC {
        return refuse("parent", format!("its type {kind} is not a self-contained disk"));
    }
    if fields.bytes(424, 32)?.iter().any(|byte| *byte != 0) {
        return refuse("parent", "it is linked to a parent image");
    }
    let (map, data) = (u64::from(fields.le32(340)?), u64::from(fields.le32(344)?));
    let (block, blocks, allocated) =
        (fields.le32(376)?, u64::from(fields.le32(384)?), u64::from(fields.le32(388)?));
    if block != 1 << 20 {
        return refuse("cluster_size", "its block size is not 1 MiB");
    }
    let virtual_size = fields.le64(368)?;
    if virtual_size.div_ceil(u64::from(block)) > blocks || allocated > blocks {
        return refuse("tables", "its block map does not fit its size");
    }
    input.inside("block map", map, blocks * 4)?;
    input.inside("data", data, 0)?;
    Ok(Facts { virtual_size, cluster_size: Some(u64::from(block)), details: Vec::new() })
}
