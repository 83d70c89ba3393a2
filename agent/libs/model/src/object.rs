//! Kinds of objects and references to them.

use strum::{Display, EnumIter, EnumString, IntoStaticStr};

/// Kinds of objects that events, metadata and operation targets can name. On the wire the kind is a string, so that
/// an older gateway can store what a newer daemon records.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Display, EnumString, EnumIter, IntoStaticStr,
)]
#[strum(serialize_all = "snake_case")]
pub enum ObjectType {
    /// A virtual machine.
    Instance,
    /// A virtual network.
    Network,
    /// A network interface (`networkinterface` in the REST contract).
    #[strum(serialize = "networkinterface")]
    Interface,
    /// A named index of blobs.
    Artifact,
    /// An immutable run of bytes.
    Blob,
    /// A host.
    Node,
    /// A tenant.
    Namespace,
    /// A namespace key.
    NamespaceKey,
    /// An upload in progress.
    Upload,
    /// A cluster operation.
    #[strum(serialize = "clusteroperation")]
    Operation,
    /// One REST request.
    #[strum(serialize = "api-request")]
    ApiRequest,
}

/// A reference to one object, as events and targets carry it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectRef {
    /// The kind, a known [`ObjectType`] or a newer one.
    pub object_type: String,
    /// UUID for most kinds; the name for namespaces; the request id for requests.
    pub object_id: String,
}

impl ObjectRef {
    /// A reference to an object of a known kind.
    pub fn new(object_type: ObjectType, object_id: impl Into<String>) -> Self {
        Self { object_type: object_type.to_string(), object_id: object_id.into() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_have_their_contract_names() {
        assert_eq!(ObjectType::Interface.to_string(), "networkinterface");
        assert_eq!(ObjectType::ApiRequest.to_string(), "api-request");
        assert_eq!("instance".parse::<ObjectType>().ok(), Some(ObjectType::Instance));
    }
}
