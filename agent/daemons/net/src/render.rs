//! Rendering one network: the intent, the kernel, the services, the report.

use std::time::Instant;

use sf_gateway::CallClass;
use sf_model::NetworkId;
use sf_netstate::wire::CallError;
use sf_protos::net_privexec::{HostIntent, NetworkIntent, Presence, RenderReply};
use sf_protos::networks::{GetNetworkIntentRequest, ReportRenderReply, ReportRenderRequest};

use crate::error::NetError;
use crate::host;
use crate::record::{self, Reason};
use crate::state::State;

#[cfg(test)]
mod tests;

/// What a render came to.
pub(crate) struct Rendered {
    /// Generation of the intent.
    pub(crate) generation: u64,
    /// `present` or `absent`.
    pub(crate) outcome: &'static str,
    /// Number of changes.
    pub(crate) changes: usize,
}

/// How a failure is reported.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Failed {
    /// It will be tried again soon.
    Error,
    /// It failed so often that it rests.
    Quiesced,
}

/// Renders the newest intent of a network. The last one serves where the database named `known` as its generation.
///
/// It is chosen within the turn. One that was chosen before would be older than what the render it waits for applies, and
/// be refused as if something were wrong. A database that answers late holds up nobody else: who waits for this turn has
/// to ask it as well.
pub(crate) async fn newest(
    state: &State,
    network: NetworkId,
    known: Option<u64>,
    reason: Reason,
) -> Result<Rendered, NetError> {
    let turn = state.turn(network);
    let _turn = turn.lock().await;
    let last = state.shared.intents.lock().get(&network).cloned();
    let intent = match last.filter(|last| Some(last.generation) == known) {
        Some(last) => last,
        None => fetch(state, network).await?,
    };
    rendered(state, network, intent, reason).await
}

/// Renders this intent, which no row stands behind.
pub(crate) async fn given(
    state: &State,
    network: NetworkId,
    intent: NetworkIntent,
    reason: Reason,
) -> Result<Rendered, NetError> {
    let turn = state.turn(network);
    let _turn = turn.lock().await;
    rendered(state, network, intent, reason).await
}

/// The newest intent of a network, from one consistent snapshot.
async fn fetch(state: &State, network: NetworkId) -> Result<NetworkIntent, NetError> {
    let request = GetNetworkIntentRequest { network_uuid: network.to_string(), node_uuid: state.node_uuid() };
    let reply = state.context.gateway.call(CallClass::Background, request).await?;
    let unusable = |detail: &str| NetError::Unusable { what: "network intent", detail: detail.to_owned() };
    let intent = reply.intent.ok_or_else(|| unusable("it is empty"))?;
    // A wrong answer must not take another network away.
    if intent.network_uuid != network.to_string() {
        return Err(unusable("it is of another network"));
    }
    state.shared.intents.lock().insert(network, intent.clone());
    Ok(intent)
}

/// Renders an intent in the network's turn: kernel first, then the services; the reverse when it takes the network away.
async fn rendered(
    state: &State,
    network: NetworkId,
    intent: NetworkIntent,
    reason: Reason,
) -> Result<Rendered, NetError> {
    let started = Instant::now();
    let present = intent.presence() == Presence::Present;
    if !present || intent.carrier.is_none() {
        state.plane.stop(network).await;
    }
    meet_peers(state, &intent).await?;
    let reply = apply(state, &intent).await?;
    if present {
        state.plane.serve(network, &intent).await?;
    } else {
        state.shared.intents.lock().remove(&network);
    }
    metrics::histogram!("sf_net_render_seconds").record(started.elapsed().as_secs_f64());
    record::rendered(state, network, reason, present, &reply);
    let outcome = if present { "present" } else { "absent" };
    Ok(Rendered { generation: intent.generation, outcome, changes: reply.changes.len() })
}

/// Reports an outcome; completes operations and wakes what waits for them.
pub(crate) async fn report(
    state: &State,
    network: NetworkId,
    claim_token: &str,
    outcome: Result<&Rendered, (&NetError, u64, Failed)>,
) -> Result<ReportRenderReply, NetError> {
    let mut request = ReportRenderRequest {
        context: Some(state.context.gateway.mutation()),
        network_uuid: network.to_string(),
        node_uuid: state.node_uuid(),
        claim_token: claim_token.to_owned(),
        ..ReportRenderRequest::default()
    };
    match outcome {
        Ok(rendered) => {
            request.generation = rendered.generation;
            request.outcome = rendered.outcome.to_owned();
            request.changes = u32::try_from(rendered.changes).unwrap_or(u32::MAX);
        }
        Err((error, generation, failed)) => {
            request.generation = generation;
            request.outcome = match failed {
                Failed::Error => "error".to_owned(),
                Failed::Quiesced => "quiesced".to_owned(),
            };
            request.error_code = Some(error.code().to_owned());
            request.error_message = Some(error.to_string());
        }
    }
    Ok(state.context.gateway.call(CallClass::Background, request).await?)
}

/// The host drops the mesh frames of nodes it does not know: one that has just joined is made known before its network
/// is, not with the next pass.
async fn meet_peers(state: &State, intent: &NetworkIntent) -> Result<(), NetError> {
    let knows = |host: &HostIntent| intent.peers.iter().all(|peer| host.mesh_peers.contains(&peer.mesh_ip));
    let known = state.shared.host.lock().as_ref().is_some_and(knows);
    if known { Ok(()) } else { host::render(state).await }
}

/// A worker that was restarted does not know its host yet: it is told, and the render tried once more.
async fn apply(state: &State, intent: &NetworkIntent) -> Result<RenderReply, NetError> {
    match state.privexec.render_network(intent.clone()).await {
        Err(CallError::Refused(failure)) if failure.code == "network.render_failed" => {
            host::render(state).await?;
            Ok(state.privexec.render_network(intent.clone()).await?)
        }
        outcome => Ok(outcome?),
    }
}
