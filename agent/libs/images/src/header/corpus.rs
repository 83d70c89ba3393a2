//! Crafted images: of each format a good one, then the good one with one thing wrong.

use sf_model::BlobId;

use super::{Format, Rules, vhdx};

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
    add(Format::Qcow2, qcow2, RULES, QCOW2);
    let parent = Rules { parent: PARENT.parse::<BlobId>().ok(), ..RULES };
    add(Format::Qcow2, thin, parent, THIN);
    add(Format::Vmdk, vmdk, RULES, VMDK);
    add(Format::Vhd, vhd_fixed, RULES, VHD_FIXED);
    add(Format::Vhd, vhd_dynamic, RULES, VHD_DYNAMIC);
    add(Format::Vhdx, vhdx_image, RULES, VHDX);
    add(Format::Vdi, vdi, RULES, VDI);
    add(Format::Qed, qed, RULES, QED);
    add(Format::Parallels, parallels, RULES, PARALLELS);
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

/// Version 3, 64 KiB clusters, 1 GiB: header, refcount table, refcount block, L1, L2.
fn qcow2() -> Vec<u8> {
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

const QCOW2: &[Row] = &[
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

fn thin() -> Vec<u8> {
    let mut b = qcow2();
    let name = format!("{PARENT}.qcow2");
    be64(&mut b, 8, 120);
    be32(&mut b, 16, name.len() as u32);
    put(&mut b, 120, name.as_bytes());
    b
}

const THIN: &[Row] = &[
    ("thin snapshot", |_| {}, None),
    ("thin snapshot with a path", |b| b[120] = b'/', Some("backing_file")),
    ("thin snapshot with a longer name", |b| be32(b, 16, 43), Some("backing_file")),
    ("thin snapshot with the name elsewhere", |b| be64(b, 8, 1 << 17), Some("header")),
];

fn vmdk() -> Vec<u8> {
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

const VMDK: &[Row] = &[
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

fn footer(b: &mut [u8], at: usize, kind: u32, size: u64, header: u64) {
    put(b, at, b"conectix");
    be64(b, at + 16, header);
    be64(b, at + 48, size);
    be32(b, at + 60, kind);
}

fn vhd_fixed() -> Vec<u8> {
    let mut b = vec![0; 4096 + 512];
    footer(&mut b, 4096, 2, 4096, u64::MAX);
    b
}

const VHD_FIXED: &[Row] = &[
    ("vhd fixed", |_| {}, None),
    ("vhd fixed, shorter than it says", |b| be64(b, 4096 + 48, 8192), Some("outside")),
    ("vhd differencing", |b| be32(b, 4096 + 60, 4), Some("parent")),
];

fn vhd_dynamic() -> Vec<u8> {
    let mut b = vec![0; 8192];
    footer(&mut b, 0, 3, 1 << 20, 512);
    footer(&mut b, 8192 - 512, 3, 1 << 20, 512);
    put(&mut b, 512, b"cxsparse");
    be64(&mut b, 512 + 16, 2048);
    be32(&mut b, 512 + 28, 1);
    be32(&mut b, 512 + 32, 2 << 20);
    b
}

const VHD_DYNAMIC: &[Row] = &[
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

fn vhdx_image() -> Vec<u8> {
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

const VHDX: &[Row] = &[
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

fn vdi() -> Vec<u8> {
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

const VDI: &[Row] = &[
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

fn qed() -> Vec<u8> {
    let mut b = vec![0; 1 << 20];
    put(&mut b, 0, b"QED\0");
    le32(&mut b, 4, 1 << 16);
    le32(&mut b, 8, 4);
    le32(&mut b, 12, 1);
    le64(&mut b, 40, 1 << 16);
    le64(&mut b, 48, 1 << 30);
    b
}

const QED: &[Row] = &[
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

fn parallels() -> Vec<u8> {
    let mut b = vec![0; 1 << 16];
    put(&mut b, 0, b"WithoutFreeSpace");
    le32(&mut b, 16, 2);
    le32(&mut b, 28, 63);
    le32(&mut b, 32, 100);
    le64(&mut b, 36, 6300);
    b
}

const PARALLELS: &[Row] = &[
    ("parallels", |_| {}, None),
    ("parallels extended", |b| put(b, 0, b"WithouFreSpacExt"), None),
    ("parallels open", |b| le32(b, 44, 0x746f_6e59), Some("corrupt")),
    ("parallels extension", |b| le64(b, 56, 64), Some("feature")),
    ("parallels version", |b| le32(b, 16, 3), Some("version")),
    ("parallels table", |b| le32(b, 32, u32::MAX), Some("outside")),
    ("parallels size", |b| le64(b, 36, 6301), Some("tables")),
    ("parallels track", |b| le32(b, 28, 0), Some("cluster_size")),
];
