//! Decides what an image file is and whether any tool may be let near it, from its header alone.
//!
//! The parser never follows a reference, reads at most [`MAX_READ`] bytes, and treats every number in the file as
//! chosen by an attacker. Formats are decided once, by content, and recorded; nothing probes again later, because a
//! guest can write another format's header into its disk.

mod fields;
mod parallels;
mod qcow2;
mod qed;
mod sniff;
mod source;
mod style;
mod vdi;
mod vhd;
mod vhdx;
mod vmdk;

#[cfg(test)]
mod corpus;

use std::io;

use sf_model::BlobId;

pub use sniff::Format;
use source::Input;
pub use source::Source;
pub use style::{BASE_CLUSTER, BASE_STYLE, is_base_style};

/// Most bytes one inspection reads: the header and the qcow2 tables it validates.
pub const MAX_READ: u64 = 66 << 20;

/// What an inspection needs to know about us.
#[derive(Debug, Clone, Copy)]
pub struct Rules {
    /// Largest disk an image may describe, in bytes (`MAX_IMAGE_VIRTUAL_BYTES`).
    pub max_virtual_size: u64,
    /// The parent of a thin snapshot made by this cluster; the only backing name an image may carry.
    pub parent: Option<BlobId>,
}

/// What an image is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inspection {
    /// The container format.
    pub format: Format,
    /// Size of the disk it describes in bytes; `None` for archives and compressed files.
    pub virtual_size: Option<u64>,
    /// Unit of allocation in bytes, for formats that have one.
    pub cluster_size: Option<u64>,
    /// More facts under the names users know from `qemu-img info`.
    pub details: Vec<(&'static str, String)>,
    /// Whether a tool may open it.
    pub verdict: Verdict,
}

/// Whether a tool may open an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Yes, when told its format.
    Safe,
    /// No.
    Unsafe(Refusal),
}

/// Why an image is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// A stable word for metrics.
    pub reason: &'static str,
    /// One sentence for the user.
    pub text: String,
}

impl Inspection {
    /// The refusal, if there is one.
    pub fn refusal(&self) -> Option<&Refusal> {
        match &self.verdict {
            Verdict::Safe => None,
            Verdict::Unsafe(refusal) => Some(refusal),
        }
    }

    /// A fact by its name.
    pub fn detail(&self, name: &str) -> Option<&str> {
        self.details.iter().find(|(known, _)| *known == name).map(|(_, value)| value.as_str())
    }
}

