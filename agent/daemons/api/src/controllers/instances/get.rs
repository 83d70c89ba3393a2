//! `GET /instances/{instance_ref}`.

use sf_model::{ObjectType, name};
use sf_protos::instances::{GetInstanceRequest, Instance};

use crate::call::Call;
use crate::controllers::objects::{Instances, Kind};
use crate::error::ApiError;
use crate::input::{Input, Request};
use crate::params::{Fault, text_of};
use crate::reply::{ApiResult, Reply};
use crate::views::InstanceView;

/// An instance, perhaps of one namespace.
pub struct Named {
    pub(super) reference: String,
    pub(super) namespace: Option<String>,
}

impl Request for Named {
    fn read(input: &mut Input) -> Result<Self, Fault> {
        Ok(Self {
            reference: input.path(Instances::PARAMETER, Instances::parse)?,
            namespace: input.fields.blankable("namespace", text_of(name::namespace))?,
        })
    }
}

/// An instance on a route that knows no namespace.
pub struct Plain {
    pub(super) reference: String,
}

impl Request for Plain {
    fn read(input: &mut Input) -> Result<Self, Fault> {
        Ok(Self { reference: input.path(Instances::PARAMETER, Instances::parse)? })
    }
}

/// Answers the instance.
///
/// # Errors
/// 404; 400 for an ambiguous name.
pub async fn handle(call: Call, request: Named) -> ApiResult {
    let instance = find(&call, request.reference, request.namespace).await?;
    Ok(Reply::view(InstanceView::from(instance)))
}

/// An instance of the caller's.
///
/// # Errors
/// 404; 400 for an ambiguous name.
pub(super) async fn find(
    call: &Call,
    reference: String,
    namespace: Option<String>,
) -> Result<Instance, ApiError> {
    let selector = call.select(ObjectType::Instance, reference, namespace)?;
    let request = GetInstanceRequest { caller: call.wire(), selector };
    Ok(call.tier(request).await?.instance.unwrap_or_default())
}
