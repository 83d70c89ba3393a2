//! What an executable is, and what it needs of its host, read from the file itself.

use std::cmp::Ordering;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use object::elf;
use object::read::elf::{FileHeader, SectionHeader};
use object::{Endianness, FileKind, ReadCache, ReadRef};
use sha2::{Digest, Sha256};

/// Bytes hashed at a time.
const CHUNK: usize = 1 << 20;

/// Why an executable could not be looked at.
#[derive(Debug, thiserror::Error)]
pub enum BinaryError {
    /// It cannot be read.
    #[error("{} cannot be read: {source}", .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It is not an executable of this kind of system.
    #[error("{} is not a 64-bit ELF executable: {why}", .path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
}

/// What an executable asks of its host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Needs {
    /// `x86_64`, `aarch64`, or the number of another machine.
    pub arch: String,
    /// Highest version of the GNU C library that a symbol of it asks for.
    pub glibc: Option<String>,
    /// Highest version of the libvirt client library that a symbol of it asks for.
    pub libvirt: Option<String>,
}

/// Identity of a build: the SHA-256 of the executable, as `SHA256SUMS` lists it.
///
/// # Errors
/// The file cannot be read.
pub fn build_id(path: &Path) -> Result<String, BinaryError> {
    let failed = |source| BinaryError::Read { path: path.to_owned(), source };
    let mut file = File::open(path).map_err(failed)?;
    let mut hash = Sha256::new();
    let mut buffer = vec![0; CHUNK];
    loop {
        let count = file.read(&mut buffer).map_err(failed)?;
        match buffer.get(..count) {
            Some(read) if count > 0 => hash.update(read),
            _ => return Ok(hex::encode(hash.finalize())),
        }
    }
}

/// Looks at the header and the symbol versions of an executable.
///
/// # Errors
/// The file cannot be read, or is something else.
pub fn needs(path: &Path) -> Result<Needs, BinaryError> {
    let file = File::open(path).map_err(|source| BinaryError::Read { path: path.to_owned(), source })?;
    let cache = ReadCache::new(file);
    read_needs(&cache).map_err(|why| BinaryError::Format { path: path.to_owned(), why })
}

fn read_needs<'a, R: ReadRef<'a>>(data: R) -> Result<Needs, String> {
    let text = |error: object::Error| error.to_string();
    match FileKind::parse(data).map_err(text)? {
        FileKind::Elf64 => {}
        other => return Err(format!("it is {other:?}")),
    }
    let header = elf::FileHeader64::<Endianness>::parse(data).map_err(text)?;
    let endian = header.endian().map_err(text)?;
    let arch = match header.e_machine(endian) {
        elf::EM_X86_64 => "x86_64".to_owned(),
        elf::EM_AARCH64 => "aarch64".to_owned(),
        other => format!("machine {}", other.0),
    };
    let sections = header.sections(endian, data).map_err(text)?;
    let mut versions = Vec::new();
    for section in sections.iter() {
        let Some((mut files, link)) = section.gnu_verneed(endian, data).map_err(text)? else { continue };
        let names = sections.strings(endian, data, link).map_err(text)?;
        while let Some((_, mut needed)) = files.next().map_err(text)? {
            while let Some(version) = needed.next().map_err(text)? {
                let name = version.name(endian, names).map_err(text)?;
                versions.push(String::from_utf8_lossy(name).into_owned());
            }
        }
    }
    Ok(Needs { arch, glibc: highest(&versions, "GLIBC_"), libvirt: highest(&versions, "LIBVIRT_") })
}

fn highest(versions: &[String], prefix: &str) -> Option<String> {
    let numbers = versions.iter().filter_map(|version| version.strip_prefix(prefix));
    numbers
        .filter(|n| n.starts_with(|c: char| c.is_ascii_digit()))
        .max_by(|a, b| compare(a, b))
        .map(str::to_owned)
}

/// Compares two dotted version numbers; what is not a number counts as zero.
pub fn compare(a: &str, b: &str) -> Ordering {
    let parts = |text: &str| -> Vec<u64> { text.split('.').map(|part| part.parse().unwrap_or(0)).collect() };
    let (a, b) = (parts(a), parts(b));
    let length = a.len().max(b.len());
    let padded = |parts: Vec<u64>| (0..length).map(move |at| parts.get(at).copied().unwrap_or(0));
    padded(a).cmp(padded(b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_compare_by_number() {
        for (a, b, order) in [
            ("2.9", "2.34", Ordering::Less),
            ("2.2.5", "2.2", Ordering::Greater),
            ("8.0.0", "8.0", Ordering::Equal),
        ] {
            assert_eq!(compare(a, b), order, "{a} {b}");
        }
        let found = ["GLIBC_2.9", "GLIBC_2.34", "GLIBC_PRIVATE", "LIBVIRT_0.9.4"].map(str::to_owned);
        assert_eq!(highest(&found, "GLIBC_").as_deref(), Some("2.34"));
        assert_eq!(highest(&found, "X_"), None);
    }

    #[test]
    fn an_executable_says_what_it_needs() {
        let own = std::env::current_exe().unwrap();
        let needs = needs(&own).unwrap();
        assert_eq!(needs.arch, std::env::consts::ARCH);
        assert!(needs.glibc.is_some_and(|version| compare(&version, "2.2") == Ordering::Greater));
        assert_eq!(build_id(&own).unwrap().len(), 64);
    }

    #[test]
    fn another_file_is_said_to_be_one() {
        let file = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml");
        assert!(matches!(needs(&file), Err(BinaryError::Format { .. })));
        assert!(matches!(build_id(Path::new("/nowhere")), Err(BinaryError::Read { .. })));
    }
}
