//! Microsoft VHDX: two headers, a region table, and metadata items found by their GUIDs.

use super::fields::Fields;
use super::source::Input;
use super::{Facts, Stop, refuse};

const KIB: u64 = 1024;
const HEADERS: [u64; 2] = [64 * KIB, 128 * KIB];
const REGION_TABLE: u64 = 192 * KIB;

/// GUIDs as they are on disk.
pub(super) const METADATA_REGION: [u8; 16] =
    [0x06, 0xa2, 0x7c, 0x8b, 0x90, 0x47, 0x9a, 0x4b, 0xb8, 0xfe, 0x57, 0x5f, 0x05, 0x0f, 0x88, 0x6e];
pub(super) const FILE_PARAMETERS: [u8; 16] =
    [0x37, 0x67, 0xa1, 0xca, 0x36, 0xfa, 0x43, 0x4d, 0xb3, 0xb6, 0x33, 0xf0, 0xaa, 0x44, 0xe7, 0x6b];
pub(super) const VIRTUAL_DISK_SIZE: [u8; 16] =
    [0x24, 0x42, 0xa5, 0x2f, 0x1b, 0xcd, 0x76, 0x48, 0xb2, 0x11, 0x5d, 0xbe, 0xd8, 0x3b, 0xf4, 0xb8];
pub(super) const PARENT_LOCATOR: [u8; 16] =
    [0x2d, 0x5f, 0xd3, 0xa8, 0x0b, 0xb3, 0x4d, 0x45, 0xab, 0xf7, 0xd3, 0xd8, 0x48, 0x34, 0xab, 0x0c];
const HAS_PARENT: u32 = 1 << 1;

pub(super) fn parse(input: &Input<'_>) -> Result<Facts, Stop> {
    check_log(input)?;
    let (offset, length) = find_metadata(input)?;
    let table = input.table("metadata table", offset, 64 * KIB)?;
    let fields = Fields(&table);
    if fields.bytes(0, 8)? != b"metadata" {
        return refuse("header", "its metadata table is missing");
    }
    let mut virtual_size = None;
    let mut block_size = None;
    for entry in 0..usize::from(fields.le16(10)?).min(2047) {
        let at = 32 + entry * 32;
        let (item, item_length) = (u64::from(fields.le32(at + 16)?), u64::from(fields.le32(at + 20)?));
        if item.saturating_add(item_length) > length {
            return refuse("outside", "a metadata item is outside its region");
        }
        let guid: [u8; 16] = fields.array(at)?;
        if guid == PARENT_LOCATOR {
            return refuse("parent", "it has a parent image");
        } else if guid == FILE_PARAMETERS {
            let item = input.table("file parameters", offset + item, 8)?;
            if Fields(&item).le32(4)? & HAS_PARENT != 0 {
                return refuse("parent", "it has a parent image");
            }
            block_size = Some(u64::from(Fields(&item).le32(0)?));
        } else if guid == VIRTUAL_DISK_SIZE {
            let item = input.table("disk size", offset + item, 8)?;
            virtual_size = Some(Fields(&item).le64(0)?);
        }
    }
    match (virtual_size, block_size) {
        (Some(virtual_size), Some(block)) => {
            Ok(Facts { virtual_size, cluster_size: Some(block), details: Vec::new() })
        }
        _ => refuse("header", "its size is missing"),
    }
}

/// The current header is the valid one with the higher sequence number; a log in it would have to be replayed.
fn check_log(input: &Input<'_>) -> Result<(), Stop> {
    let mut current: Option<(u64, bool)> = None;
    for offset in HEADERS {
        let header = input.table("header", offset, 4 * KIB)?;
        let fields = Fields(&header);
        if fields.bytes(0, 4)? != b"head" || fields.le32(4)? != crc32c_without_own_field(&header) {
            continue;
        }
        let sequence = fields.le64(8)?;
        let has_log = fields.bytes(48, 16)?.iter().any(|byte| *byte != 0);
        if current.is_none_or(|(known, _)| sequence > known) {
            current = Some((sequence, has_log));
        }
    }
    match current {
        Some((_, false)) => Ok(()),
        Some((_, true)) => refuse("log", "it was not closed: its log would have to be replayed"),
        None => refuse("header", "it has no valid header"),
    }
}

fn find_metadata(input: &Input<'_>) -> Result<(u64, u64), Stop> {
    let table = input.table("region table", REGION_TABLE, 64 * KIB)?;
    let fields = Fields(&table);
    if fields.bytes(0, 4)? != b"regi" {
        return refuse("header", "its region table is missing");
    }
    for entry in 0..usize::try_from(fields.le32(8)?).unwrap_or(usize::MAX).min(2047) {
        let at = 16 + entry * 32;
        if fields.array::<16>(at)? == METADATA_REGION {
            let (offset, length) = (fields.le64(at + 16)?, u64::from(fields.le32(at + 24)?));
            input.inside("metadata region", offset, length)?;
            return Ok((offset, length));
        }
    }
    refuse("header", "its metadata region is missing")
}

/// CRC-32C (Castagnoli) with the checksum field itself taken as zero. Bit by bit: it runs over 4 KiB twice.
pub(super) fn crc32c_without_own_field(header: &[u8]) -> u32 {
    let mut crc = u32::MAX;
    for (at, byte) in header.iter().enumerate() {
        let byte = if (4..8).contains(&at) { 0 } else { *byte };
        crc ^= u32::from(byte);
        for _ in 0..8 {
            crc = if crc & 1 == 1 { (crc >> 1) ^ 0x82f6_3b78 } else { crc >> 1 };
        }
    }
    !crc
}
