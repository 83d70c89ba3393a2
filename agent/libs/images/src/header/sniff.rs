//! Recognises formats by their first (for fixed VHD: last) bytes.

use std::fmt;
use std::io;

use super::source::Input;

/// What a file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Format {
    /// Bytes of a disk without any header, or anything unrecognised.
    Raw,
    /// ISO 9660 optical media.
    Iso,
    /// QEMU copy on write, any version.
    Qcow2,
    /// VMware.
    Vmdk,
    /// Microsoft, the older.
    Vhd,
    /// Microsoft, the newer.
    Vhdx,
    /// VirtualBox.
    Vdi,
    /// QEMU enhanced disk.
    Qed,
    /// Parallels.
    Parallels,
    /// An archive, for example OVA.
    Tar,
    /// Compressed with gzip.
    Gzip,
    /// Compressed with xz.
    Xz,
    /// Compressed with zstd.
    Zstd,
    /// Compressed with bzip2.
    Bzip2,
}

impl Format {
    /// The name in the database and the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Raw => "raw",
            Self::Iso => "iso",
            Self::Qcow2 => "qcow2",
            Self::Vmdk => "vmdk",
            Self::Vhd => "vhd",
            Self::Vhdx => "vhdx",
            Self::Vdi => "vdi",
            Self::Qed => "qed",
            Self::Parallels => "parallels",
            Self::Tar => "tar",
            Self::Gzip => "gzip",
            Self::Xz => "xz",
            Self::Zstd => "zstd",
            Self::Bzip2 => "bzip2",
        }
    }

    /// The media type shown to users.
    pub const fn mime_type(self) -> &'static str {
        match self {
            Self::Iso => "application/x-iso9660-image",
            Self::Qcow2 => "application/x-qemu-disk",
            Self::Vmdk => "application/x-vmdk-disk",
            Self::Vdi => "application/x-vdi-disk",
            Self::Vhd | Self::Vhdx => "application/x-vhd-disk",
            Self::Tar => "application/x-tar",
            Self::Gzip => "application/gzip",
            Self::Xz => "application/x-xz",
            Self::Zstd => "application/zstd",
            Self::Bzip2 => "application/x-bzip2",
            Self::Raw | Self::Qed | Self::Parallels => "application/octet-stream",
        }
    }

    /// Whether a guest can be started from it once converted.
    pub const fn is_disk(self) -> bool {
        !matches!(self, Self::Tar | Self::Gzip | Self::Xz | Self::Zstd | Self::Bzip2)
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Bytes at a fixed place that give a format away.
#[derive(Debug, Clone)]
pub(super) struct Magic {
    pub(super) format: Format,
    pub(super) offset: usize,
    pub(super) bytes: &'static [u8],
}

const fn magic(format: Format, offset: usize, bytes: &'static [u8]) -> Magic {
    Magic { format, offset, bytes }
}

/// In the order they are tried. Disk formats come first: a file that could be one is judged as one.
pub(super) const MAGICS: [Magic; 17] = [
    magic(Format::Qcow2, 0, b"QFI\xfb"),
    magic(Format::Vmdk, 0, b"KDMV"),
    magic(Format::Vmdk, 0, b"COWD"),
    magic(Format::Vmdk, 0, b"# Disk DescriptorFile"),
    magic(Format::Vhdx, 0, b"vhdxfile"),
    magic(Format::Vhd, 0, b"conectix"),
    magic(Format::Vdi, 64, &[0x7f, 0x10, 0xda, 0xbe]),
    magic(Format::Qed, 0, b"QED\0"),
    magic(Format::Parallels, 0, b"WithoutFreeSpace"),
    magic(Format::Parallels, 0, b"WithouFreSpacExt"),
    magic(Format::Iso, 32769, b"CD001"),
    magic(Format::Tar, 257, b"ustar"),
    magic(Format::Gzip, 0, &[0x1f, 0x8b, 0x08]),
    magic(Format::Xz, 0, b"\xfd7zXZ\0"),
    magic(Format::Zstd, 0, &[0x28, 0xb5, 0x2f, 0xfd]),
    magic(Format::Bzip2, 0, b"BZh"),
    magic(Format::Vhd, 0, b"cxsparse"),
];

/// Decides the format.
pub(super) fn sniff(input: &Input<'_>) -> io::Result<Format> {
    let prefix = input.prefix();
    let by_prefix = MAGICS.iter().find(|magic| {
        prefix.get(magic.offset..).is_some_and(|rest| rest.starts_with(magic.bytes))
            || is_descriptor(magic, prefix)
    });
    if let Some(found) = by_prefix {
        return Ok(found.format);
    }
    let footer = input.tail(512)?.is_some_and(|tail| tail.starts_with(b"conectix"));
    Ok(if footer { Format::Vhd } else { Format::Raw })
}

/// VMware's descriptor may be preceded by blank lines and comments, as QEMU's own probe allows.
fn is_descriptor(magic: &Magic, prefix: &[u8]) -> bool {
    if !magic.bytes.starts_with(b"#") {
        return false;
    }
    let text = prefix.get(..prefix.len().min(2048)).unwrap_or_default();
    text.split(|byte| *byte == b'\n')
        .map(<[u8]>::trim_ascii)
        .find(|line| !line.is_empty() && !line.starts_with(b"#"))
        .is_some_and(|line| line.starts_with(b"version=") || line.starts_with(b"createType="))
}