/// Facts a format's parser found.
#[derive(Debug, Default, PartialEq, Eq)]
struct Facts {
    virtual_size: u64,
    cluster_size: Option<u64>,
    details: Vec<(&'static str, String)>,
}

/// Why a parser stopped.
#[derive(Debug)]
enum Stop {
    Io(io::Error),
    Refused(Refusal),
}

/// Refuses with a reason and a sentence.
fn refuse<T>(reason: &'static str, text: impl Into<String>) -> Result<T, Stop> {
    Err(Stop::Refused(Refusal { reason, text: text.into() }))
}

/// Inspects an image. Blocks on `source`.
///
/// # Errors
/// The source cannot be read. Everything a file can contain gives a verdict instead.
pub fn inspect(source: &dyn Source, rules: &Rules) -> io::Result<Inspection> {
    let input = Input::new(source)?;
    let format = sniff::sniff(&input)?;
    let parsed = match format {
        Format::Qcow2 => qcow2::parse(&input, rules),
        Format::Vmdk => vmdk::parse(&input),
        Format::Vhd => vhd::parse(&input),
        Format::Vhdx => vhdx::parse(&input),
        Format::Vdi => vdi::parse(&input),
        Format::Qed => qed::parse(&input),
        Format::Parallels => parallels::parse(&input),
        Format::Raw | Format::Iso => Ok(Facts { virtual_size: input.size(), ..Facts::default() }),
        Format::Tar | Format::Gzip | Format::Xz | Format::Zstd | Format::Bzip2 => {
            return Ok(Inspection {
                format,
                virtual_size: None,
                cluster_size: None,
                details: Vec::new(),
                verdict: Verdict::Safe,
            });
        }
    };
    let checked = parsed.and_then(|facts| check_size(format, &facts, rules).map(|()| facts));
    match checked {
        Ok(facts) => Ok(Inspection {
            format,
            virtual_size: Some(facts.virtual_size),
            cluster_size: facts.cluster_size,
            details: facts.details,
            verdict: Verdict::Safe,
        }),
        Err(Stop::Refused(refusal)) => Ok(Inspection {
            format,
            virtual_size: None,
            cluster_size: None,
            details: Vec::new(),
            verdict: Verdict::Unsafe(refusal),
        }),
        Err(Stop::Io(error)) => Err(error),
    }
}

fn check_size(format: Format, facts: &Facts, rules: &Rules) -> Result<(), Stop> {
    let size = facts.virtual_size;
    if size > rules.max_virtual_size {
        return refuse(
            "virtual_size",
            format!(
                "it describes a disk of {size} bytes, more than the permitted {}",
                rules.max_virtual_size
            ),
        );
    }
    // Raw bytes of any length are a legal upload; formats with a header have no excuse.
    if !matches!(format, Format::Raw | Format::Iso) && !size.is_multiple_of(512) {
        return refuse(
            "virtual_size",
            format!("it describes a disk of {size} bytes, which is not a multiple of 512"),
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::LazyLock;

    use proptest::prelude::*;

    use super::*;

    /// Building it takes longer than judging it.
    static CORPUS: LazyLock<Vec<corpus::Case>> = LazyLock::new(corpus::corpus);

    const RULES: Rules = Rules { max_virtual_size: 16 << 40, parent: None };

    #[test]
    fn any_bytes_are_acceptable_as_raw() {
        for bytes in [&b""[..], b"x", b"#!/bin/sh\n", &[0; 2700]] {
            let found = inspect(&bytes, &RULES).unwrap();
            assert_eq!((found.format, found.verdict), (Format::Raw, Verdict::Safe));
            assert_eq!(found.virtual_size, Some(bytes.len() as u64));
        }
    }

    #[test]
    fn every_file_of_the_corpus_gets_its_verdict() {
        assert!(CORPUS.len() >= 60, "only {} files", CORPUS.len());
        for case in CORPUS.iter() {
            let found = inspect(&case.bytes.as_slice(), &case.rules).unwrap();
            assert_eq!(found.format, case.format, "{}", case.name);
            assert_eq!(
                found.refusal().map(|refusal| refusal.reason),
                case.refused,
                "{}: {found:?}",
                case.name
            );
        }
    }

    proptest! {
        /// No damage to any file of the corpus makes the parser panic, and a verdict is always reached.
        #[test]
        fn damaged_images_get_a_verdict(pick in any::<prop::sample::Index>(), cuts in any::<prop::sample::Index>(), cut in any::<bool>(),
                                        edits in prop::collection::vec((0usize..4096, any::<u8>()), 0..12)) {
            let mut bytes = CORPUS[pick.index(CORPUS.len())].bytes.clone();
            for (at, value) in edits {
                if let Some(byte) = bytes.get_mut(at) { *byte = value; }
            }
            if cut && !bytes.is_empty() { bytes.truncate(cuts.index(bytes.len())); }
            inspect(&bytes.as_slice(), &RULES).unwrap();
        }

        #[test]
        fn noise_behind_any_magic_gets_a_verdict(magic in prop::sample::select(sniff::MAGICS.to_vec()), noise in prop::collection::vec(any::<u8>(), 0..3000)) {
            let mut bytes = vec![0; magic.offset];
            bytes.extend_from_slice(magic.bytes);
            bytes.extend_from_slice(&noise);
            inspect(&bytes.as_slice(), &RULES).unwrap();
        }
    }
}
