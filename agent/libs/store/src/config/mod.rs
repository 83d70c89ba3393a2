//! Cluster-scope configuration (`database-tier.md` §5.1): canonical texts, one row per key that was ever set.

mod read;
mod version;
mod write;

pub use read::{read, settings, settings_texts};
pub use version::{cluster_release, cluster_version, record_release};
pub use write::{SetMode, encrypt, insert, set, unset};
