//! The kinds of objects and how a reference to one becomes its id.

use std::future::Future;

use serde_json::Value;
use sf_model::{BlobId, InterfaceId, ObjectType, name};
use sf_protos::artifacts::GetArtifactRequest;
use sf_protos::blobs::GetBlobRequest;
use sf_protos::common::Selector;
use sf_protos::instances::GetInstanceRequest;
use sf_protos::networks::{GetInterfaceRequest, GetNetworkRequest};
use sf_protos::nodes::GetNodeRequest;

use crate::call::Call;
use crate::error::ApiError;
use crate::params::{Fault, reference, text_of, uuid};

/// A kind of object with routes of its own.
pub trait Kind: Send + Sync + 'static {
    /// Its type in events, metadata and operations.
    const OBJECT: ObjectType;
    /// Name of the path parameter that holds the reference.
    const PARAMETER: &'static str;

    /// Checks the form of a reference.
    ///
    /// # Errors
    /// What the kind does not accept.
    fn parse(value: Value) -> Result<String, Fault> {
        reference(value)
    }

    /// The id of an object the caller may see.
    fn resolve(call: &Call, reference: String) -> impl Future<Output = Result<String, ApiError>> + Send;
}

fn anywhere(reference: String) -> Option<Selector> {
    Some(Selector { reference, namespace: None })
}

/// Instances.
pub struct Instances;

impl Kind for Instances {
    const OBJECT: ObjectType = ObjectType::Instance;
    const PARAMETER: &'static str = "instance_ref";

    async fn resolve(call: &Call, reference: String) -> Result<String, ApiError> {
        let request = GetInstanceRequest { caller: call.wire(), selector: anywhere(reference) };
        Ok(call.tier(request).await?.instance.unwrap_or_default().uuid)
    }
}

/// Networks.
pub struct Networks;

impl Kind for Networks {
    const OBJECT: ObjectType = ObjectType::Network;
    const PARAMETER: &'static str = "network_ref";

    async fn resolve(call: &Call, reference: String) -> Result<String, ApiError> {
        let request = GetNetworkRequest { caller: call.wire(), selector: anywhere(reference) };
        Ok(call.tier(request).await?.network.unwrap_or_default().uuid)
    }
}

/// Interfaces.
pub struct Interfaces;

impl Kind for Interfaces {
    const OBJECT: ObjectType = ObjectType::Interface;
    const PARAMETER: &'static str = "interface_uuid";

    fn parse(value: Value) -> Result<String, Fault> {
        uuid::<InterfaceId>(value).map(String::from)
    }

    async fn resolve(call: &Call, interface_uuid: String) -> Result<String, ApiError> {
        let request = GetInterfaceRequest { caller: call.wire(), interface_uuid };
        Ok(call.tier(request).await?.interface.unwrap_or_default().uuid)
    }
}

/// Artifacts.
pub struct Artifacts;

impl Kind for Artifacts {
    const OBJECT: ObjectType = ObjectType::Artifact;
    const PARAMETER: &'static str = "artifact_ref";

    async fn resolve(call: &Call, reference: String) -> Result<String, ApiError> {
        let request = GetArtifactRequest { caller: call.wire(), selector: anywhere(reference), owned: false };
        Ok(call.tier(request).await?.artifact.unwrap_or_default().uuid)
    }
}

/// Blobs.
pub struct Blobs;

impl Kind for Blobs {
    const OBJECT: ObjectType = ObjectType::Blob;
    const PARAMETER: &'static str = "blob_uuid";

    fn parse(value: Value) -> Result<String, Fault> {
        uuid::<BlobId>(value).map(String::from)
    }

    async fn resolve(call: &Call, blob_uuid: String) -> Result<String, ApiError> {
        let request = GetBlobRequest { caller: call.wire(), blob_uuid };
        Ok(call.tier(request).await?.blob.unwrap_or_default().uuid)
    }
}

/// Nodes.
pub struct Nodes;

impl Kind for Nodes {
    const OBJECT: ObjectType = ObjectType::Node;
    const PARAMETER: &'static str = "node";

    async fn resolve(call: &Call, reference: String) -> Result<String, ApiError> {
        let reply = call.tier(GetNodeRequest { reference }).await?;
        Ok(reply.node.unwrap_or_default().uuid)
    }
}

/// Namespaces. The caller was checked to be the namespace or an administrator, or the tier checks that it has sight.
pub struct Namespaces;

impl Kind for Namespaces {
    const OBJECT: ObjectType = ObjectType::Namespace;
    const PARAMETER: &'static str = "namespace";

    fn parse(value: Value) -> Result<String, Fault> {
        text_of(name::namespace)(value)
    }

    async fn resolve(call: &Call, name: String) -> Result<String, ApiError> {
        let request = sf_protos::namespaces::GetNamespaceRequest { caller: call.wire(), name };
        Ok(call.tier(request).await?.namespace.unwrap_or_default().name)
    }
}
