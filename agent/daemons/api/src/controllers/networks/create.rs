//! `POST /networks`: everything a network needs is allocated in one transaction, or nothing is.

use ipnet::Ipv4Net;
use sf_model::{NetworkId, ObjectType, name};
use sf_protos::networks::CreateNetworkRequest;

use crate::call::Call;
use crate::caller::Caller;
use crate::input::{Input, Request};
use crate::params::{Fault, boolean, netblock, overlap, text_of};
use crate::reply::{ApiResult, Reply};
use crate::views::NetworkView;

/// A new network.
pub struct Create {
    name: String,
    netblock: Ipv4Net,
    provide_dhcp: bool,
    provide_nat: bool,
    provide_dns: bool,
    namespace: Option<String>,
}

impl Request for Create {
    fn read(input: &mut Input) -> Result<Self, Fault> {
        let fields = &mut input.fields;
        let request = Self {
            netblock: fields.required("netblock", netblock)?,
            name: fields.required("name", text_of(name::network))?,
            provide_dhcp: fields.or("provide_dhcp", true, boolean)?,
            provide_nat: fields.or("provide_nat", true, boolean)?,
            provide_dns: fields.or("provide_dns", false, boolean)?,
            namespace: fields.blankable("namespace", text_of(name::namespace))?,
        };
        let cluster = input.cluster();
        let taken = cluster.protected_cidrs.iter().chain([&cluster.floating_network]);
        if taken.into_iter().any(|other| overlap(*other, request.netblock)) {
            return Err(Fault::new("must not overlap a network of the cluster itself").at("netblock"));
        }
        Ok(request)
    }
}

/// Answers the network.
///
/// # Errors
/// 404 for a namespace that is not the caller's; 507 when a pool is exhausted.
pub async fn handle(call: Call, request: Create) -> ApiResult {
    let namespace = call.target_namespace(request.namespace, Caller::owns)?;
    let wanted = CreateNetworkRequest {
        context: None,
        caller: call.wire(),
        network_uuid: NetworkId::random().to_string(),
        namespace,
        name: request.name,
        netblock: request.netblock.to_string(),
        provide_dhcp: request.provide_dhcp,
        provide_nat: request.provide_nat,
        provide_dns: request.provide_dns,
    };
    let network = call.tier(wanted).await?.network.unwrap_or_default();
    call.audit(ObjectType::Network, &network.uuid, "network created");
    Ok(Reply::view(NetworkView::of(network, call.caller.is_system())))
}
