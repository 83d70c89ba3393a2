//! VDI, QED and Parallels images.

use super::{Row, le32, le64, put};

pub(super) fn vdi() -> Vec<u8> {
    let mut b = vec![0; 2 << 20];
    put(&mut b, 64, &[0x7f, 0x10, 0xda, 0xbe]);
    le32(&mut b, 68, 0x0001_0001);
    le32(&mut b, 76, 1);
    le32(&mut b, 340, 512);
    le32(&mut b, 344, 1 << 20);
    le64(&mut b, 368, 4 << 20);
    le32(&mut b, 376, 1 << 20);
    le32(&mut b, 384, 4);
    le32(&mut b, 388, 1);
    b
}

pub(super) const VDI: &[Row] = &[
    ("vdi", |_| {}, None),
    ("vdi static", |b| le32(b, 76, 2), None),
    ("vdi differencing", |b| le32(b, 76, 4), Some("parent")),
    ("vdi undo", |b| le32(b, 76, 3), Some("parent")),
    ("vdi parent uuid", |b| b[441] = 1, Some("parent")),
    ("vdi version", |b| le32(b, 68, 0x0001_0000), Some("version")),
    ("vdi block", |b| le32(b, 376, 512), Some("cluster_size")),
    ("vdi map too small", |b| le32(b, 384, 3), Some("tables")),
    ("vdi map outside", |b| le32(b, 340, u32::MAX), Some("outside")),
];

pub(super) fn qed() -> Vec<u8> {
    let mut b = vec![0; 1 << 20];
    put(&mut b, 0, b"QED\0");
    le32(&mut b, 4, 1 << 16);
    le32(&mut b, 8, 4);
    le32(&mut b, 12, 1);
    le64(&mut b, 40, 1 << 16);
    le64(&mut b, 48, 1 << 30);
    b
}

pub(super) const QED: &[Row] = &[
    ("qed", |_| {}, None),
    (
        "qed backing",
        |b| {
            le64(b, 16, 1);
            le32(b, 60, 4);
        },
        Some("backing_file"),
    ),
    ("qed backing without its bit", |b| le32(b, 60, 4), Some("backing_file")),
    ("qed feature", |b| le64(b, 16, 1 << 20), Some("feature")),
    ("qed table outside", |b| le64(b, 40, 1 << 40), Some("outside")),
    ("qed cluster", |b| le32(b, 4, 3), Some("cluster_size")),
];

pub(super) fn parallels() -> Vec<u8> {
    let mut b = vec![0; 1 << 16];
    put(&mut b, 0, b"WithoutFreeSpace");
    le32(&mut b, 16, 2);
    le32(&mut b, 28, 63);
    le32(&mut b, 32, 100);
    le64(&mut b, 36, 6300);
    b
}

pub(super) const PARALLELS: &[Row] = &[
    ("parallels", |_| {}, None),
    ("parallels extended", |b| put(b, 0, b"WithouFreSpacExt"), None),
    ("parallels open", |b| le32(b, 44, 0x746f_6e59), Some("corrupt")),
    ("parallels extension", |b| le64(b, 56, 64), Some("feature")),
    ("parallels version", |b| le32(b, 16, 3), Some("version")),
    ("parallels table", |b| le32(b, 32, u32::MAX), Some("outside")),
    ("parallels size", |b| le64(b, 36, 6301), Some("tables")),
    ("parallels track", |b| le32(b, 28, 0), Some("cluster_size")),
];
