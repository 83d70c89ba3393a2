//! Calls to the privileged worker from asynchronous code.

use std::io;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use sf_netstate::wire::{CallError, Client};
use sf_protos::net_privexec::request::Call;
use sf_protos::net_privexec::response::Outcome;
use sf_protos::net_privexec::{
    CountersCall, CountersReply, HostIntent, InventoryCall, InventoryReply, NetworkIntent,
    OpenServiceSocketsCall, PingCall, PingReply, RenderHostCall, RenderNetworkCall, RenderReply, SocketKind,
};
use sf_runtime::context;
use tokio::sync::Semaphore;

/// The longest call is a ping without answers: ten times one second, and the pauses.
const TIMEOUT: Duration = Duration::from_secs(30);
/// Conversations about client sockets at a time, of all networks. Guests cause them, and the worker refuses whoever
/// comes while it holds 64 conversations: with these and the pings, most of those are left to renders.
const CLIENT_SOCKETS: usize = 16;

/// The worker of this node. Every call blocks a thread of its own, never the executor.
#[derive(Debug, Clone)]
pub(crate) struct Privexec {
    client: Client,
    path: PathBuf,
    client_sockets: Arc<Semaphore>,
}

impl Privexec {
    pub(crate) fn new(path: &std::path::Path) -> Self {
        let client_sockets = Arc::new(Semaphore::new(CLIENT_SOCKETS));
        Self { client: Client::new(path, TIMEOUT), path: path.to_owned(), client_sockets }
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

    /// `place` is dropped when the conversation is over, whoever still waits for it.
    pub(crate) async fn ping(
        &self,
        network_uuid: String,
        address: String,
        place: impl Send + 'static,
    ) -> Result<PingReply, CallError> {
        match self.call_holding(place, Call::Ping(PingCall { network_uuid, address, count: 0 })).await? {
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
        self.open(OpenServiceSocketsCall { network_uuid, kinds }, ()).await
    }

    /// A socket of this kind for asking somebody outside. Waits while too many are being opened; who gives up waiting
    /// leaves nothing behind.
    pub(crate) async fn client_socket(
        &self,
        network_uuid: String,
        kind: SocketKind,
    ) -> Result<OwnedFd, CallError> {
        let place = self.client_sockets.clone().acquire_owned().await;
        let place = place.map_err(|error| self.unavailable(io::Error::other(error)))?;
        let call = OpenServiceSocketsCall { network_uuid, kinds: vec![kind.into()] };
        let (descriptors, _) = self.open(call, place).await?;
        descriptors.into_iter().next().ok_or_else(|| self.confused())
    }

    async fn open(
        &self,
        call: OpenServiceSocketsCall,
        place: impl Send + 'static,
    ) -> Result<(Vec<OwnedFd>, u64), CallError> {
        match self.call_holding(place, Call::OpenServiceSockets(call)).await? {
            (Outcome::ServiceSockets(reply), descriptors) if descriptors.len() == reply.kinds.len() => {
                Ok((descriptors, reply.generation))
            }
            _ => Err(self.confused()),
        }
    }

    async fn call(&self, call: Call) -> Result<(Outcome, Vec<OwnedFd>), CallError> {
        self.call_holding((), call).await
    }

    /// The conversation goes on when nobody waits for it any more, and keeps its place as long.
    async fn call_holding(
        &self,
        place: impl Send + 'static,
        call: Call,
    ) -> Result<(Outcome, Vec<OwnedFd>), CallError> {
        let client = self.client.clone();
        let request_id = context::current().request_id.unwrap_or_default();
        let converse = move || {
            let _place = place;
            client.call(&request_id, call)
        };
        match tokio::task::spawn_blocking(converse).await {
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

#[cfg(test)]
mod tests {
    use std::os::unix::net::{UnixListener, UnixStream};

    use futures::future::join_all;
    use parking_lot::Mutex;
    use sf_netstate::wire;
    use sf_protos::net_privexec::{Request, Response};
    use tokio::time::timeout;

    use super::*;

    /// Most conversations of the real worker.
    const MOST: usize = 64;

    /// Like the worker while opening sockets takes for ever: it goes on to render as long as it has room.
    fn stuck_worker(listener: &UnixListener, held: &Mutex<Vec<UnixStream>>) {
        for stream in listener.incoming() {
            let stream = stream.unwrap();
            if held.lock().len() == MOST {
                continue;
            }
            let Ok(Some((request, _))) = wire::receive::<Request>(&stream) else { continue };
            if matches!(request.call, Some(Call::RenderNetwork(_))) {
                let response = Response { outcome: Some(Outcome::Render(RenderReply::default())) };
                wire::send(&stream, &response, &[]).unwrap();
            } else {
                held.lock().push(stream);
            }
        }
    }

    #[tokio::test]
    async fn queries_of_guests_leave_room_for_renders() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("net-privexec.sock");
        let listener = UnixListener::bind(&path).unwrap();
        let held = Arc::new(Mutex::new(Vec::new()));
        let worker = held.clone();
        std::thread::spawn(move || stuck_worker(&listener, &worker));
        let privexec = Privexec::new(&path);
        // Who gives up is followed by others, while the worker goes on with what it was asked for.
        for _ in 0..2 {
            let query = || privexec.client_socket("n".to_owned(), SocketKind::UdpClient);
            join_all((0..100).map(|_| timeout(Duration::from_millis(100), query()))).await;
        }
        let rendered = privexec.render_network(NetworkIntent::default()).await;
        let opening = std::mem::take(&mut *held.lock()).len();
        assert!(opening <= CLIENT_SOCKETS, "{opening} conversations at a time");
        rendered.unwrap();
    }
}
