//! From a request to its answer. Every argument is parsed before anything is touched.

use std::net::Ipv4Addr;
use std::os::fd::{AsFd, OwnedFd};
use std::str::FromStr;
use std::time::Instant;

use sf_model::NetworkId;
use sf_netstate::NetError;
use sf_netstate::change::Change;
use sf_netstate::intent::{HostIntent, NetworkIntent};
use sf_netstate::names::Role;
use sf_netstate::netlink::conntrack::{self, FlowMatch};
use sf_netstate::nft::matches::{TCP, UDP};
use sf_netstate::ping::ping;
use sf_netstate::render::{Namespaces, Report, lock};
use sf_protos::net_privexec as pb;
use sf_protos::net_privexec::request::Call;
use sf_protos::net_privexec::response::Outcome;

use crate::announcer::send_now;
use crate::helper::OpenKind;
use crate::inventory::{counters, inventory};
use crate::worker::Worker;

/// Echo requests of one ping.
const PINGS: u32 = 10;
/// Most service sockets of one call.
const MAX_SOCKETS: usize = sf_netstate::wire::MAX_DESCRIPTORS;

/// Serves one request; a failure is an answer too.
pub(crate) fn serve(worker: &Worker, request: pb::Request) -> (pb::Response, Vec<OwnedFd>) {
    let started = Instant::now();
    let Some(call) = request.call else {
        return (failed(&NetError::InvalidIntent("the request names no call".into())), Vec::new());
    };
    let name = name_of(&call);
    let outcome = dispatch(worker, call);
    let label = if outcome.is_ok() { "ok" } else { "error" };
    metrics::counter!("sf_net_privexec_calls_total", "call" => name, "outcome" => label).increment(1);
    metrics::histogram!("sf_net_privexec_seconds", "call" => name).record(started.elapsed().as_secs_f64());
    let micros = started.elapsed().as_micros() as u64;
    match outcome {
        Ok((outcome, descriptors)) => {
            let changes = if let Outcome::Render(reply) = &outcome { reply.changes.len() } else { 0 };
            if changes > 0 {
                tracing::info!(request_id = request.request_id, call = name, changes, micros, "applied");
            }
            (pb::Response { outcome: Some(outcome) }, descriptors)
        }
        Err(error) => {
            tracing::error!(request_id = request.request_id, call = name, code = error.code(), %error, micros, "refused");
            (failed(&error), Vec::new())
        }
    }
}

type Answer = Result<(Outcome, Vec<OwnedFd>), NetError>;

fn dispatch(worker: &Worker, call: Call) -> Answer {
    let plain = |outcome| Ok((outcome, Vec::new()));
    match call {
        Call::RenderNetwork(call) => plain(Outcome::Render(render_network(worker, call)?)),
        Call::RenderHost(call) => plain(Outcome::Render(render_host(worker, call)?)),
        Call::OpenServiceSockets(call) => open_sockets(worker, &call),
        Call::Announce(call) => plain(Outcome::Announce(announce(worker, &call)?)),
        Call::FlushConntrack(call) => plain(Outcome::FlushConntrack(flush(worker, &call)?)),
        Call::Inventory(_) => plain(Outcome::Inventory(inventory(worker, worker.cluster())?)),
        Call::Ping(call) => plain(Outcome::Ping(ping_address(worker, &call)?)),
        // With one carrier nobody can take over, so nothing is fenced (`networking.md` §16.3).
        Call::CarrierKeepAlive(_) => {
            plain(Outcome::CarrierKeepAlive(pb::CarrierKeepAliveReply { fenced: false }))
        }
        Call::Counters(call) => {
            let networks =
                call.network_uuids.iter().map(|text| network(text)).collect::<Result<Vec<_>, _>>()?;
            plain(Outcome::Counters(counters(worker, &networks)?))
        }
    }
}

fn render_network(worker: &Worker, call: pb::RenderNetworkCall) -> Result<pb::RenderReply, NetError> {
    let intent = call.intent.ok_or_else(|| NetError::InvalidIntent("no intent".into()))?;
    let host = worker.host()?;
    let intent = NetworkIntent::parse(&intent, &host.intent)?;
    let report = worker.render(&intent)?;
    if report.changes.iter().any(moves_addresses) {
        worker.announcer.announce(intent.network);
    }
    Ok(render_reply(&report))
}

fn render_host(worker: &Worker, call: pb::RenderHostCall) -> Result<pb::RenderReply, NetError> {
    let intent = call.intent.ok_or_else(|| NetError::InvalidIntent("no intent".into()))?;
    let host = worker.render_host(&HostIntent::parse(&intent)?)?;
    let changes = host.changes.iter().map(|(verb, item, detail)| change(verb, item, detail.clone()));
    Ok(pb::RenderReply {
        changes: changes.collect(),
        messages: host.changes.len() as u64,
        conditions: host.conditions.iter().map(ToString::to_string).collect(),
        fdb: None,
    })
}

fn open_sockets(worker: &Worker, call: &pb::OpenServiceSocketsCall) -> Answer {
    if call.kinds.len() > MAX_SOCKETS {
        return Err(NetError::InvalidIntent(format!("at most {MAX_SOCKETS} sockets at once")));
    }
    let network = network(&call.network_uuid)?;
    let kinds: Vec<pb::SocketKind> = call.kinds().collect();
    // Client sockets touch nothing that is kept, so a resolver need not wait for a render.
    let client =
        |kind: &pb::SocketKind| matches!(kind, pb::SocketKind::UdpClient | pb::SocketKind::TcpClient);
    if !kinds.is_empty() && kinds.iter().all(client) {
        let opened =
            kinds.iter().map(|kind| worker.services.open_client(network, *kind)).collect::<Result<_, _>>()?;
        let reply = pb::ServiceSocketsReply { kinds: call.kinds.clone(), generation: 0 };
        return Ok((Outcome::ServiceSockets(reply), opened));
    }
    let _alone = worker.network(network);
    let (descriptors, generation) = worker.services.open(network, &kinds)?;
    let reply = pb::ServiceSocketsReply { kinds: call.kinds.clone(), generation };
    Ok((Outcome::ServiceSockets(reply), descriptors))
}

