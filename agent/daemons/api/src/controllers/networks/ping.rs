//! `GET /networks/{network_ref}/ping/{address}`: from inside the network, on the node that carries it.

use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use serde_json::{Value, json};
use sf_model::ObjectType;
use sf_model::state::{NetworkState, Readiness};
use sf_protos::net_node::PingRequest;
use sf_protos::net_node::net_node_client::NetNodeClient;
use sf_protos::networks::{GetNetworkRequest, Network};

use crate::call::Call;
use crate::controllers::objects::{Kind, Networks};
use crate::error::ApiError;
use crate::input::{Input, Request};
use crate::nodes::{Place, no_answer, refused};
use crate::params::{Fault, ipv4};
use crate::reply::{ApiResult, Reply};

/// Whom to ping, where.
pub struct Ping {
    reference: String,
    address: Ipv4Addr,
}

impl Request for Ping {
    fn read(input: &mut Input) -> Result<Self, Fault> {
        Ok(Self {
            reference: input.path(Networks::PARAMETER, Networks::parse)?,
            address: input.path("address", ipv4)?,
        })
    }
}

/// Answers what a ping tool prints. That nobody answered the ping is no error.
///
/// # Errors
/// 400 outside the netblock; 406 or 409 by state; 503 when the carrier does not answer.
pub async fn handle(call: Call, request: Ping) -> ApiResult {
    let selector = call.select(ObjectType::Network, request.reference, None)?;
    let reply = call.tier(GetNetworkRequest { caller: call.wire(), selector }).await?;
    let network = reply.network.unwrap_or_default();
    check(&network, request.address)?;
    let carrier = network.carrier_node_name.clone().unwrap_or_default();
    let address = network.carrier_mesh_ip.as_deref().and_then(|ip| ip.parse().ok());
    let place = Place { address: address.ok_or_else(|| no_answer(&carrier))?, name: carrier };
    let channel = call.api.nodes.channel(&call.api, &place, call.api.daemon.config.net_rpc_port)?;
    let ping = PingRequest { network_uuid: network.uuid, address: request.address.to_string() };
    let output =
        NetNodeClient::new(channel).ping(ping).await.map_err(|status| refused(&status, &place.name))?;
    let output = output.into_inner();
    Ok(Reply::json(shown(&output.stdout_lines, &output.stderr_lines)))
}

fn check(network: &Network, address: Ipv4Addr) -> Result<(), ApiError> {
    let block: Option<Ipv4Net> = network.netblock.parse().ok();
    if !block.is_some_and(|block| block.contains(&address)) {
        return Err(ApiError::malformed("address: must be inside the network's netblock"));
    }
    let state = network.state.as_ref().map(|state| state.state.as_str()).unwrap_or_default();
    let message = || format!("network {} is not ready ({state})", network.uuid);
    match state.parse::<NetworkState>().map_or(Readiness::Never, NetworkState::readiness) {
        Readiness::Ready => Ok(()),
        Readiness::NotYet => Err(ApiError::not_ready(message())),
        Readiness::Never => Err(ApiError::conflict(message())),
        Readiness::Gone => Err(ApiError::not_found("network")),
    }
}

/// Strings for the command line, lists for everybody else.
fn shown(stdout: &[String], stderr: &[String]) -> Value {
    json!({
        "stdout": stdout.join("\n"),
        "stderr": stderr.join("\n"),
        "stdout_lines": stdout,
        "stderr_lines": stderr,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use sf_protos::common::StateInfo;

    #[test]
    fn only_usable_networks_and_their_own_addresses() {
        let status = |state: &str, address: [u8; 4]| {
            let state = Some(StateInfo { state: state.into(), ..StateInfo::default() });
            let network = Network { netblock: "10.0.0.0/24".into(), state, ..Network::default() };
            check(&network, address.into()).err().map(|error| error.status().as_u16())
        };
        assert_eq!(status("created", [10, 0, 0, 5]), None);
        assert_eq!(status("created", [10, 0, 1, 5]), Some(400));
        assert_eq!(status("initial", [10, 0, 0, 5]), Some(406));
        assert_eq!(status("delete-wait", [10, 0, 0, 5]), Some(409));
        assert_eq!(status("deleted", [10, 0, 0, 5]), Some(404));
    }

    #[test]
    fn output_is_shown_both_ways() {
        let shown = shown(&["a".to_owned(), "b".to_owned()], &[]);
        assert_eq!(shown["stdout"], "a\nb");
        assert_eq!(shown["stderr_lines"], json!([]));
    }
}
