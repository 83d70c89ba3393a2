//! Headers of the qcow2 files made for instances. An empty disk is four clusters, so it is written here without
//! starting a program.

/// log2 of the cluster size: 2 MiB.
const CLUSTER_BITS: u32 = 21;
const CLUSTER: u64 = 1 << CLUSTER_BITS;
const MAGIC: [u8; 4] = *b"QFI\xfb";
const HEADER_LENGTH: u32 = 104;
/// log2 of the bits of one reference count: 16.
const REFCOUNT_ORDER: u32 = 4;
const EXTENSION_BACKING_FORMAT: u32 = 0xe279_2aca;
/// Clusters of an empty file: header, reference table, reference block, L1 table.
const CLUSTERS: u64 = 4;
/// Largest virtual size whose L1 table fits one cluster.
const MAX_VIRTUAL_SIZE: u64 = (CLUSTER / 8) * (CLUSTER / 8) * CLUSTER;

/// A file to write: pieces at offsets, zeros elsewhere.
#[derive(Debug)]
pub(crate) struct Draft {
    pub(crate) pieces: Vec<(u64, Vec<u8>)>,
    pub(crate) length: u64,
}

/// What a header says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) virtual_size: u64,
    pub(crate) backing: Option<String>,
    pub(crate) backing_format: Option<String>,
}

/// An empty disk. `None`: the size is not a positive multiple of 512 within the format's reach here.
pub(crate) fn empty(virtual_size: u64, backing: Option<&str>) -> Option<Draft> {
    if virtual_size == 0 || !virtual_size.is_multiple_of(512) || virtual_size > MAX_VIRTUAL_SIZE {
        return None;
    }
    let per_table = CLUSTER / 8 * CLUSTER;
    let l1_entries = u32::try_from(virtual_size.div_ceil(per_table)).ok()?;
    let mut extensions = Vec::new();
    if backing.is_some() {
        extensions.extend(EXTENSION_BACKING_FORMAT.to_be_bytes());
        extensions.extend(5u32.to_be_bytes());
        extensions.extend(b"qcow2\0\0\0");
    }
    extensions.extend([0; 8]);
    let backing = backing.unwrap_or_default();
    let name_offset = if backing.is_empty() { 0 } else { u64::from(HEADER_LENGTH) + extensions.len() as u64 };

    let mut header = MAGIC.to_vec();
    header.extend(3u32.to_be_bytes());
    header.extend(name_offset.to_be_bytes());
    header.extend(u32::try_from(backing.len()).ok()?.to_be_bytes());
    header.extend(CLUSTER_BITS.to_be_bytes());
    header.extend(virtual_size.to_be_bytes());
    header.extend(0u32.to_be_bytes());
    header.extend(l1_entries.to_be_bytes());
    header.extend((3 * CLUSTER).to_be_bytes());
    header.extend(CLUSTER.to_be_bytes());
    header.extend(1u32.to_be_bytes());
    // Snapshots: none.
    header.extend([0; 12]);
    // Incompatible, compatible and autoclear features: none.
    header.extend([0; 24]);
    header.extend(REFCOUNT_ORDER.to_be_bytes());
    header.extend(HEADER_LENGTH.to_be_bytes());
    header.extend(extensions);
    header.extend(backing.as_bytes());

    let table = (2 * CLUSTER).to_be_bytes().to_vec();
    let block = (0..CLUSTERS).flat_map(|_| 1u16.to_be_bytes()).collect();
    Some(Draft {
        pieces: vec![(0, header), (CLUSTER, table), (2 * CLUSTER, block)],
        length: CLUSTERS * CLUSTER,
    })
}

/// Reads a header from the first bytes of a file. `None`: not qcow2, or not consistent.
pub(crate) fn parse(bytes: &[u8]) -> Option<Header> {
    let long = |at: usize| bytes.get(at..at + 8)?.try_into().ok().map(u64::from_be_bytes);
    let short = |at: usize| bytes.get(at..at + 4)?.try_into().ok().map(u32::from_be_bytes);
    if bytes.get(..4)? != MAGIC || !matches!(short(4)?, 2 | 3) {
        return None;
    }
    let name_at = usize::try_from(long(8)?).ok()?;
    let name_length = usize::try_from(short(16)?).ok()?;
    let backing = match name_at {
        0 => None,
        _ => Some(String::from_utf8(bytes.get(name_at..name_at.checked_add(name_length)?)?.to_vec()).ok()?),
    };
    let mut at = if short(4)? == 2 { 72 } else { usize::try_from(short(100)?).ok()? };
    let mut backing_format = None;
    while let (Some(kind), Some(length)) = (short(at), short(at + 4)) {
        let length = usize::try_from(length).ok()?;
        match kind {
            0 => break,
            EXTENSION_BACKING_FORMAT => {
                let text = bytes.get(at + 8..(at + 8).checked_add(length)?)?;
                backing_format = Some(String::from_utf8(text.to_vec()).ok()?);
            }
            _ => {}
        }
        at = (at + 8).checked_add(length.checked_next_multiple_of(8)?)?;
    }
    Some(Header { virtual_size: long(24)?, backing, backing_format })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_is_written_is_read_back() {
        for (size, backing) in [(512, None), (8 << 30, Some("/store/image_cache/x.qcow2")), (64 << 40, None)]
        {
            let draft = empty(size, backing).unwrap();
            let header = parse(&draft.pieces[0].1).unwrap();
            assert_eq!((header.virtual_size, header.backing.as_deref()), (size, backing));
            assert_eq!(header.backing_format.as_deref(), backing.map(|_| "qcow2"));
        }
        for bad in [0, 511, 513, u64::MAX] {
            assert!(empty(bad, None).is_none(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_upset_the_reader(bytes in proptest::collection::vec(any::<u8>(), 0..300), magic in any::<bool>()) {
            let mut bytes = bytes;
            if magic && bytes.len() > 8 {
                bytes.splice(..8, [0x51, 0x46, 0x49, 0xfb, 0, 0, 0, 3]);
            }
            let _ = parse(&bytes);
        }
    }
}