fn announce(worker: &Worker, call: &pb::AnnounceCall) -> Result<pb::AnnounceReply, NetError> {
    let network = existing(worker, &call.network_uuid)?;
    let only =
        call.addresses.iter().map(|text| parse(text, "address")).collect::<Result<Vec<Ipv4Addr>, _>>()?;
    let (sent, failed) = send_now(&worker.spaces, network, &only)?;
    Ok(pb::AnnounceReply { sent, failed })
}

fn flush(worker: &Worker, call: &pb::FlushConntrackCall) -> Result<pb::FlushConntrackReply, NetError> {
    let network = existing(worker, &call.network_uuid)?;
    let matches = call.matches.iter().map(flow).collect::<Result<Vec<_>, _>>()?;
    if matches.contains(&FlowMatch::default()) {
        return Err(NetError::InvalidIntent("a match without any field would end every connection".into()));
    }
    let sockets = worker.spaces.sockets(network)?;
    let deleted = conntrack::flush(&mut lock(&sockets).nft, &matches)?;
    Ok(pb::FlushConntrackReply { deleted })
}

fn ping_address(worker: &Worker, call: &pb::PingCall) -> Result<pb::PingReply, NetError> {
    let network = existing(worker, &call.network_uuid)?;
    let target: Ipv4Addr = parse(&call.address, "address")?;
    let socket = worker.spaces.open(network, OpenKind::Icmp)?;
    let count = if call.count == 0 { PINGS } else { call.count.min(PINGS) };
    let report = ping(socket.as_fd(), target, count)?;
    Ok(pb::PingReply {
        stdout_lines: report.lines,
        stderr_lines: Vec::new(),
        sent: report.sent,
        received: report.received,
    })
}

/// Whether neighbours have to learn something: an address is new, or a link that carries addresses came up.
fn moves_addresses(step: &Change) -> bool {
    match step {
        Change::Address(_, _, added) | Change::Proxy(_, _, added) => *added,
        Change::SetUp(Role::EgressOuter | Role::GatewayOuter, up) => *up,
        _ => false,
    }
}

fn render_reply(report: &Report) -> pb::RenderReply {
    let changes = report.changes.iter().map(|step| {
        let (verb, item, detail) = step.describe();
        change(verb, item, detail)
    });
    let number = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
    pb::RenderReply {
        changes: changes.collect(),
        messages: report.messages,
        conditions: Vec::new(),
        fdb: Some(pb::FdbSummary { flood: number(report.flood), unicast: number(report.unicast) }),
    }
}

fn change(verb: &str, item: &str, detail: String) -> pb::Change {
    pb::Change { verb: verb.to_owned(), item: item.to_owned(), detail }
}

fn flow(wanted: &pb::ConntrackMatch) -> Result<FlowMatch, NetError> {
    let address = |text: &str| if text.is_empty() { Ok(None) } else { parse(text, "address").map(Some) };
    let protocol = match wanted.protocol.as_str() {
        "" => None,
        "tcp" => Some(TCP),
        "udp" => Some(UDP),
        other => return Err(NetError::InvalidIntent(format!("unknown transport protocol {other:?}"))),
    };
    let port = u16::try_from(wanted.destination_port)
        .map_err(|_| NetError::InvalidIntent(format!("port {} is out of range", wanted.destination_port)))?;
    Ok(FlowMatch {
        original_destination: address(&wanted.original_destination)?,
        original_source: address(&wanted.original_source)?,
        reply_source: address(&wanted.reply_source)?,
        destination_port: (port > 0).then_some(port),
        protocol,
    })
}

fn existing(worker: &Worker, text: &str) -> Result<NetworkId, NetError> {
    let network = network(text)?;
    if worker.spaces.exists(network)? {
        Ok(network)
    } else {
        Err(NetError::InvalidIntent(format!("network {network} has no namespace on this node")))
    }
}

fn network(text: &str) -> Result<NetworkId, NetError> {
    parse(text, "network uuid")
}

fn parse<T: FromStr>(text: &str, what: &str) -> Result<T, NetError> {
    text.parse().map_err(|_| NetError::InvalidIntent(format!("{what} {text:?} is malformed")))
}

fn failed(error: &NetError) -> pb::Response {
    let (extack, object) = match error {
        NetError::Kernel(kernel) => (kernel.extack.clone(), kernel.object.clone()),
        _ => (String::new(), String::new()),
    };
    let failure =
        pb::Failure { code: error.code(), errno: error.errno(), extack, object, message: error.to_string() };
    pb::Response { outcome: Some(Outcome::Failure(failure)) }
}

fn name_of(call: &Call) -> &'static str {
    match call {
        Call::RenderNetwork(_) => "RenderNetwork",
        Call::RenderHost(_) => "RenderHost",
        Call::OpenServiceSockets(_) => "OpenServiceSockets",
        Call::Announce(_) => "Announce",
        Call::FlushConntrack(_) => "FlushConntrack",
        Call::Inventory(_) => "Inventory",
        Call::Ping(_) => "Ping",
        Call::CarrierKeepAlive(_) => "CarrierKeepAlive",
        Call::Counters(_) => "Counters",
    }
}
