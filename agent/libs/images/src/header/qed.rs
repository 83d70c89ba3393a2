//! QEMU enhanced disk, a format nobody makes any more.

use super::fields::Fields;
use super::source::Input;
use super::{Facts, Stop, refuse};

const BACKING_FILE: u64 = 1;
const NEED_CHECK: u64 = 1 << 1;

pub(super) fn parse(input: &Input<'_>) -> Result<Facts, Stop> {
    let fields = Fields(input.prefix());
    let features = fields.le64(16)?;
    if features & BACKING_FILE != 0 || fields.le32(60)? != 0 {
        return refuse("backing_file", "it names a backing file");
    }
    if features & !(BACKING_FILE | NEED_CHECK) != 0 {
        return refuse("feature", format!("it needs features this program does not know ({features:#x})"));
    }
    let (cluster, table) = (fields.le32(4)?, fields.le32(8)?);
    if !cluster.is_power_of_two()
        || !(1 << 12..=1 << 26).contains(&cluster)
        || !table.is_power_of_two()
        || table > 16
    {
        return refuse("cluster_size", "its clusters or tables are of an impossible size");
    }
    input.inside("L1 table", fields.le64(40)?, u64::from(cluster) * u64::from(table))?;
    Ok(Facts { virtual_size: fields.le64(48)?, cluster_size: Some(u64::from(cluster)), details: Vec::new() })
}
