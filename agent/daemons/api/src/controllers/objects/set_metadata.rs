//! `POST …/metadata` and `PUT …/metadata/{key}`: one key of an object's metadata.

use std::marker::PhantomData;

use serde_json::Value;
use sf_model::affinity::{Affinity, parse_tags};
use sf_model::{ObjectType, name};
use sf_protos::common::Selector;
use sf_protos::metadata::SetMetadataKeyRequest;

use super::Kind;
use crate::call::Call;
use crate::input::{Input, Request};
use crate::params::{Fault, any, text_of};
use crate::reply::{ApiResult, Reply};

/// Bytes of one value as JSON.
pub const MAX_VALUE: usize = 64 * 1024;

/// `POST`: the key is in the body.
pub struct Post<K>(Set<K>);

/// `PUT`: the key is in the path.
pub struct Put<K>(Set<K>);

struct Set<K> {
    reference: String,
    key: String,
    value: String,
    kind: PhantomData<K>,
}

impl<K: Kind> Request for Post<K> {
    fn read(input: &mut Input) -> Result<Self, Fault> {
        let key = input.fields.required("key", text_of(name::metadata_key))?;
        Set::read(input, key).map(Self)
    }
}

impl<K: Kind> Request for Put<K> {
    fn read(input: &mut Input) -> Result<Self, Fault> {
        let key = input.path("key", text_of(name::metadata_key))?;
        Set::read(input, key).map(Self)
    }
}

impl<K: Kind> Set<K> {
    fn read(input: &mut Input, key: String) -> Result<Self, Fault> {
        let value = input.fields.required("value", any)?;
        let value = checked(K::OBJECT, &key, &value).map_err(|fault| fault.at("value"))?;
        Ok(Self { reference: input.path(K::PARAMETER, K::parse)?, key, value, kind: PhantomData })
    }
}

/// The JSON text of a value that the object may have under this key.
///
/// # Errors
/// Too large, or one of the keys with a meaning and the wrong shape.
pub fn checked(object: ObjectType, key: &str, value: &Value) -> Result<String, Fault> {
    let refused = |error: sf_model::affinity::AffinityError| Fault::new(error.to_string());
    match (object, key) {
        (ObjectType::Instance, "tags") => drop(parse_tags(value).map_err(refused)?),
        (ObjectType::Instance, "affinity") => drop(Affinity::parse(value).map_err(refused)?),
        _ => {}
    }
    let text = value.to_string();
    if text.len() > MAX_VALUE {
        return Err(Fault::new(format!("must be at most {MAX_VALUE} bytes as JSON")));
    }
    Ok(text)
}

/// Answers null.
///
/// # Errors
/// 404; 400 when all metadata of the object together is too large.
pub async fn post<K: Kind>(call: Call, request: Post<K>) -> ApiResult {
    store(call, request.0).await
}

/// Answers null.
///
/// # Errors
/// 404; 400 when all metadata of the object together is too large.
pub async fn put<K: Kind>(call: Call, request: Put<K>) -> ApiResult {
    store(call, request.0).await
}

async fn store<K: Kind>(call: Call, set: Set<K>) -> ApiResult {
    let request = SetMetadataKeyRequest {
        context: None,
        caller: call.wire(),
        object_type: K::OBJECT.to_string(),
        selector: Some(Selector { reference: set.reference, namespace: None }),
        key: set.key,
        value_json: set.value,
    };
    let object_id = call.tier(request).await?.object_id;
    call.audit(K::OBJECT, object_id, "metadata set");
    Ok(Reply::null())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn two_keys_of_instances_have_a_shape() {
        let ok = |object, key, value| checked(object, key, &value).is_ok();
        assert!(ok(ObjectType::Instance, "tags", json!(["web"])));
        assert!(!ok(ObjectType::Instance, "tags", json!("web")));
        assert!(ok(ObjectType::Network, "tags", json!("web")));
        assert!(!ok(ObjectType::Instance, "affinity", json!({"a": true})));
        assert!(!ok(ObjectType::Instance, "anything", json!("x".repeat(MAX_VALUE))));
    }
}
