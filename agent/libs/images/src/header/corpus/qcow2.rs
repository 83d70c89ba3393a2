//! qcow2 images.

use super::{PARENT, Row, be32, be64, put};

/// Version 3, 64 KiB clusters, 1 GiB: header, refcount table, refcount block, L1, L2.
pub(super) fn qcow2() -> Vec<u8> {
    let mut b = vec![0; 5 << 16];
    put(&mut b, 0, b"QFI\xfb");
    be32(&mut b, 4, 3);
    be32(&mut b, 20, 16);
    be64(&mut b, 24, 1 << 30);
    be32(&mut b, 36, 2);
    be64(&mut b, 40, 3 << 16);
    be64(&mut b, 48, 1 << 16);
    be32(&mut b, 56, 1);
    be32(&mut b, 96, 4);
    be32(&mut b, 100, 112);
    be64(&mut b, 1 << 16, 2 << 16);
    be64(&mut b, 3 << 16, (4 << 16) | (1 << 63));
    b
}

pub(super) const QCOW2: &[Row] = &[
    ("qcow2 v3", |_| {}, None),
    (
        "qcow2 v2",
        |b| {
            be32(b, 4, 2);
            b[72..112].fill(0);
        },
        None,
    ),
    ("qcow2 dirty", |b| be64(b, 72, 1), None),
    (
        "qcow2 zstd",
        |b| {
            be64(b, 72, 8);
            b[104] = 1;
        },
        None,
    ),
    (
        "qcow2 extended l2",
        |b| {
            be64(b, 72, 16);
            be32(b, 36, 4);
        },
        None,
    ),
    (
        "qcow2 feature names",
        |b| {
            be32(b, 112, 0x6803_f857);
            be32(b, 116, 48);
        },
        None,
    ),
    (
        "qcow2 16 snapshots",
        |b| {
            be32(b, 60, 16);
            be64(b, 64, 4 << 16);
        },
        None,
    ),
    (
        "qcow2 ends inside the last table",
        |b| {
            b.truncate((3 << 16) + 16);
            be64(b, 3 << 16, 0);
        },
        None,
    ),
    ("qcow1", |b| be32(b, 4, 1), Some("version")),
    ("qcow2 v4", |b| be32(b, 4, 4), Some("version")),
    (
        "qcow2 backing",
        |b| {
            be64(b, 8, 112);
            be32(b, 16, 11);
            put(b, 112, b"/etc/shadow");
        },
        Some("backing_file"),
    ),
    (
        "qcow2 backing json",
        |b| {
            be64(b, 8, 200);
            be32(b, 16, 6);
            put(b, 200, b"json:{");
        },
        Some("backing_file"),
    ),
    ("qcow2 backing length without offset", |b| be32(b, 16, 4), Some("backing_file")),
    ("qcow2 data file bit", |b| be64(b, 72, 4), Some("data_file")),
    (
        "qcow2 data file extension",
        |b| {
            be32(b, 112, 0x4441_5441);
            be32(b, 116, 8);
        },
        Some("data_file"),
    ),
    (
        "qcow2 data file behind another extension",
        |b| {
            be32(b, 112, 7);
            be32(b, 116, 3);
            be32(b, 128, 0x4441_5441);
        },
        Some("data_file"),
    ),
    ("qcow2 aes", |b| be32(b, 32, 1), Some("encrypted")),
    ("qcow2 luks", |b| be32(b, 32, 2), Some("encrypted")),
    (
        "qcow2 luks extension",
        |b| {
            be32(b, 112, 0x0537_be77);
            be32(b, 116, 16);
        },
        Some("encrypted"),
    ),
    ("qcow2 unknown feature", |b| be64(b, 72, 1 << 40), Some("feature")),
    ("qcow2 corrupt", |b| be64(b, 72, 2), Some("corrupt")),
    ("qcow2 compression without its bit", |b| b[104] = 1, Some("feature")),
    (
        "qcow2 unknown compression",
        |b| {
            be64(b, 72, 8);
            b[104] = 2;
        },
        Some("feature"),
    ),
    ("qcow2 tiny cluster", |b| be32(b, 20, 8), Some("cluster_size")),
    ("qcow2 huge cluster", |b| be32(b, 20, 22), Some("cluster_size")),
    ("qcow2 cluster bits overflow", |b| be32(b, 20, u32::MAX), Some("cluster_size")),
    ("qcow2 2^63 bytes", |b| be64(b, 24, 1 << 63), Some("tables")),
    ("qcow2 odd size", |b| be64(b, 24, (1 << 30) - 1), Some("virtual_size")),
    ("qcow2 short l1", |b| be32(b, 36, 1), Some("tables")),
    ("qcow2 huge l1", |b| be32(b, 36, u32::MAX), Some("tables")),
    ("qcow2 l1 outside", |b| be64(b, 40, 99 << 16), Some("outside")),
    ("qcow2 l1 wraps", |b| be64(b, 40, 0xffff_ffff_ffff_0000), Some("outside")),
    ("qcow2 l1 unaligned", |b| be64(b, 40, (3 << 16) + 8), Some("alignment")),
    ("qcow2 l1 on the header", |b| be64(b, 40, 0), Some("overlap")),
    ("qcow2 l1 on the refcount table", |b| be64(b, 40, 1 << 16), Some("overlap")),
    ("qcow2 l1 entry outside", |b| be64(b, 3 << 16, 99 << 16), Some("outside")),
    ("qcow2 l1 entry to itself", |b| be64(b, 3 << 16, 3 << 16), Some("overlap")),
    ("qcow2 refcount outside", |b| be64(b, 48, 1 << 40), Some("outside")),
    ("qcow2 refcount huge", |b| be32(b, 56, u32::MAX), Some("tables")),
    ("qcow2 refcount loop", |b| be64(b, 1 << 16, 1 << 16), Some("overlap")),
    ("qcow2 refcount block unaligned", |b| be64(b, 1 << 16, (2 << 16) + 512), Some("alignment")),
    ("qcow2 wide refcounts", |b| be32(b, 96, 7), Some("refcount")),
    ("qcow2 17 snapshots", |b| be32(b, 60, 17), Some("snapshots")),
    (
        "qcow2 snapshots outside",
        |b| {
            be32(b, 60, 1);
            be64(b, 64, 1 << 40);
        },
        Some("outside"),
    ),
    ("qcow2 short header", |b| be32(b, 100, 72), Some("header")),
    ("qcow2 long header", |b| be32(b, 100, 1 << 17), Some("header")),
    (
        "qcow2 endless extension",
        |b| {
            be32(b, 112, 7);
            be32(b, 116, u32::MAX);
        },
        Some("header"),
    ),
    ("qcow2 cut at the magic", |b| b.truncate(4), Some("truncated")),
    ("qcow2 cut in the header", |b| b.truncate(80), Some("truncated")),
];

pub(super) fn thin() -> Vec<u8> {
    let mut b = qcow2();
    let name = format!("{PARENT}.qcow2");
    be64(&mut b, 8, 120);
    be32(&mut b, 16, name.len() as u32);
    put(&mut b, 120, name.as_bytes());
    b
}

pub(super) const THIN: &[Row] = &[
    ("thin snapshot", |_| {}, None),
    ("thin snapshot with a path", |b| b[120] = b'/', Some("backing_file")),
    ("thin snapshot with a longer name", |b| be32(b, 16, 43), Some("backing_file")),
    ("thin snapshot with the name elsewhere", |b| be64(b, 8, 1 << 17), Some("header")),
];
