//! One newtype per kind of identifier, so that an instance cannot be handed where a network is meant.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// A text that should have been a canonical UUID and was not.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a {kind}: expected a hyphenated UUID")]
pub struct ParseIdError {
    /// The kind of identifier that was expected, for example `instance id`.
    pub kind: &'static str,
}

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident, $kind:literal;)*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(Uuid);

        impl $name {
            /// A new random (version 4) identifier.
            pub fn random() -> Self {
                Self(Uuid::new_v4())
            }

            /// A new time-ordered (version 7) identifier, for rows inserted in bulk.
            pub fn ordered() -> Self {
                Self(Uuid::now_v7())
            }

            /// Wraps a UUID that is known to name this kind of object.
            pub const fn from_uuid(uuid: Uuid) -> Self {
                Self(uuid)
            }

            /// The bare UUID.
            pub const fn as_uuid(&self) -> Uuid {
                self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.as_hyphenated().fmt(f)
            }
        }

        impl FromStr for $name {
            type Err = ParseIdError;

            /// Accepts the canonical hyphenated form only, in either case.
            fn from_str(text: &str) -> Result<Self, Self::Err> {
                parse_hyphenated(text).map(Self).ok_or(ParseIdError { kind: $kind })
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> Self {
                id.to_string()
            }
        }
    )*};
}

ids! {
    /// One row of the allocator.
    AllocationId, "allocation id";
    /// A named, versioned index of blobs.
    ArtifactId, "artifact id";
    /// A group of instances admitted together.
    BatchId, "batch id";
    /// An immutable run of bytes.
    BlobId, "blob id";
    /// A token under which one worker holds claimed work.
    ClaimToken, "claim token";
    /// The identity of the cluster, written once by bootstrap.
    ClusterId, "cluster id";
    /// One recorded event.
    EventId, "event id";
    /// One life of one daemon process.
    IncarnationId, "incarnation id";
    /// A virtual machine.
    InstanceId, "instance id";
    /// A network interface of an instance.
    InterfaceId, "interface id";
    /// A namespace key.
    KeyId, "key id";
    /// One logical mutation; the same for every attempt of it.
    MutationId, "mutation id";
    /// A virtual network.
    NetworkId, "network id";
    /// A host of the cloud.
    NodeId, "node id";
    /// A cluster operation.
    OperationId, "operation id";
    /// The capacity held for one placement.
    ReservationId, "reservation id";
    /// One movement of a blob between nodes.
    TransferId, "transfer id";
    /// A staging object that collects bytes from a client.
    UploadId, "upload id";
}

impl NetworkId {
    /// The well-known network that owns the floating address block.
    pub const FLOATING: NetworkId = NetworkId(Uuid::from_u128(0x0000_0000_0000_4000_8000_0000_0000_f10a));
}

/// Parses the canonical hyphenated form of a UUID. Other spellings (braces, no hyphens, URN) are names, not
/// identifiers, and are refused.
pub fn parse_hyphenated(text: &str) -> Option<Uuid> {
    if text.len() == 36 { Uuid::try_parse(text).ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accepts_only_the_hyphenated_form() {
        let id = InstanceId::random();
        assert_eq!(id.to_string().to_uppercase().parse::<InstanceId>(), Ok(id));
        for bad in [
            "",
            "x",
            &id.as_uuid().simple().to_string(),
            &format!("{{{id}}}"),
            &id.as_uuid().urn().to_string(),
        ] {
            assert!(bad.parse::<InstanceId>().is_err(), "{bad} must be refused");
        }
    }

    #[test]
    fn the_floating_network_has_its_documented_id() {
        assert_eq!(NetworkId::FLOATING.to_string(), "00000000-0000-4000-8000-00000000f10a");
    }
}
