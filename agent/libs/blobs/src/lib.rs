//! Bytes on a node's disk: where they are, how they get there without ever being half there, what they hash to, and
//! how they are read and sent.
//!
//! Everything here is used by the storage service (`sf-transfers`), the only writer of the store. The API reads
//! replicas through [`read::Replica`] and talks to storage services through [`client::DataPlane`].

pub mod client;
pub mod commit;
pub mod durable;
pub mod error;
pub mod hashing;
pub mod intake;
pub mod journal;
pub mod layout;
pub mod lock;
pub mod pipeline;
pub mod pool;
pub mod purpose;
pub mod range;
pub mod read;
pub mod reconcile;
pub mod recovery;
pub mod rescan;
pub mod space;
pub mod token;
mod upload_error;
mod upload_file;
pub mod uploads;
pub mod wire;

pub use error::StoreError;
pub use hashing::{Algorithm, Digests};
pub use layout::{CacheKind, Store};
pub use purpose::Purpose;
pub use range::ByteRange;
