//! Domain types of the cloud: identifiers, units, states and the transitions between them.
//!
//! This crate is the lowest floor of the house. It performs no I/O, knows no wire format and has no
//! asynchronous code, so that every rule in it can be tested as a function from values to values.

pub mod access;
pub mod affinity;
pub mod daemon;
pub mod disk;
pub mod event;
pub mod id;
pub mod mac;
pub mod name;
pub mod object;
pub mod operation;
pub mod redact;
pub mod secret;
pub mod state;
pub mod text;
pub mod units;

pub use daemon::DaemonName;
pub use id::{
    AllocationId, ArtifactId, BatchId, BlobId, ClaimToken, ClusterId, EventId, IncarnationId, InstanceId,
    InterfaceId, KeyId, MutationId, NetworkId, NodeId, OperationId, ReservationId, TransferId, UploadId,
};
pub use mac::MacAddress;
pub use object::{ObjectRef, ObjectType};
pub use secret::Secret;
pub use units::{Gib, Mib, Vcpus, Vxid};
