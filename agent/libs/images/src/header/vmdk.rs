//! VMware images: only those that are one file with its description inside.

use super::fields::Fields;
use super::source::Input;
use super::{Facts, Stop, refuse};

const SECTOR: u64 = 512;
const MAX_DESCRIPTOR_SECTORS: u64 = 128;

pub(super) fn parse(input: &Input<'_>) -> Result<Facts, Stop> {
    let fields = Fields(input.prefix());
    if fields.bytes(0, 4)? != b"KDMV" {
        return refuse("extent", "it is a description that names other files");
    }
    let capacity = fields.le64(12)?;
    // QEMU takes a sparse header without capacity for a description and opens the files it names.
    if capacity == 0 {
        return refuse("extent", "it has no capacity of its own");
    }
    let (offset, sectors) = (fields.le64(28)?, fields.le64(36)?);
    if offset == 0 || sectors == 0 {
        return refuse("extent", "its description is in another file");
    }
    if sectors > MAX_DESCRIPTOR_SECTORS {
        return refuse("tables", "its description is too long");
    }
    let descriptor = input.table("description", offset.saturating_mul(SECTOR), sectors * SECTOR)?;
    check_descriptor(&String::from_utf8_lossy(&descriptor))?;
    let grain = fields.le64(20)?;
    if grain == 0 || !grain.is_power_of_two() || grain > (64 << 20) / SECTOR {
        return refuse("cluster_size", "its grain size is not possible");
    }
    match capacity.checked_mul(SECTOR) {
        Some(virtual_size) => {
            Ok(Facts { virtual_size, cluster_size: Some(grain * SECTOR), details: Vec::new() })
        }
        None => refuse("virtual_size", "it describes a disk of more than 2^64 bytes"),
    }
}

fn check_descriptor(text: &str) -> Result<(), Stop> {
    let mut extents = 0;
    let mut kind = None;
    for line in text.trim_end_matches('\0').lines().map(str::trim) {
        let word = line.split_whitespace().next().unwrap_or_default();
        if matches!(word.to_ascii_uppercase().as_str(), "RW" | "RDONLY" | "NOACCESS") {
            check_extent(line)?;
            extents += 1;
        } else if let Some((key, value)) = line.split_once('=') {
            let value = value.trim().trim_matches('"');
            match key.trim().to_ascii_lowercase().as_str() {
                "createtype" => kind = Some(value.to_owned()),
                "parentcid" if !value.eq_ignore_ascii_case("ffffffff") => {
                    return refuse("parent", "it has a parent image");
                }
                "parentfilenamehint" => return refuse("parent", "it names a parent image"),
                _ => {}
            }
        }
    }
    match kind.as_deref() {
        Some("monolithicSparse" | "streamOptimized") => {}
        other => {
            return refuse(
                "extent",
                format!("its type {:?} is not one self-contained file", other.unwrap_or("unknown")),
            );
        }
    }
    if extents == 1 { Ok(()) } else { refuse("extent", format!("it consists of {extents} extents")) }
}

/// `RW <sectors> SPARSE "<name>"`. The name is that of the image itself when it was made; only its being a plain
/// file name can still be checked.
fn check_extent(line: &str) -> Result<(), Stop> {
    let kind = line.split_whitespace().nth(2).unwrap_or_default();
    let name = line.split_once('"').and_then(|(_, rest)| rest.split_once('"')).map(|(name, _)| name);
    match name {
        Some(name) if kind.eq_ignore_ascii_case("SPARSE") && !name.contains(['/', '\\', ':', '\0']) => Ok(()),
        _ => refuse("extent", "it names another file as an extent"),
    }
}
