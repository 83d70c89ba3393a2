//! `POST …/keys`: a new key, or a new secret for the name when it exists.

use serde_json::{Value, json};
use sf_model::ObjectType;
use sf_protos::namespaces::PutKeyRequest;

use super::secret::{KeyWish, expiry, key_name, scope, supplied};
use crate::call::Call;
use crate::controllers::objects::{Kind, Namespaces};
use crate::input::{Input, Request};
use crate::params::{Fault, list};
use crate::reply::{ApiResult, Reply};

/// The key.
pub struct Create {
    namespace: String,
    wish: KeyWish,
}

impl Request for Create {
    fn read(input: &mut Input) -> Result<Self, Fault> {
        let namespace = input.path(Namespaces::PARAMETER, Namespaces::parse)?;
        let least = input.cluster().auth_min_key_length;
        let fields = &mut input.fields;
        let wish = KeyWish {
            name: fields.required("key_name", key_name)?,
            secret: fields.optional("key", supplied(least))?,
            expiry: fields.optional("expiry", expiry)?,
            scopes: fields.optional("scopes", list(1..=64, scope))?,
        };
        Ok(Self { namespace, wish })
    }
}

/// Answers the name of the key, and a generated secret this once.
///
/// # Errors
/// 403 for reserved names and for scopes the caller lacks; 409 for too many keys.
pub async fn handle(call: Call, request: Create) -> ApiResult {
    let made = request.wish.make(&call, &request.namespace).await?;
    let name = made.stored.key_name.clone();
    let wanted = PutKeyRequest {
        context: None,
        namespace: request.namespace.clone(),
        key: Some(made.stored),
        must_exist: false,
    };
    let reply = call.tier(wanted).await?;
    call.audit(ObjectType::NamespaceKey, reply.key_uuid, "key issued");
    let body = match made.generated {
        None => Value::String(name),
        Some(secret) => json!({ "key_name": name, "key": secret }),
    };
    Ok(Reply::json(body))
}
