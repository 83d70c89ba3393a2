//! Why bytes are being written: the first part of a staging file's name.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use sf_model::BlobId;

/// The producer of a blob.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Purpose {
    /// Downloaded from a URL.
    Fetch,
    /// Sent by a client.
    Upload,
    /// Copied from another node.
    Pull,
    /// Taken from an instance's disk.
    Snap,
    /// Converted from another blob.
    Xcode,
    /// Made by a daemon from bytes it held, for example command output.
    Mem,
}

impl Purpose {
    /// Every producer.
    pub const ALL: [Purpose; 6] = [Self::Fetch, Self::Upload, Self::Pull, Self::Snap, Self::Xcode, Self::Mem];

    /// The name used in file names, metrics and tokens.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Fetch => "fetch",
            Self::Upload => "upload",
            Self::Pull => "pull",
            Self::Snap => "snap",
            Self::Xcode => "xcode",
            Self::Mem => "mem",
        }
    }
}

impl fmt::Display for Purpose {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Purpose {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        Self::ALL.into_iter().find(|purpose| purpose.as_str() == text).ok_or(())
    }
}

/// What a name in the staging directory stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StagingName {
    /// Bytes.
    Partial(Purpose, BlobId),
    /// Their journal.
    Journal(Purpose, BlobId),
    /// A journal that was being replaced when the program died.
    JournalDraft,
    /// Not ours, for example the probe file of the health check.
    Foreign,
}

impl StagingName {
    /// Reads a file name.
    pub fn parse(name: &str) -> Self {
        if name.ends_with(".meta.tmp") {
            return Self::JournalDraft;
        }
        let (stem, journal) = match name.strip_suffix(".partial.meta") {
            Some(stem) => (stem, true),
            None => match name.strip_suffix(".partial") {
                Some(stem) => (stem, false),
                None => return Self::Foreign,
            },
        };
        let parsed = stem
            .split_once('-')
            .and_then(|(purpose, blob)| Some((purpose.parse().ok()?, blob.parse().ok()?)));
        match parsed {
            Some((purpose, blob)) if journal => Self::Journal(purpose, blob),
            Some((purpose, blob)) => Self::Partial(purpose, blob),
            None => Self::Foreign,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn staging_names_are_told_apart() {
        let blob = BlobId::random();
        for purpose in Purpose::ALL {
            assert_eq!(
                StagingName::parse(&format!("{purpose}-{blob}.partial")),
                StagingName::Partial(purpose, blob)
            );
            assert_eq!(
                StagingName::parse(&format!("{purpose}-{blob}.partial.meta")),
                StagingName::Journal(purpose, blob)
            );
        }
        assert_eq!(StagingName::parse(&format!("pull-{blob}.partial.meta.tmp")), StagingName::JournalDraft);
        for foreign in
            ["_heartbeat", "", "pull-x.partial", &format!("steal-{blob}.partial"), &format!("{blob}.partial")]
        {
            assert_eq!(StagingName::parse(foreign), StagingName::Foreign, "{foreign}");
        }
    }
}
