//! `POST …/trust` and `DELETE …/trust/{external_namespace}`: whom a namespace trusts.

use sf_model::access::SYSTEM_NAMESPACE;
use sf_model::{ObjectType, name};
use sf_protos::namespaces::{AddTrustRequest, Namespace, RemoveTrustRequest};

use crate::call::Call;
use crate::controllers::objects::{Kind, Namespaces};
use crate::error::ApiError;
use crate::input::{Input, Request};
use crate::params::{Fault, text_of};
use crate::reply::{ApiResult, Reply};
use crate::views::NamespaceView;

const EXTERNAL: &str = "external_namespace";

/// A trust to add.
pub struct Add {
    namespace: String,
    external: String,
}

impl Request for Add {
    fn read(input: &mut Input) -> Result<Self, Fault> {
        Ok(Self {
            namespace: input.path(Namespaces::PARAMETER, Namespaces::parse)?,
            external: input.fields.required(EXTERNAL, text_of(name::namespace))?,
        })
    }
}

/// A trust to remove.
pub struct Remove {
    namespace: String,
    external: String,
}

impl Request for Remove {
    fn read(input: &mut Input) -> Result<Self, Fault> {
        Ok(Self {
            namespace: input.path(Namespaces::PARAMETER, Namespaces::parse)?,
            external: input.path(EXTERNAL, text_of(name::namespace))?,
        })
    }
}

/// Answers the namespace.
///
/// # Errors
/// 404 when the other namespace does not exist.
pub async fn add(call: Call, request: Add) -> ApiResult {
    let wanted =
        AddTrustRequest { context: None, namespace: request.namespace, external_namespace: request.external };
    let namespace = call.tier(wanted).await?.namespace;
    Ok(changed(&call, namespace, "trust added"))
}

/// Answers the namespace. Removing what is not there is no error.
///
/// # Errors
/// 403 for `system`, which everybody trusts.
pub async fn remove(call: Call, request: Remove) -> ApiResult {
    if request.external == SYSTEM_NAMESPACE {
        return Err(ApiError::forbidden("the system namespace is always trusted"));
    }
    let wanted = RemoveTrustRequest {
        context: None,
        namespace: request.namespace,
        external_namespace: request.external,
    };
    let namespace = call.tier(wanted).await?.namespace;
    Ok(changed(&call, namespace, "trust removed"))
}

fn changed(call: &Call, namespace: Option<Namespace>, action: &'static str) -> Reply {
    let namespace = namespace.unwrap_or_default();
    call.audit(ObjectType::Namespace, &namespace.name, action);
    Reply::view(NamespaceView::from(namespace))
}
