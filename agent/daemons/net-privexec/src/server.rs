//! The socket of the daemon: who may speak, and one thread per conversation.

use std::fs;
use std::os::fd::AsFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{getsockopt, sockopt};
use nix::unistd::{Group, User};
use rustix::thread::{CapabilitySet, CapabilitySets, set_capabilities};
use sf_netstate::wire;
use sf_protos::net_privexec::Request;

use crate::announcer::Announcer;
use crate::calls;
use crate::error::PrivexecError;
use crate::helper::Helper;
use crate::options::Options;
use crate::persist::Applied;
use crate::probe::probe;
use crate::spaces::Spaces;
use crate::worker::Worker;

/// The user that may speak beside root.
const CLIENT_USER: &str = "sf-net";
/// The group that may open the socket.
const SOCKET_GROUP: &str = "sf-netpriv";
/// Most conversations at a time; a client opens one per call.
const MAX_CONVERSATIONS: usize = 64;
/// How long a client may take to send its request.
const CLIENT_PATIENCE: Duration = Duration::from_secs(30);

/// A running daemon.
pub struct Server {
    stop: UnixStream,
    listening: JoinHandle<()>,
    socket: std::path::PathBuf,
}

impl Server {
    /// Forks the helper, checks the kernel's interfaces and starts to listen.
    ///
    /// # Errors
    /// See [`PrivexecError`].
    pub fn start(options: Options) -> Result<Self, PrivexecError> {
        // The helper comes first: it must inherit neither sockets nor locks.
        let helper = Helper::start(&options.netns_dir)?;
        let listener = listen(&options.socket)?;
        let applied = Applied::load(&options.state_dir)?;
        let (stop, stopped) = UnixStream::pair().map_err(at(&options.socket))?;
        let spaces = Arc::new(Spaces::new(helper, &options.netns_dir));
        let drop_capabilities = options.drop_capabilities;
        let (report, ready) = std::sync::mpsc::channel();
        let work = move || {
            // Capabilities belong to threads. The worker's are started from this one and inherit what is left.
            let started =
                keep_network_capabilities(drop_capabilities).and_then(|()| start_worker(spaces, applied));
            match started {
                Ok(worker) => {
                    let _ = report.send(Ok(()));
                    accept(&listener, &stopped, &worker);
                }
                Err(error) => drop(report.send(Err(error))),
            }
        };
        let listening = std::thread::Builder::new()
            .name("net-privexec".into())
            .spawn(work)
            .map_err(|error| PrivexecError::Thread(error.to_string()))?;
        ready.recv().map_err(|error| PrivexecError::Thread(error.to_string()))??;
        Ok(Self { stop, listening, socket: options.socket })
    }

    /// Stops listening and waits for running calls. Kernel state stays.
    pub fn stop(self) {
        drop(self.stop);
        let _ = self.listening.join();
        let _ = fs::remove_file(&self.socket);
    }
}

fn start_worker(spaces: Arc<Spaces>, applied: Applied) -> Result<Arc<Worker>, PrivexecError> {
    let announcer = Announcer::start(Arc::clone(&spaces))?;
    // Fails here rather than at the first render when the kernel or the capabilities do not suffice.
    probe(&spaces)?;
    let worker = Arc::new(Worker::new(spaces, applied, announcer));
    worker.with_root(|root| sf_netstate::netlink::link::list(&mut root.route, false).map(drop))?;
    Ok(worker)
}

fn listen(path: &Path) -> Result<UnixListener, PrivexecError> {
    if let Some(dir) = path.parent() {
        fs::create_dir_all(dir).map_err(at(dir))?;
    }
    match fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(at(path)(error)),
        _ => {}
    }
    let listener = UnixListener::bind(path).map_err(at(path))?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o660)).map_err(at(path))?;
    if let Ok(Some(group)) = Group::from_name(SOCKET_GROUP) {
        std::os::unix::fs::chown(path, None, Some(group.gid.as_raw())).map_err(at(path))?;
    }
    Ok(listener)
}

fn at(path: &Path) -> impl Fn(std::io::Error) -> PrivexecError {
    let path = path.display().to_string();
    move |source| PrivexecError::Path { path: path.clone(), source }
}

fn keep_network_capabilities(drop_others: bool) -> Result<(), PrivexecError> {
    if !drop_others {
        return Ok(());
    }
    let kept = CapabilitySet::NET_ADMIN | CapabilitySet::NET_RAW;
    let sets = CapabilitySets { effective: kept, permitted: kept, inheritable: CapabilitySet::empty() };
    set_capabilities(None, sets)
        .map_err(|error| PrivexecError::Thread(format!("dropping capabilities: {error}")))
}

fn accept(listener: &UnixListener, stopped: &UnixStream, worker: &Arc<Worker>) {
    let running = Arc::new(AtomicUsize::new(0));
    let mut conversations: Vec<JoinHandle<()>> = Vec::new();
    loop {
        let mut waits = [
            PollFd::new(listener.as_fd(), PollFlags::POLLIN),
            PollFd::new(stopped.as_fd(), PollFlags::POLLIN),
        ];
        match poll(&mut waits, PollTimeout::NONE) {
            Err(nix::errno::Errno::EINTR) => continue,
            Err(error) => return tracing::error!(%error, "the socket cannot be waited on"),
            Ok(_) => {}
        }
        let [_, stop] = &waits;
        if stop.any().unwrap_or(true) {
            break;
        }
        let Ok((stream, _)) = listener.accept() else { continue };
        conversations.retain(|conversation| !conversation.is_finished());
        if running.load(Ordering::Relaxed) >= MAX_CONVERSATIONS || !may_speak(&stream) {
            tracing::warn!("a conversation was refused");
            continue;
        }
        running.fetch_add(1, Ordering::Relaxed);
        let (worker, running) = (Arc::clone(worker), Arc::clone(&running));
        conversations.push(std::thread::spawn(move || {
            converse(&stream, &worker);
            running.fetch_sub(1, Ordering::Relaxed);
        }));
    }
    for conversation in conversations {
        let _ = conversation.join();
    }
}

/// Root and the user of `sf-net`; nobody else, whatever the socket's mode.
fn may_speak(stream: &UnixStream) -> bool {
    let Ok(peer) = getsockopt(stream, sockopt::PeerCredentials) else { return false };
    let client = User::from_name(CLIENT_USER).ok().flatten().map(|user| user.uid.as_raw());
    peer.uid() == 0 || Some(peer.uid()) == client
}

fn converse(stream: &UnixStream, worker: &Worker) {
    let limits =
        stream.set_read_timeout(Some(CLIENT_PATIENCE)).and(stream.set_write_timeout(Some(CLIENT_PATIENCE)));
    if limits.is_err() {
        return;
    }
    loop {
        match wire::receive::<Request>(stream) {
            Ok(Some((request, _))) => {
                let (response, descriptors) = calls::serve(worker, request);
                let borrowed: Vec<_> = descriptors.iter().map(AsFd::as_fd).collect();
                if let Err(error) = wire::send(stream, &response, &borrowed) {
                    return tracing::debug!(%error, "the client left before its answer");
                }
            }
            Ok(None) => return,
            Err(error) => return tracing::warn!(%error, "a malformed frame ended a conversation"),
        }
    }
}
