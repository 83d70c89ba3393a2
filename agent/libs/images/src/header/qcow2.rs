//! qcow2, versions 2 and 3. Field offsets are those of QEMU's `docs/interop/qcow2.txt`.

use super::fields::Fields;
use super::source::Input;
use super::{Facts, Rules, Stop, refuse};

const DIRTY: u64 = 1;
const CORRUPT: u64 = 1 << 1;
const EXTERNAL_DATA: u64 = 1 << 2;
const COMPRESSION_TYPE: u64 = 1 << 3;
const EXTENDED_L2: u64 = 1 << 4;
const KNOWN_INCOMPATIBLE: u64 = DIRTY | CORRUPT | EXTERNAL_DATA | COMPRESSION_TYPE | EXTENDED_L2;

const EXTENSION_END: u32 = 0;
const EXTENSION_DATA_FILE: u32 = 0x4441_5441;
const EXTENSION_ENCRYPTION: u32 = 0x0537_be77;

/// Header, L1 and refcount tables together.
const MAX_TABLES: u64 = 64 << 20;
const MAX_SNAPSHOTS: u32 = 16;
/// Bits 9 to 55 of a table entry are the offset it points to.
const OFFSET_MASK: u64 = 0x00ff_ffff_ffff_fe00;

struct Header {
    version: u32,
    backing: Option<(u64, u32)>,
    cluster_bits: u32,
    size: u64,
    l1_entries: u32,
    l1_offset: u64,
    refcount_offset: u64,
    refcount_clusters: u32,
    snapshots: (u32, u64),
    incompatible: u64,
    length: u32,
    compression: u8,
}

impl Header {
    fn cluster(&self) -> u64 {
        1 << self.cluster_bits
    }

    fn has(&self, feature: u64) -> bool {
        self.incompatible & feature != 0
    }
}

pub(super) fn parse(input: &Input<'_>, rules: &Rules) -> Result<Facts, Stop> {
    let fields = Fields(input.prefix());
    let header = read_header(fields)?;
    check_features(&header)?;
    check_extensions(fields, &header)?;
    check_backing(input, &header, rules)?;
    check_tables(input, &header)?;
    let flag = |on: bool| if on { "true" } else { "false" }.to_owned();
    Ok(Facts {
        virtual_size: header.size,
        cluster_size: Some(header.cluster()),
        details: vec![
            ("compat", if header.version == 2 { "0.10" } else { "1.1" }.to_owned()),
            ("compression type", if header.compression == 1 { "zstd" } else { "zlib" }.to_owned()),
            ("extended l2", flag(header.has(EXTENDED_L2))),
            ("snapshots", header.snapshots.0.to_string()),
            ("backing file", flag(header.backing.is_some())),
        ],
    })
}

fn read_header(fields: Fields<'_>) -> Result<Header, Stop> {
    let version = fields.be32(4)?;
    if version != 2 && version != 3 {
        return refuse("version", format!("qcow version {version} is not supported, only 2 and 3"));
    }
    let cluster_bits = fields.be32(20)?;
    if !(9..=21).contains(&cluster_bits) {
        return refuse("cluster_size", format!("a cluster of 2^{cluster_bits} bytes is not possible"));
    }
    match fields.be32(32)? {
        0 => {}
        _ => return refuse("encrypted", "it is encrypted"),
    }
    let mut header = Header {
        version,
        backing: Some((fields.be64(8)?, fields.be32(16)?))
            .filter(|(offset, length)| *offset != 0 || *length != 0),
        cluster_bits,
        size: fields.be64(24)?,
        l1_entries: fields.be32(36)?,
        l1_offset: fields.be64(40)?,
        refcount_offset: fields.be64(48)?,
        refcount_clusters: fields.be32(56)?,
        snapshots: (fields.be32(60)?, fields.be64(64)?),
        incompatible: 0,
        length: 72,
        compression: 0,
    };
    if version == 3 {
        header.incompatible = fields.be64(72)?;
        header.length = fields.be32(100)?;
        if header.length < 104
            || !header.length.is_multiple_of(8)
            || u64::from(header.length) > header.cluster()
        {
            return refuse("header", format!("a header of {} bytes is not possible", header.length));
        }
        if fields.be32(96)? > 6 {
            return refuse("refcount", "its reference counts are wider than 64 bits");
        }
        if header.length > 104 {
            header.compression = fields.array::<1>(104)?[0];
        }
    }
    Ok(header)
}

fn check_features(header: &Header) -> Result<(), Stop> {
    if header.has(EXTERNAL_DATA) {
        return refuse("data_file", "its data is in another file");
    }
    if header.has(CORRUPT) {
        return refuse("corrupt", "it is marked as corrupt");
    }
    if header.incompatible & !KNOWN_INCOMPATIBLE != 0 {
        return refuse(
            "feature",
            format!("it needs features this program does not know ({:#x})", header.incompatible),
        );
    }
    if header.compression > 1 || (header.compression != 0) != header.has(COMPRESSION_TYPE) {
        return refuse("feature", "its compression type is not known");
    }
    if header.has(EXTENDED_L2) && header.cluster_bits < 14 {
        return refuse("cluster_size", "its clusters are too small for sub-clusters");
    }
    if header.snapshots.0 > MAX_SNAPSHOTS {
        return refuse(
            "snapshots",
            format!("it has {} internal snapshots, more than {MAX_SNAPSHOTS}", header.snapshots.0),
        );
    }
    Ok(())
}

