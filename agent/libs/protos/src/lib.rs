//! The messages and services that daemons exchange, generated from `protos/`, and the table of calls.
//!
//! Nothing here decides anything: types come from the proto files, conversions are next door in [`convert`], and
//! [`rpc`] says of every call of the database tier what it is and who may make it.

mod codec;
pub mod convert;
pub mod rpc;

pub use codec::Encoded;
pub use rpc::{CALLS, Call, CallKind, CallScope, Rpc};

/// Largest message of the mesh in either direction, bytes. Pages end at a megabyte (`database-tier.md` §8.4); what is larger is
/// one object with all that its users wrote: 3 MiB of user data in base64, and 256 KiB of metadata of an instance and of each
/// of its 24 interfaces.
pub const MAX_MESSAGE: usize = 16 << 20;

/// The encoded descriptor set of every proto file, for server reflection.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));

macro_rules! generated {
    ($($(#[$doc:meta])* $module:ident;)*) => {
        /// The packages as generated; each is re-exported under its domain's name.
        mod generated {
            $(pub(crate) mod $module {
                #[expect(missing_docs, reason = "documented in the proto files")]
                #[allow(clippy::all, clippy::pedantic, unreachable_pub, clippy::indexing_slicing, clippy::panic)]
                pub mod v1 {
                    include!(concat!(env!("OUT_DIR"), "/shakenfist.", stringify!($module), ".v1.rs"));
                }
            })*
        }
        $($(#[$doc])* pub use generated::$module::v1 as $module;)*
    };
}

generated! {
    /// Artifacts.
    artifacts;
    /// Blobs and uploads.
    blobs;
    /// Messages shared by the services.
    common;
    /// Cluster-scope configuration.
    config;
    /// The event log.
    events;
    /// Node service of the instance worker.
    instance_node;
    /// Instances.
    instances;
    /// Leased locks.
    locks;
    /// Elected maintenance.
    maintenance;
    /// User metadata.
    metadata;
    /// Namespaces and keys.
    namespaces;
    /// Node service of the network daemon.
    net_node;
    /// Frames of the privileged network helper.
    net_privexec;
    /// Networks and interfaces.
    networks;
    /// Nodes.
    nodes;
    /// Operations and queues.
    operations;
    /// Frames of the privileged helper.
    privexec;
    /// Rolling restarts.
    rollout;
    /// Capacity.
    scheduler;
    /// The node's storage service.
    storage_local;
}
