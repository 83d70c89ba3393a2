//! Kinds of work that daemons are handed, and the arguments each carries.

use serde::{Deserialize, Serialize};
use strum::{Display, EnumIter, EnumString, IntoStaticStr};

use crate::id::{ArtifactId, BlobId, InstanceId, NetworkId, OperationId};
use crate::object::{ObjectRef, ObjectType};
use crate::state::PowerAction;

/// Version of the argument documents written by this build. A worker refuses a newer one.
pub const ARGUMENTS_VERSION: u16 = 1;

/// Type of an operation. The text is the opaque `op_type` of the API.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Display, EnumString, EnumIter, IntoStaticStr,
)]
#[strum(serialize_all = "snake_case")]
pub enum OperationType {
    /// Accept an instance on its node.
    InstancePreflight,
    /// Make disks and domain of an instance.
    InstanceCreate,
    /// Change the power of an instance.
    InstancePower,
    /// Remove an instance from its node.
    InstanceDelete,
    /// Bring an image from its source into the blob store.
    ArtifactFetch,
    /// Compute a hash of a blob that nobody needed so far.
    BlobHash,
    /// Anything done to a network; it completes through render reports and has no queue row.
    NetOp,
}

/// Drain order of the queues, most urgent first (`database-tier.md` §13.3).
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Display,
    EnumString,
    EnumIter,
    Serialize,
    Deserialize,
)]
#[strum(serialize_all = "snake_case")]
#[repr(u8)]
pub enum Priority {
    /// A user waits for the answer.
    UserWaiting = 0,
    /// A user will look at the result.
    UserFacing = 1,
    /// Nobody waits.
    Background = 2,
    /// Nobody waits, and disks suffer.
    BackgroundHighIo = 3,
}

impl Priority {
    /// The lane with the given number, the lowest one for anything larger.
    pub const fn from_lane(lane: u8) -> Self {
        match lane {
            0 => Self::UserWaiting,
            1 => Self::UserFacing,
            2 => Self::Background,
            _ => Self::BackgroundHighIo,
        }
    }
}

/// What a network operation is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Display, EnumString, Serialize, Deserialize)]
#[strum(serialize_all = "snake_case")]
#[serde(rename_all = "snake_case")]
pub enum NetworkTask {
    /// First render on the carrier.
    NetworkCreate,
    /// Removal everywhere.
    NetworkDelete,
    /// Bring the named nodes to a generation.
    NetworkRender,
}

/// Arguments of an operation, stored as one JSON document.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum OperationArgs {
    /// See [`OperationType::InstancePreflight`].
    InstancePreflight {
        /// The instance.
        instance: InstanceId,
        /// The placement this work belongs to; a stale one is dropped.
        placement_seq: u32,
    },
    /// See [`OperationType::InstanceCreate`].
    InstanceCreate {
        /// The instance.
        instance: InstanceId,
        /// The placement this work belongs to; a stale one is dropped.
        placement_seq: u32,
    },
    /// See [`OperationType::InstancePower`].
    InstancePower {
        /// The instance.
        instance: InstanceId,
        /// What to do.
        #[serde(with = "power_action")]
        action: PowerAction,
    },
    /// See [`OperationType::InstanceDelete`].
    InstanceDelete {
        /// The instance.
        instance: InstanceId,
    },
    /// See [`OperationType::ArtifactFetch`].
    ArtifactFetch {
        /// The artifact that gets the new version.
        artifact: ArtifactId,
        /// Address or short name as the user gave it.
        url: String,
        /// The instance that waits, if any.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        instance: Option<InstanceId>,
    },
    /// See [`OperationType::BlobHash`].
    BlobHash {
        /// The blob.
        blob: BlobId,
        /// `sha1`, `sha256`, `sha512` or `xxh128`.
        algorithm: String,
    },
    /// See [`OperationType::NetOp`].
    NetOp {
        /// The network.
        network: NetworkId,
        /// What for.
        task: NetworkTask,
        /// The generation the nodes must reach.
        generation: u64,
    },
}

impl OperationArgs {
    /// The type these arguments belong to.
    pub const fn operation_type(&self) -> OperationType {
        match self {
            Self::InstancePreflight { .. } => OperationType::InstancePreflight,
            Self::InstanceCreate { .. } => OperationType::InstanceCreate,
            Self::InstancePower { .. } => OperationType::InstancePower,
            Self::InstanceDelete { .. } => OperationType::InstanceDelete,
            Self::ArtifactFetch { .. } => OperationType::ArtifactFetch,
            Self::BlobHash { .. } => OperationType::BlobHash,
            Self::NetOp { .. } => OperationType::NetOp,
        }
    }

