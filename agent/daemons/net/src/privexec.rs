//! Calls to the privileged worker from asynchronous code.

use std::io;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::time::Duration;

use sf_netstate::wire::{CallError, Client};
use sf_protos::net_privexec::request::Call;
use sf_protos::net_privexec::response::Outcome;
use sf_protos::net_privexec::{
    CountersCall, CountersReply, HostIntent, InventoryCall, InventoryReply, NetworkIntent,
    OpenServiceSocketsCall, PingCall, PingReply, RenderHostCall, RenderNetworkCall, RenderReply, SocketKind,
};
use sf_runtime::context;

/// The longest call is a ping without answers: ten times one second, and the pauses.
const TIMEOUT: Duration = Duration::from_secs(30);

/// The worker of this node. Every call blocks a thread of its own, never the executor.
#[derive(Debug, Clone)]
pub(crate) struct Privexec {
    client: Client,
    path: PathBuf,
}

impl Privexec {
    pub(crate) fn new(path: &std::path::Path) -> Self {
        Self { client: Client::new(path, TIMEOUT), path: path.to_owned() }
    }

    pub(crate) async fn render_network(&self, intent: NetworkIntent) -> Result<RenderReply, CallError> {
        match self.call(Call::RenderNetwork(RenderNetworkCall { intent: Some(intent) })).await? {
            (Outcome::Render(reply), _) => Ok(reply),
            _ => Err(self.confused()),
        }
    }

    pub(crate) async fn render_host(&self, intent: HostIntent) -> Result<RenderReply, CallError> {
        match self.call(Call::RenderHost(RenderHostCall { intent: Some(intent) })).await? {
            (Outcome::Render(reply), _) => Ok(reply),
            _ => Err(self.confused()),
        }
    }

    pub(crate) async fn inventory(&self) -> Result<InventoryReply, CallError> {
        match self.call(Call::Inventory(InventoryCall {})).await? {
            (Outcome::Inventory(reply), _) => Ok(reply),
            _ => Err(self.confused()),
        }
    }

    pub(crate) async fn counters(&self) -> Result<CountersReply, CallError> {
        match self.call(Call::Counters(CountersCall::default())).await? {
            (Outcome::Counters(reply), _) => Ok(reply),
            _ => Err(self.confused()),
        }
    }

    pub(crate) async fn ping(&self, network_uuid: String, address: String) -> Result<PingReply, CallError> {
        match self.call(Call::Ping(PingCall { network_uuid, address, count: 0 })).await? {
            (Outcome::Ping(reply), _) => Ok(reply),
            _ => Err(self.confused()),
        }
    }

    pub(crate) async fn keep_alive(
        &self,
        session_epoch: u64,
        ttl: Duration,
        dead_man: bool,
    ) -> Result<(), CallError> {
        let ttl_ms = u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX);
        let call = sf_protos::net_privexec::CarrierKeepAliveCall { session_epoch, ttl_ms, dead_man };
        self.call(Call::CarrierKeepAlive(call)).await.map(drop)
    }

    /// Sockets of these kinds, and the number that changes when the worker made them anew. No kinds ask for the number.
    pub(crate) async fn sockets(
        &self,
        network_uuid: String,
        kinds: &[SocketKind],
    ) -> Result<(Vec<OwnedFd>, u64), CallError> {
        let kinds = kinds.iter().map(|kind| i32::from(*kind)).collect();
        let call = OpenServiceSocketsCall { network_uuid, kinds };
        match self.call(Call::OpenServiceSockets(call)).await? {
            (Outcome::ServiceSockets(reply), descriptors) if descriptors.len() == reply.kinds.len() => {
                Ok((descriptors, reply.generation))
            }
            _ => Err(self.confused()),
        }
    }

    async fn call(&self, call: Call) -> Result<(Outcome, Vec<OwnedFd>), CallError> {
        let client = self.client.clone();
        let request_id = context::current().request_id.unwrap_or_default();
        match tokio::task::spawn_blocking(move || client.call(&request_id, call)).await {
            Ok(outcome) => outcome,
            Err(error) => Err(self.unavailable(io::Error::other(error))),
        }
    }

    fn confused(&self) -> CallError {
        self.unavailable(io::Error::new(io::ErrorKind::InvalidData, "the answer belongs to another call"))
    }

    fn unavailable(&self, source: io::Error) -> CallError {
        CallError::Unavailable { path: self.path.display().to_string(), source }
    }
}
