//! `GET /networks/{network_ref}/addresses`: every address that is not free.

use sf_model::ObjectType;
use sf_protos::networks::ListAddressesRequest;

use crate::call::Call;
use crate::controllers::objects::{Networks, Plain};
use crate::reply::{ApiResult, Reply};
use crate::views::AddressView;

/// Answers the reservations by address.
///
/// # Errors
/// 404.
pub async fn handle(call: Call, request: Plain<Networks>) -> ApiResult {
    let selector = call.select(ObjectType::Network, request.reference, None)?;
    let addresses = call
        .all(
            |page| ListAddressesRequest { caller: call.wire(), selector: selector.clone(), page: Some(page) },
            |reply| (reply.addresses, reply.page),
        )
        .await?;
    Ok(Reply::list(addresses.into_iter().map(AddressView::from)))
}
