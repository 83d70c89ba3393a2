//! Images: what a file is and whether it is safe to open, where an image may be fetched from, and how.

pub mod checksum;
pub mod fetch;
pub mod header;
pub mod policy;
pub mod table;

pub use header::{Format, Inspection, Verdict, inspect};
pub use policy::UrlPolicy;
pub use table::ImageTable;
