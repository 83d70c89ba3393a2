//! How objects look to clients: one file per kind, from the messages of the database tier to the exact JSON of
//! `rest-api.md` §2. Adding a field is compatible; renaming, removing or retyping one is not.

mod address;
mod artifact;
mod blob;
mod event;
mod instance;
mod interface;
mod lock;
mod namespace;
mod network;
mod node;
mod operation;
mod resources;
mod upload;

pub use address::AddressView;
pub use artifact::ArtifactView;
pub use blob::{BlobView, VersionView};
pub use event::EventView;
pub use instance::InstanceView;
pub use interface::InterfaceView;
pub use lock::locks;
pub use namespace::NamespaceView;
pub use network::NetworkView;
pub use node::{NodeView, process_metrics};
pub use operation::OperationView;
pub use resources::resources;
pub use upload::UploadView;

use prost_types::Timestamp;
use serde::Serialize;
use serde_json::{Map, Value};
use sf_protos::common::{MetadataEntry, OperationHandle, StateInfo};
use sf_protos::convert::unix_seconds;

/// A view as a JSON value. Views serialise by construction; one that did not would be a null, never a panic.
pub fn value(view: impl Serialize) -> Value {
    serde_json::to_value(view).unwrap_or(Value::Null)
}

/// User metadata as one object. A value that is not JSON any more is shown as its text.
pub fn metadata(entries: &[MetadataEntry]) -> Map<String, Value> {
    let parse = |entry: &MetadataEntry| {
        serde_json::from_str(&entry.value_json).unwrap_or_else(|_| Value::String(entry.value_json.clone()))
    };
    entries.iter().map(|entry| (entry.key.clone(), parse(entry))).collect()
}

fn seconds(time: Option<&Timestamp>) -> Option<f64> {
    time.map(unix_seconds)
}

fn state(info: Option<&StateInfo>) -> String {
    info.map(|info| info.state.clone()).unwrap_or_default()
}

fn message(info: Option<&StateInfo>) -> Option<String> {
    info.and_then(|info| info.message.clone())
}

/// Handle of an operation.
#[derive(Debug, Serialize)]
struct OpRef {
    op_type: String,
    op_uuid: String,
}

fn op_ref(handle: Option<&OperationHandle>) -> Option<OpRef> {
    handle.map(|handle| OpRef { op_type: handle.op_type.clone(), op_uuid: handle.op_uuid.clone() })
}

#[cfg(test)]
mod samples;
