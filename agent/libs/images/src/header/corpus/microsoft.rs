//! VHD and VHDX images.

use super::super::vhdx;
use super::{Row, be32, be64, le32, le64, put};

fn footer(b: &mut [u8], at: usize, kind: u32, size: u64, header: u64) {
    put(b, at, b"conectix");
    be64(b, at + 16, header);
    be64(b, at + 48, size);
    be32(b, at + 60, kind);
}

pub(super) fn vhd_fixed() -> Vec<u8> {
    let mut b = vec![0; 4096 + 512];
    footer(&mut b, 4096, 2, 4096, u64::MAX);
    b
}

pub(super) const VHD_FIXED: &[Row] = &[
    ("vhd fixed", |_| {}, None),
    ("vhd fixed, shorter than it says", |b| be64(b, 4096 + 48, 8192), Some("outside")),
    ("vhd differencing", |b| be32(b, 4096 + 60, 4), Some("parent")),
];

pub(super) fn vhd_dynamic() -> Vec<u8> {
    let mut b = vec![0; 8192];
    footer(&mut b, 0, 3, 1 << 20, 512);
    footer(&mut b, 8192 - 512, 3, 1 << 20, 512);
    put(&mut b, 512, b"cxsparse");
    be64(&mut b, 512 + 16, 2048);
    be32(&mut b, 512 + 28, 1);
    be32(&mut b, 512 + 32, 2 << 20);
    b
}

pub(super) const VHD_DYNAMIC: &[Row] = &[
    ("vhd dynamic", |_| {}, None),
    ("vhd without its end", |b| b.truncate(4096), None),
    ("vhd two sizes", |b| be64(b, 48, 1 << 21), Some("header")),
    ("vhd front differencing", |b| be32(b, 60, 4), Some("header")),
    ("vhd parent", |b| b[512 + 45] = 1, Some("parent")),
    (
        "vhd header outside",
        |b| {
            be64(b, 16, 1 << 40);
            be64(b, 8192 - 512 + 16, 1 << 40);
        },
        Some("outside"),
    ),
    ("vhd header missing", |b| b[512] = 0, Some("header")),
    ("vhd table outside", |b| be32(b, 512 + 28, u32::MAX), Some("outside")),
    ("vhd block", |b| be32(b, 512 + 32, 3), Some("cluster_size")),
];

pub(super) fn vhdx_image() -> Vec<u8> {
    let mut b = vec![0; 512 * 1024];
    put(&mut b, 0, b"vhdxfile");
    for (at, sequence) in [(64 << 10, 7u64), (128 << 10, 8)] {
        put(&mut b, at, b"head");
        le64(&mut b, at + 8, sequence);
        seal(&mut b, at);
    }
    let regions = 192 << 10;
    put(&mut b, regions, b"regi");
    le32(&mut b, regions + 8, 1);
    put(&mut b, regions + 16, &vhdx::METADATA_REGION);
    le64(&mut b, regions + 32, 256 << 10);
    le32(&mut b, regions + 40, 256 << 10);
    let meta = 256 << 10;
    put(&mut b, meta, b"metadata");
    put(&mut b, meta + 10, &2u16.to_le_bytes());
    for (at, guid, offset) in
        [(meta + 32, vhdx::FILE_PARAMETERS, 65536), (meta + 64, vhdx::VIRTUAL_DISK_SIZE, 65544)]
    {
        put(&mut b, at, &guid);
        le32(&mut b, at + 16, offset);
        le32(&mut b, at + 20, 8);
    }
    le32(&mut b, meta + 65536, 1 << 20);
    le64(&mut b, meta + 65544, 1 << 30);
    b
}

fn seal(b: &mut [u8], at: usize) {
    let crc = vhdx::crc32c_without_own_field(&b[at..at + 4096]);
    le32(b, at + 4, crc);
}

pub(super) const VHDX: &[Row] = &[
    ("vhdx", |_| {}, None),
    (
        "vhdx old log",
        |b| {
            b[(64 << 10) + 48] = 1;
            seal(b, 64 << 10);
        },
        None,
    ),
    (
        "vhdx log",
        |b| {
            b[(128 << 10) + 48] = 1;
            seal(b, 128 << 10);
        },
        Some("log"),
    ),
    (
        "vhdx log in the only valid header",
        |b| {
            b[(64 << 10) + 48] = 1;
            seal(b, 64 << 10);
            b[128 << 10] = 0;
        },
        Some("log"),
    ),
    (
        "vhdx no valid header",
        |b| {
            b[(64 << 10) + 99] = 1;
            b[(128 << 10) + 99] = 1;
        },
        Some("header"),
    ),
    ("vhdx has parent", |b| le32(b, (256 << 10) + 65540, 2), Some("parent")),
    ("vhdx parent locator", |b| put(b, (256 << 10) + 64, &vhdx::PARENT_LOCATOR), Some("parent")),
    ("vhdx without size", |b| b[(256 << 10) + 64] = 0, Some("header")),
    ("vhdx region outside", |b| le64(b, (192 << 10) + 32, 1 << 40), Some("outside")),
    ("vhdx item outside", |b| le32(b, (256 << 10) + 48, u32::MAX), Some("outside")),
    ("vhdx cut", |b| b.truncate(100), Some("outside")),
];
