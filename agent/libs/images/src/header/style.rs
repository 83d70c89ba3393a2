//! Whether a qcow2 image can serve as a disk base as it is, without conversion.

use std::io;

use super::fields::Fields;
use super::source::{Input, Source};
use super::{MAX_READ, Rules, Stop, qcow2};

/// Cluster size of every disk base, in bytes.
pub const BASE_CLUSTER: u64 = 2 << 20;

/// The identity of our disk bases. Changing any part changes the text, and with it every cached file.
pub const BASE_STYLE: &str = "qcow2;cluster_size=2097152;compression=none;v1";

/// Bit 62 of an L2 entry: the cluster is compressed.
const COMPRESSED: u64 = 1 << 62;
const OFFSET_MASK: u64 = 0x00ff_ffff_ffff_fe00;

/// Whether a qcow2 file that was found safe is of [`BASE_STYLE`]: standard clusters, none of them compressed, no
/// sub-clusters, no snapshots, no backing file. Blocks on `source`.
///
/// # Errors
/// The source cannot be read.
pub fn is_base_style(source: &dyn Source) -> io::Result<bool> {
    let input = Input::new(source)?;
    match check(&input) {
        Ok(fits) => Ok(fits),
        Err(Stop::Refused(_)) => Ok(false),
        Err(Stop::Io(error)) => Err(error),
    }
}

fn check(input: &Input<'_>) -> Result<bool, Stop> {
    let facts = qcow2::parse(input, &Rules { max_virtual_size: u64::MAX, parent: None })?;
    let detail = |name: &str, wanted: &str| {
        facts.details.iter().any(|(known, value)| *known == name && value == wanted)
    };
    if facts.cluster_size != Some(BASE_CLUSTER)
        || !detail("extended l2", "false")
        || !detail("snapshots", "0")
    {
        return Ok(false);
    }
    let header = Fields(input.prefix());
    let l1 = input.table("L1 table", header.be64(40)?, u64::from(header.be32(36)?) * 8)?;
    let tables: Vec<u64> = l1
        .chunks_exact(8)
        .map(|entry| Ok(Fields(entry).be64(0)? & OFFSET_MASK))
        .collect::<Result<Vec<_>, Stop>>()?
        .into_iter()
        .filter(|offset| *offset != 0)
        .collect();
    // One L2 table maps 512 GiB. Images with more tables than may be read are converted, which is always right.
    if tables.len() as u64 * BASE_CLUSTER > MAX_READ / 2 {
        return Ok(false);
    }
    for offset in tables {
        let entries = input.table("L2 table", offset, BASE_CLUSTER)?;
        for entry in entries.chunks_exact(8) {
            if Fields(entry).be64(0)? & COMPRESSED != 0 {
                return Ok(false);
            }
        }
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2 MiB clusters, 1 GiB: header, refcount table, refcount block, L1, L2, one data cluster.
    fn base() -> Vec<u8> {
        let cluster = BASE_CLUSTER as usize;
        let mut bytes = vec![0; cluster * 6];
        let mut put = |at: usize, value: &[u8]| bytes[at..at + value.len()].copy_from_slice(value);
        put(0, b"QFI\xfb");
        put(4, &3u32.to_be_bytes());
        put(20, &21u32.to_be_bytes());
        put(24, &(1u64 << 30).to_be_bytes());
        put(36, &1u32.to_be_bytes());
        put(40, &(3 * BASE_CLUSTER).to_be_bytes());
        put(48, &BASE_CLUSTER.to_be_bytes());
        put(56, &1u32.to_be_bytes());
        put(96, &4u32.to_be_bytes());
        put(100, &104u32.to_be_bytes());
        put(cluster, &(2 * BASE_CLUSTER).to_be_bytes());
        put(3 * cluster, &((4 * BASE_CLUSTER) | (1 << 63)).to_be_bytes());
        put(4 * cluster, &((5 * BASE_CLUSTER) | (1 << 63)).to_be_bytes());
        bytes
    }

    #[test]
    fn only_plain_large_clusters_are_a_base() {
        let cluster = BASE_CLUSTER as usize;
        assert!(is_base_style(&base().as_slice()).unwrap());
        let mut compressed = base();
        compressed[4 * cluster + 16] = 0x40;
        assert!(!is_base_style(&compressed.as_slice()).unwrap());
        let mut small = base();
        small[23] = 16;
        assert!(!is_base_style(&small.as_slice()).unwrap());
        assert!(!is_base_style(&&b"raw"[..]).unwrap());
        let mut backed = base();
        backed[15] = 200;
        backed[19] = 3;
        assert!(!is_base_style(&backed.as_slice()).unwrap());
    }
}
