//! `POST /auth/namespaces`, with a first key if one is given.

use sf_model::{ObjectType, name};
use sf_protos::namespaces::CreateNamespaceRequest;

use crate::call::Call;
use crate::controllers::keys::secret::{KeyWish, key_name, supplied};
use crate::input::{Input, Request};
use crate::params::{Fault, text_of};
use crate::reply::{ApiResult, Reply};
use crate::views::NamespaceView;

/// A new namespace.
pub struct Create {
    name: String,
    key: Option<KeyWish>,
}

impl Request for Create {
    fn read(input: &mut Input) -> Result<Self, Fault> {
        let least = input.cluster().auth_min_key_length;
        let fields = &mut input.fields;
        let name = fields.required("namespace", text_of(name::namespace))?;
        let key_name = fields.blankable("key_name", key_name)?;
        let secret = fields.blankable("key", supplied(least))?;
        let key = match (key_name, secret) {
            (None, None) => None,
            (Some(name), Some(secret)) => Some(KeyWish::named(name, Some(secret))),
            (Some(_), None) => return Err(Fault::new("required with key_name").at("key")),
            (None, Some(_)) => return Err(Fault::new("required with key").at("key_name")),
        };
        Ok(Self { name, key })
    }
}

/// Answers the namespace.
///
/// # Errors
/// 403 when it exists, or for a reserved key name.
pub async fn handle(call: Call, request: Create) -> ApiResult {
    let key = match request.key {
        Some(wish) => Some(wish.make(&call, &request.name).await?.stored),
        None => None,
    };
    let wanted = CreateNamespaceRequest { context: None, name: request.name, key };
    let namespace = call.tier(wanted).await?.namespace.unwrap_or_default();
    call.audit(ObjectType::Namespace, &namespace.name, "namespace created");
    Ok(Reply::view(NamespaceView::from(namespace)))
}
