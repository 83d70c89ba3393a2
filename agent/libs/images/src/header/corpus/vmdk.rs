//! VMware images.

use super::{Row, le32, le64, put};

pub(super) fn vmdk() -> Vec<u8> {
    let mut b = vec![0; 128 * 512];
    put(&mut b, 0, b"KDMV");
    le32(&mut b, 4, 1);
    le64(&mut b, 12, 2048);
    le64(&mut b, 20, 128);
    le64(&mut b, 28, 1);
    le64(&mut b, 36, 20);
    describe(&mut b, "createType=\"monolithicSparse\"\nparentCID=ffffffff\nRW 2048 SPARSE \"disk.vmdk\"\n");
    b
}

fn describe(b: &mut [u8], text: &str) {
    b[512..512 + 20 * 512].fill(0);
    put(b, 512, b"# Disk DescriptorFile\nversion=1\n");
    put(b, 544, text.as_bytes());
}

pub(super) const VMDK: &[Row] = &[
    ("vmdk", |_| {}, None),
    ("vmdk stream", |b| describe(b, "createType=\"streamOptimized\"\nRDONLY 2048 SPARSE \"d.vmdk\"\n"), None),
    (
        "vmdk two extents",
        |b| describe(b, "createType=\"monolithicSparse\"\nRW 1 SPARSE \"a\"\nRW 1 SPARSE \"b\"\n"),
        Some("extent"),
    ),
    ("vmdk no extent", |b| describe(b, "createType=\"monolithicSparse\"\n"), Some("extent")),
    (
        "vmdk flat extent",
        |b| describe(b, "createType=\"monolithicSparse\"\nRW 2048 FLAT \"/dev/sda\" 0\n"),
        Some("extent"),
    ),
    (
        "vmdk path extent",
        |b| describe(b, "createType=\"monolithicSparse\"\nRW 2048 SPARSE \"../x\"\n"),
        Some("extent"),
    ),
    (
        "vmdk protocol extent",
        |b| describe(b, "createType=\"monolithicSparse\"\nRW 2048 SPARSE \"nbd:x\"\n"),
        Some("extent"),
    ),
    (
        "vmdk flat type",
        |b| describe(b, "createType=\"monolithicFlat\"\nRW 2048 SPARSE \"d\"\n"),
        Some("extent"),
    ),
    ("vmdk without type", |b| describe(b, "RW 2048 SPARSE \"d\"\n"), Some("extent")),
    (
        "vmdk parent",
        |b| describe(b, "createType=\"monolithicSparse\"\nparentCID=1234abcd\nRW 1 SPARSE \"d\"\n"),
        Some("parent"),
    ),
    (
        "vmdk parent hint",
        |b| describe(b, "createType=\"monolithicSparse\"\nparentFileNameHint=\"p\"\nRW 1 SPARSE \"d\"\n"),
        Some("parent"),
    ),
    ("vmdk without capacity", |b| le64(b, 12, 0), Some("extent")),
    ("vmdk description elsewhere", |b| le64(b, 28, 0), Some("extent")),
    ("vmdk description outside", |b| le64(b, 28, u64::MAX / 512), Some("outside")),
    ("vmdk huge description", |b| le64(b, 36, 1 << 40), Some("tables")),
    ("vmdk grain", |b| le64(b, 20, 3), Some("cluster_size")),
    ("vmdk huge", |b| le64(b, 12, u64::MAX), Some("virtual_size")),
    (
        "vmdk text only",
        |b| {
            b.clear();
            b.extend_from_slice(b"# Disk DescriptorFile\nversion=1\nRW 1 FLAT \"/etc/shadow\" 0\n");
        },
        Some("extent"),
    ),
    (
        "vmdk text after comments",
        |b| {
            b.clear();
            b.extend_from_slice(b"\n# x\n\nversion=1\nRW 1 FLAT \"/etc/shadow\" 0\n");
        },
        Some("extent"),
    ),
    ("vmdk3", |b| put(b, 0, b"COWD"), Some("extent")),
];
