//! Rendering the node itself.

use std::net::IpAddr;
use std::sync::atomic::Ordering;

use sf_gateway::CallClass;
use sf_protos::net_privexec::HostIntent;
use sf_protos::networks::GetHostIntentRequest;

use crate::error::NetError;
use crate::state::State;

/// Renders the node from the database, or from the last intent while the database is away.
pub(crate) async fn render(state: &State) -> Result<(), NetError> {
    let intent = intent(state).await?;
    let carries = intent.egress.is_some();
    // A node whose own network cannot be brought to what it should be carries nothing.
    let stays_unfit = |_: &_| state.shared.may_carry.store(false, Ordering::Relaxed);
    let reply = state.privexec.render_host(intent).await.inspect_err(stays_unfit)?;
    for change in &reply.changes {
        tracing::info!(
            verb = change.verb,
            item = change.item,
            detail = change.detail,
            "the host was changed"
        );
    }
    state.shared.conditions.update(&state.context, &reply.conditions).await;
    let fit = !state.shared.conditions.stands("underlay_mtu_too_small");
    state.shared.may_carry.store(carries && fit, Ordering::Relaxed);
    Ok(())
}

async fn intent(state: &State) -> Result<HostIntent, NetError> {
    let request = GetHostIntentRequest { node_uuid: state.node_uuid() };
    match state.context.gateway.call(CallClass::Background, request).await {
        Ok(reply) => {
            let intent = reply
                .intent
                .ok_or(NetError::Unusable { what: "host intent", detail: "it is empty".into() })?;
            let intent = localise(state, intent);
            *state.shared.host.lock() = Some(intent.clone());
            Ok(intent)
        }
        Err(error) if error.is_transient() => state.shared.host.lock().clone().ok_or_else(|| error.into()),
        Err(error) => Err(error.into()),
    }
}

/// Adds what only the node's own configuration knows.
fn localise(state: &State, mut intent: HostIntent) -> HostIntent {
    let config = &state.context.config;
    intent.node_uuid = state.node_uuid();
    intent.mesh_ip = config.node_mesh_ip.to_string();
    intent.mesh_nic = config.node_mesh_nic.clone().unwrap_or_default();
    // Only the node knows how wide its mesh is.
    intent.protected_cidrs.extend(mesh_subnet(config.node_mesh_ip));
    intent.egress = intent.egress.filter(|_| config.carrier_eligible);
    if let Some(egress) = &mut intent.egress {
        egress.nic = config.node_egress_nic.clone().unwrap_or_default();
        egress.nic_dedicated = config.node_egress_nic_dedicated;
    }
    intent
}

/// The block of the interface that holds the mesh address.
fn mesh_subnet(mesh_ip: IpAddr) -> Option<String> {
    let interfaces = nix::ifaddrs::getifaddrs().ok()?;
    interfaces.into_iter().find_map(|interface| {
        let address = interface.address?.as_sockaddr_in()?.ip();
        let mask = interface.netmask?.as_sockaddr_in()?.ip();
        let prefix = u32::from(mask).count_ones();
        (IpAddr::V4(address) == mesh_ip).then(|| format!("{address}/{prefix}"))
    })
}