/// Walks the header extensions, which end at the backing name or the first cluster.
fn check_extensions(fields: Fields<'_>, header: &Header) -> Result<(), Stop> {
    let end = header.backing.map_or(header.cluster(), |(offset, _)| offset).min(header.cluster());
    let end = usize::try_from(end).unwrap_or(usize::MAX).min(fields.0.len());
    let mut at = usize::try_from(header.length).unwrap_or(usize::MAX);
    while at.checked_add(8).is_some_and(|next| next <= end) {
        let (kind, length) = (fields.be32(at)?, fields.be32(at + 4)?);
        match kind {
            EXTENSION_END => return Ok(()),
            EXTENSION_DATA_FILE => return refuse("data_file", "it names an external data file"),
            EXTENSION_ENCRYPTION => return refuse("encrypted", "it has an encryption header"),
            _ => {}
        }
        let padded = usize::try_from(length).ok().and_then(|length| length.checked_next_multiple_of(8));
        match padded.and_then(|padded| at.checked_add(8)?.checked_add(padded)) {
            Some(next) if next <= end => at = next,
            _ => return refuse("header", "a header extension is longer than the header"),
        }
    }
    Ok(())
}

fn check_backing(input: &Input<'_>, header: &Header, rules: &Rules) -> Result<(), Stop> {
    let Some((offset, length)) = header.backing else { return Ok(()) };
    let Some(parent) = rules.parent else { return refuse("backing_file", "it names a backing file") };
    if length > 1023 || offset.saturating_add(u64::from(length)) > header.cluster() {
        return refuse("header", "its backing name is outside the header");
    }
    let name = input.table("backing name", offset, u64::from(length))?;
    if name == format!("{parent}.qcow2").as_bytes() {
        Ok(())
    } else {
        refuse("backing_file", "it names another backing file than its parent")
    }
}

fn check_tables(input: &Input<'_>, header: &Header) -> Result<(), Stop> {
    let l1_bytes = u64::from(header.l1_entries) * 8;
    let refcount_bytes = u64::from(header.refcount_clusters) * header.cluster();
    if header.cluster() + l1_bytes + refcount_bytes > MAX_TABLES {
        return refuse("tables", "its tables are larger than 64 MiB");
    }
    let entry = if header.has(EXTENDED_L2) { 16 } else { 8 };
    // One L1 entry maps one L2 table, which fills a cluster.
    let mapped_by_one = header.cluster() * (header.cluster() / entry);
    if u64::from(header.l1_entries) < header.size.div_ceil(mapped_by_one) {
        return refuse("tables", "its L1 table is too small for its size");
    }
    let tables = [
        Extent { what: "header", offset: 0, length: u64::from(header.length) },
        Extent { what: "L1 table", offset: header.l1_offset, length: l1_bytes },
        Extent { what: "refcount table", offset: header.refcount_offset, length: refcount_bytes },
    ];
    for table in tables.iter().filter(|table| table.length > 0) {
        aligned(header, table.what, table.offset)?;
        input.inside(table.what, table.offset, table.length)?;
    }
    for (at, table) in tables.iter().enumerate() {
        if tables.iter().skip(at + 1).any(|other| table.overlaps(other)) {
            return refuse("overlap", "its tables overlap");
        }
    }
    if header.snapshots.0 > 0 {
        aligned(header, "snapshot table", header.snapshots.1)?;
        input.inside("snapshot table", header.snapshots.1, 40)?;
    }
    let [_, l1, refcount] = &tables;
    check_entries(input, header, l1, &tables)?;
    check_entries(input, header, refcount, &tables)
}

/// Every entry of a table points to a cluster inside the file that is not itself a table of the header.
fn check_entries(input: &Input<'_>, header: &Header, table: &Extent, tables: &[Extent]) -> Result<(), Stop> {
    let bytes = input.table(table.what, table.offset, table.length)?;
    for entry in bytes.chunks_exact(8) {
        let offset = Fields(entry).be64(0)? & OFFSET_MASK;
        if offset == 0 {
            continue;
        }
        aligned(header, table.what, offset)?;
        if offset >= input.size() {
            return refuse("outside", format!("its {} points outside the file", table.what));
        }
        let target = Extent { what: "", offset, length: 1 };
        if tables.iter().any(|other| other.overlaps(&target)) {
            return refuse("overlap", format!("its {} points to a table of the header", table.what));
        }
    }
    Ok(())
}

fn aligned(header: &Header, what: &str, offset: u64) -> Result<(), Stop> {
    if offset.is_multiple_of(header.cluster()) {
        Ok(())
    } else {
        refuse("alignment", format!("its {what} is not aligned to a cluster"))
    }
}

struct Extent {
    what: &'static str,
    offset: u64,
    length: u64,
}

impl Extent {
    fn overlaps(&self, other: &Self) -> bool {
        self.length > 0
            && other.length > 0
            && self.offset < other.offset.saturating_add(other.length)
            && other.offset < self.offset.saturating_add(self.length)
    }
}
