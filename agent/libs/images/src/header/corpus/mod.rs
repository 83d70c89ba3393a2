//! Crafted images: of each format a good one, then the good one with one thing wrong.

use sf_model::BlobId;

mod microsoft;
mod others;
mod qcow2;
mod vmdk;

use super::{Format, Rules};

pub(super) struct Case {
    pub(super) name: &'static str,
    pub(super) bytes: Vec<u8>,
    pub(super) format: Format,
    pub(super) rules: Rules,
    pub(super) refused: Option<&'static str>,
}

const RULES: Rules = Rules { max_virtual_size: 16 << 40, parent: None };
const PARENT: &str = "3f2504e0-4f89-41d3-9a0c-0305e82c3301";

type Edit = fn(&mut Vec<u8>);
type Row = (&'static str, Edit, Option<&'static str>);

pub(super) fn corpus() -> Vec<Case> {
    let mut cases = Vec::new();
    let mut add = |format, good: fn() -> Vec<u8>, rules: Rules, rows: &[Row]| {
        for (name, edit, refused) in rows {
            let mut bytes = good();
            edit(&mut bytes);
            cases.push(Case { name, bytes, format, rules, refused: *refused });
        }
    };
    add(Format::Qcow2, qcow2::qcow2, RULES, qcow2::QCOW2);
    let parent = Rules { parent: PARENT.parse::<BlobId>().ok(), ..RULES };
    add(Format::Qcow2, qcow2::thin, parent, qcow2::THIN);
    add(Format::Vmdk, vmdk::vmdk, RULES, vmdk::VMDK);
    add(Format::Vhd, microsoft::vhd_fixed, RULES, microsoft::VHD_FIXED);
    add(Format::Vhd, microsoft::vhd_dynamic, RULES, microsoft::VHD_DYNAMIC);
    add(Format::Vhdx, microsoft::vhdx_image, RULES, microsoft::VHDX);
    add(Format::Vdi, others::vdi, RULES, others::VDI);
    add(Format::Qed, others::qed, RULES, others::QED);
    add(Format::Parallels, others::parallels, RULES, others::PARALLELS);
    for (format, at, magic) in [
        (Format::Iso, 32769, &b"CD001"[..]),
        (Format::Tar, 257, b"ustar"),
        (Format::Gzip, 0, &[0x1f, 0x8b, 8]),
        (Format::Xz, 0, b"\xfd7zXZ\0"),
        (Format::Zstd, 0, &[0x28, 0xb5, 0x2f, 0xfd]),
        (Format::Bzip2, 0, b"BZh91AY"),
        (Format::Raw, 510, &[0x55, 0xaa]),
    ] {
        let mut bytes = vec![0; 64 * 1024];
        put(&mut bytes, at, magic);
        cases.push(Case { name: format.as_str(), bytes, format, rules: RULES, refused: None });
    }
    cases
}

fn put(bytes: &mut [u8], at: usize, value: &[u8]) {
    bytes[at..at + value.len()].copy_from_slice(value);
}

fn be32(bytes: &mut [u8], at: usize, value: u32) {
    put(bytes, at, &value.to_be_bytes());
}

fn be64(bytes: &mut [u8], at: usize, value: u64) {
    put(bytes, at, &value.to_be_bytes());
}

fn le32(bytes: &mut [u8], at: usize, value: u32) {
    put(bytes, at, &value.to_le_bytes());
}

fn le64(bytes: &mut [u8], at: usize, value: u64) {
    put(bytes, at, &value.to_le_bytes());
}
