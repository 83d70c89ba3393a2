//! The socket: connections, peer credentials, limits and the log line of every call.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::unistd::{Gid, Group, chown};
use sf_privileged::frame;
use sf_protos::privexec::{FailureCode, Reply, Request, reply};
use sf_runtime::{Shutdown, notify};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::dispatch::{self, Context, Handled};
use crate::failure::{OperationError, PrivexecError};
use crate::peers::{Peers, Role};
use crate::root::StorageRoot;
use crate::settings::Settings;

/// Operations at the same time.
const IN_FLIGHT: usize = 64;
/// How long an operation waits for its turn.
const TURN: Duration = Duration::from_secs(10);
/// Group whose members may connect.
const SOCKET_GROUP: &str = "sf-priv";

struct Server {
    context: Arc<Context>,
    peers: Peers,
    turns: Semaphore,
}

pub(crate) async fn serve(settings: Settings, shutdown: Shutdown) -> Result<(), PrivexecError> {
    let root = StorageRoot::open(&settings.storage_path)
        .map_err(|source| PrivexecError::Root { path: settings.storage_path.clone(), source })?;
    let socket = settings.socket.clone();
    let listener =
        listen(&socket).map_err(|source| PrivexecError::Socket { path: socket.clone(), source })?;
    let server = Arc::new(Server {
        context: Arc::new(Context { root, settings }),
        peers: Peers::resolve(),
        turns: Semaphore::new(IN_FLIGHT),
    });
    notify::ready();
    tracing::info!(socket = %socket.display(), "serving privileged operations");
    let mut connections = JoinSet::new();
    while let Some(accepted) = shutdown.unless(listener.accept()).await {
        match accepted {
            Ok((stream, _)) => {
                let (server, shutdown) = (server.clone(), shutdown.clone());
                connections.spawn(async move { server.connection(stream, &shutdown).await });
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
        while connections.try_join_next().is_some() {}
    }
    let _ = std::fs::remove_file(&socket);
    let drained = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(shutdown.drain_left(), drained).await.is_err() {
        tracing::warn!("operations in flight are given up");
    }
    Ok(())
}

/// Binds the socket; one that is left over from a dead helper is replaced.
fn listen(path: &Path) -> std::io::Result<UnixListener> {
    if let Some(directory) = path.parent() {
        std::fs::create_dir_all(directory)?;
    }
    if path.exists() {
        if std::os::unix::net::UnixStream::connect(path).is_ok() {
            return Err(std::io::ErrorKind::AddrInUse.into());
        }
        std::fs::remove_file(path)?;
    }
    let listener = UnixListener::bind(path)?;
    let group: Option<Gid> = Group::from_name(SOCKET_GROUP).ok().flatten().map(|group| group.gid);
    if group.is_some() {
        chown(path, None, group)?;
    }
    let mode = if group.is_some() { 0o660 } else { 0o600 };
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode))?;
    Ok(listener)
}

impl Server {
    async fn connection(&self, stream: UnixStream, shutdown: &Shutdown) {
        let credentials = match stream.peer_cred() {
            Ok(credentials) => credentials,
            Err(error) => return tracing::warn!(%error, "a connection without credentials was closed"),
        };
        let uid = credentials.uid();
        let Some(role) = self.peers.role(uid) else {
            metrics::counter!("sf_privexec_refused_total").increment(1);
            return tracing::warn!(uid, pid = credentials.pid(), "an unknown user was refused");
        };
        while let Some(received) = shutdown.unless(frame::receive::<Request>(&stream)).await {
            let (request, descriptors) = match received {
                Ok(Some(received)) => received,
                Ok(None) => return,
                Err(error) => return tracing::warn!(uid, %error, "a malformed request ended the connection"),
            };
            let work = self.answer(request, descriptors, role, uid, credentials.gid());
            // A caller that goes away no longer wants the result; dropping the work stops an image tool.
            let answered = tokio::select! {
                answered = work => answered,
                () = hung_up(&stream) => return tracing::info!(uid, "the caller went away during an operation"),
            };
            if let Err(error) = reply(&stream, answered).await {
                return tracing::warn!(uid, %error, "an answer could not be delivered");
            }
        }
    }

    async fn answer(
        &self,
        request: Request,
        descriptors: Vec<std::os::fd::OwnedFd>,
        role: Role,
        uid: u32,
        gid: u32,
    ) -> Result<Handled, OperationError> {
        let started = Instant::now();
        let Some(operation) = request.operation else {
            return Err(OperationError::invalid("an empty request"));
        };
        let (name, object) = dispatch::describe(&operation);
        let outcome = if role.allows(&operation) {
            match tokio::time::timeout(TURN, self.turns.acquire()).await {
                Ok(Ok(_turn)) => {
                    dispatch::handle(self.context.clone(), operation, descriptors, uid, gid).await
                }
                _ => Err(OperationError::new(FailureCode::Busy, "too many privileged operations at once")),
            }
        } else {
            let message = format!("user {uid} may not ask for {name}");
            Err(OperationError::new(FailureCode::Refused, message))
        };
        let duration = started.elapsed();
        let result = outcome.as_ref().map_or_else(|error| error.code.as_str_name(), |_| "ok");
        metrics::histogram!("sf_privexec_operation_seconds", "operation" => name, "result" => result)
            .record(duration.as_secs_f64());
        let detail = outcome.as_ref().err().map(|error| error.message.as_str()).unwrap_or_default();
        tracing::info!(
            uid, operation = name, object, result, detail, request_id = %request.request_id,
            duration_ms = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX), "privileged operation"
        );
        outcome
    }
}

async fn reply(stream: &UnixStream, outcome: Result<Handled, OperationError>) -> std::io::Result<()> {
    let (result, descriptors) = match outcome {
        Ok(handled) => (handled.result, handled.descriptors),
        Err(error) => (reply::Result::Failure(error.into()), Vec::new()),
    };
    let borrowed: Vec<_> = descriptors.iter().map(std::os::fd::AsFd::as_fd).collect();
    frame::send(stream, &Reply { result: Some(result) }, &borrowed).await
}

/// Resolves when the other end is gone. Bytes that arrive early are left for the next frame.
async fn hung_up(stream: &UnixStream) {
    loop {
        match stream.ready(tokio::io::Interest::READABLE | tokio::io::Interest::ERROR).await {
            Ok(ready) if ready.is_read_closed() || ready.is_error() => return,
            // Readable without being closed: the caller sent ahead, which cannot be waited for without reading it.
            Ok(_) => std::future::pending().await,
            Err(_) => return,
        }
    }
}
