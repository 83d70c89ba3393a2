//! `GET /auth/namespaces/{namespace}`.

use sf_protos::namespaces::GetNamespaceRequest;

use crate::call::Call;
use crate::controllers::objects::{Kind, Namespaces};
use crate::input::{Input, Request};
use crate::params::Fault;
use crate::reply::{ApiResult, Reply};
use crate::views::NamespaceView;

/// Which namespace.
pub struct Get {
    pub(super) name: String,
}

impl Request for Get {
    fn read(input: &mut Input) -> Result<Self, Fault> {
        Ok(Self { name: input.path(Namespaces::PARAMETER, Namespaces::parse)? })
    }
}

/// Answers the namespace.
///
/// # Errors
/// 404, also for deleted ones.
pub async fn handle(call: Call, request: Get) -> ApiResult {
    let request = GetNamespaceRequest { caller: call.wire(), name: request.name };
    let namespace = call.tier(request).await?.namespace.unwrap_or_default();
    Ok(Reply::view(NamespaceView::from(namespace)))
}
