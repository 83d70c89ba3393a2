//! `PUT …/keys` and `PUT …/keys/{key_name}`: a new secret for a key. Its tokens die; its scopes stay.

use serde_json::Value;
use sf_gateway::{CallClass, DbError};
use sf_model::ObjectType;
use sf_model::access::Scope;
use sf_protos::namespaces::{GetPrincipalRequest, PutKeyRequest};

use super::secret::{KeyWish, expiry, key_name, supplied};
use crate::call::Call;
use crate::controllers::objects::{Kind, Namespaces};
use crate::error::ApiError;
use crate::input::{Input, Request};
use crate::params::Fault;
use crate::reply::{ApiResult, Reply};

/// The name is in the body: what the Python client sends.
pub struct InBody(Rotate);

/// The name is in the path: what the Go client sends.
pub struct InPath(Rotate);

struct Rotate {
    namespace: String,
    wish: KeyWish,
}

impl Request for InBody {
    fn read(input: &mut Input) -> Result<Self, Fault> {
        let name = input.fields.required("key_name", key_name)?;
        Rotate::read(input, name).map(Self)
    }
}

impl Request for InPath {
    fn read(input: &mut Input) -> Result<Self, Fault> {
        let name = input.path("key_name", key_name)?;
        Rotate::read(input, name).map(Self)
    }
}

impl Rotate {
    fn read(input: &mut Input, name: String) -> Result<Self, Fault> {
        let least = input.cluster().auth_min_key_length;
        let secret = Some(input.fields.required("key", supplied(least))?);
        let expiry = input.fields.optional("expiry", expiry)?;
        let namespace = input.path(Namespaces::PARAMETER, Namespaces::parse)?;
        Ok(Self { namespace, wish: KeyWish { name, secret, expiry, scopes: None } })
    }
}

/// Answers the name of the key.
///
/// # Errors
/// 404 when there is no such key; 403 when it may do more than the caller.
pub async fn in_body(call: Call, request: InBody) -> ApiResult {
    rotate(call, request.0).await
}

/// Answers the name of the key.
///
/// # Errors
/// As [`in_body`].
pub async fn in_path(call: Call, request: InPath) -> ApiResult {
    rotate(call, request.0).await
}

async fn rotate(call: Call, mut request: Rotate) -> ApiResult {
    request.wish.scopes = present_scopes(&call, &request).await?;
    let made = request.wish.make(&call, &request.namespace).await?;
    let name = made.stored.key_name.clone();
    let wanted = PutKeyRequest {
        context: None,
        namespace: request.namespace,
        key: Some(made.stored),
        must_exist: true,
    };
    let reply = call.tier(wanted).await?;
    call.audit(ObjectType::NamespaceKey, reply.key_uuid, "key rotated");
    Ok(Reply::json(Value::String(name)))
}

/// A new secret must neither widen nor narrow a key. An expired key tells nobody its scopes any more: it gets those of
/// the caller.
async fn present_scopes(call: &Call, request: &Rotate) -> Result<Option<Vec<Scope>>, ApiError> {
    let principal =
        GetPrincipalRequest { namespace: request.namespace.clone(), key_name: request.wish.name.clone() };
    match call.api.daemon.gateway.call(CallClass::Interactive, principal).await {
        Ok(reply) => Ok(Some(reply.scopes.iter().filter_map(|scope| scope.parse().ok()).collect())),
        Err(DbError::NotFound { .. }) => Ok(None),
        Err(error) => Err(error.into()),
    }
}