    /// The instance the operation is about, if any.
    pub const fn instance(&self) -> Option<InstanceId> {
        match self {
            Self::InstancePreflight { instance, .. }
            | Self::InstanceCreate { instance, .. }
            | Self::InstancePower { instance, .. }
            | Self::InstanceDelete { instance } => Some(*instance),
            Self::ArtifactFetch { instance, .. } => *instance,
            _ => None,
        }
    }

    /// The network the operation is about, if any.
    pub const fn network(&self) -> Option<NetworkId> {
        match self {
            Self::NetOp { network, .. } => Some(*network),
            _ => None,
        }
    }

    /// The objects whose history and pending state show this operation. Callers never list them by hand.
    pub fn targets(&self) -> Vec<ObjectRef> {
        let mut targets = Vec::new();
        if let Some(instance) = self.instance() {
            targets.push(ObjectRef::new(ObjectType::Instance, instance));
        }
        match self {
            Self::ArtifactFetch { artifact, .. } => {
                targets.push(ObjectRef::new(ObjectType::Artifact, *artifact))
            }
            Self::BlobHash { blob, .. } => targets.push(ObjectRef::new(ObjectType::Blob, *blob)),
            Self::NetOp { network, .. } => targets.push(ObjectRef::new(ObjectType::Network, *network)),
            _ => {}
        }
        targets
    }

    /// At most one claimed operation in the cluster per key.
    pub fn serial_key(&self) -> Option<String> {
        match self {
            // A fetch serves every instance that waits for the artifact, so it is serialised by the artifact.
            Self::ArtifactFetch { artifact, .. } => Some(format!("artifact:{artifact}")),
            Self::BlobHash { blob, .. } => Some(format!("blob:{blob}")),
            _ => self.instance().map(|instance| format!("instance:{instance}")),
        }
    }

    /// Work with equal keys that is still queued is folded into one operation. The key names everything that
    /// distinguishes the work; the node is added by the queue.
    pub fn coalesce_key(&self) -> Option<String> {
        match self {
            Self::ArtifactFetch { artifact, .. } => Some(format!("artifact_fetch:{artifact}")),
            Self::BlobHash { blob, algorithm } => Some(format!("blob_hash:{blob}:{algorithm}")),
            _ => None,
        }
    }

    /// A short description of each step, for the API's `tasks`.
    pub fn tasks(&self) -> Vec<String> {
        match self {
            Self::InstancePower { action, .. } => vec![action.to_string()],
            Self::NetOp { task, .. } => vec![task.to_string()],
            other => vec![other.operation_type().to_string()],
        }
    }
}

/// A reference to an operation as the API hands it out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OperationRef {
    /// Opaque type.
    pub op_type: OperationType,
    /// Identifier.
    pub op_uuid: OperationId,
}

mod power_action {
    use super::PowerAction;
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(super) fn serialize<S: Serializer>(action: &PowerAction, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(action.as_str())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<PowerAction, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(|_| D::Error::custom("unknown power action"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_round_trip_through_json() {
        let args =
            OperationArgs::InstancePower { instance: InstanceId::random(), action: PowerAction::Rebootsoft };
        let text = serde_json::to_string(&args).unwrap();
        assert!(
            text.contains(r#""type":"instance_power""#) && text.contains(r#""action":"rebootsoft""#),
            "{text}"
        );
        assert_eq!(serde_json::from_str::<OperationArgs>(&text).unwrap(), args);
    }

    #[test]
    fn the_tag_is_the_operation_type() {
        let args = OperationArgs::NetOp {
            network: NetworkId::random(),
            task: NetworkTask::NetworkDelete,
            generation: 3,
        };
        let value = serde_json::to_value(&args).unwrap();
        assert_eq!(value["type"], args.operation_type().to_string());
        assert_eq!(args.tasks(), ["network_delete"]);
    }

    #[test]
    fn unknown_fields_are_refused() {
        let text = format!(r#"{{"type":"instance_delete","instance":"{}","extra":1}}"#, InstanceId::random());
        assert!(serde_json::from_str::<OperationArgs>(&text).is_err());
    }
}
