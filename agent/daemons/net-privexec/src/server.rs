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

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{getsockopt, sockopt};
use nix::unistd::{Group, User};
use rustix::thread::{CapabilitySet, CapabilitySets, set_capabilities};
use sf_netstate::wire;
use sf_protos::net_privexec::Request;
use tokio::sync::oneshot;

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
/// Pause in milliseconds after descriptors or memory were used up.
const ACCEPT_PAUSE: u16 = 100;
/// How long a client may take to send its request.
const CLIENT_PATIENCE: Duration = Duration::from_secs(30);

/// A running daemon.
pub struct Server {
    stop: UnixStream,
    ended: oneshot::Receiver<std::io::Error>,
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
        let (end, ended) = oneshot::channel();
        let work = move || {
            // Capabilities belong to threads. The worker's are started from this one and inherit what is left.
            let started =
                keep_network_capabilities(drop_capabilities).and_then(|()| start_worker(spaces, applied));
            match started {
                Ok(worker) => {
                    let _ = report.send(Ok(()));
                    let serve = move |stream: &UnixStream| converse(stream, &worker);
                    if let Err(error) = accept(&listener, &stopped, &Arc::new(serve)) {
                        tracing::error!(%error, "the socket cannot be listened on any more");
                        let _ = end.send(error);
                    }
                }
                Err(error) => drop(report.send(Err(error))),
            }
        };
        let listening = std::thread::Builder::new()
            .name("net-privexec".into())
            .spawn(work)
            .map_err(|error| PrivexecError::Thread(error.to_string()))?;
        ready.recv().map_err(|error| PrivexecError::Thread(error.to_string()))??;
        Ok(Self { stop, ended, listening, socket: options.socket })
    }

    /// Waits until nobody is listened to any more although [`Server::stop`] was not called, and says why.
    pub async fn ended(&mut self) -> PrivexecError {
        match (&mut self.ended).await {
            Ok(error) => PrivexecError::Listener(error),
            Err(_) => PrivexecError::Thread("the listener ended".to_owned()),
        }
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

/// Holds conversations until `stopped` is closed.
///
/// # Errors
/// The socket cannot be listened on any more.
fn accept<S>(listener: &UnixListener, stopped: &UnixStream, serve: &Arc<S>) -> std::io::Result<()>
where
    S: Fn(&UnixStream) + Send + Sync + 'static,
{
    let running = Arc::new(AtomicUsize::new(0));
    let mut conversations: Vec<JoinHandle<()>> = Vec::new();
    loop {
        let mut waits = [
            PollFd::new(listener.as_fd(), PollFlags::POLLIN),
            PollFd::new(stopped.as_fd(), PollFlags::POLLIN),
        ];
        match poll(&mut waits, PollTimeout::NONE) {
            Err(Errno::EINTR) => continue,
            Err(error) => return Err(error.into()),
            Ok(_) => {}
        }
        let [_, stop] = &waits;
        if stop.any().unwrap_or(true) {
            break;
        }
        let stream = match listener.accept() {
            Ok((stream, _)) => stream,
            Err(error) => match after(&error) {
                After::Next => continue,
                After::Pause => {
                    tracing::warn!(%error, "no conversation can be accepted now");
                    // Unlike a sleep this ends when the daemon is stopped.
                    let _ = poll(&mut [PollFd::new(stopped.as_fd(), PollFlags::POLLIN)], ACCEPT_PAUSE);
                    continue;
                }
                After::End => return Err(error),
            },
        };
        conversations.retain(|conversation| !conversation.is_finished());
        if running.load(Ordering::Relaxed) >= MAX_CONVERSATIONS || !may_speak(&stream) {
            tracing::warn!("a conversation was refused");
            continue;
        }
        let (serve, count) = (Arc::clone(serve), Counted::new(&running));
        let conversation = std::thread::Builder::new().name("conversation".into()).spawn(move || {
            let _count = count;
            serve(&stream);
        });
        match conversation {
            Ok(conversation) => conversations.push(conversation),
            // The client sees its connection closed and calls again.
            Err(error) => tracing::warn!(%error, "a conversation was given up: no thread can be started"),
        }
    }
    for conversation in conversations {
        let _ = conversation.join();
    }
    Ok(())
}

/// A conversation that counts for as long as it lasts, however it ends.
struct Counted(Arc<AtomicUsize>);

impl Counted {
    fn new(running: &Arc<AtomicUsize>) -> Self {
        running.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(running))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What follows from a connection that could not be accepted.
#[derive(Debug, PartialEq, Eq)]
enum After {
    /// It was about that connection only.
    Next,
    /// Something is used up, and the connection still waits: trying again at once would spin.
    Pause,
    /// The socket itself is unusable.
    End,
}

fn after(error: &std::io::Error) -> After {
    match error.raw_os_error().map(Errno::from_raw) {
        Some(Errno::EINTR | Errno::EAGAIN | Errno::ECONNABORTED | Errno::EPROTO | Errno::EPERM) => {
            After::Next
        }
        Some(Errno::EMFILE | Errno::ENFILE | Errno::ENOBUFS | Errno::ENOMEM) => After::Pause,
        _ => After::End,
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

#[cfg(test)]
mod tests {
    use nix::sys::socket::{Shutdown, shutdown};

    use super::*;

    #[test]
    fn what_is_used_up_is_waited_for_and_a_dead_socket_is_the_end() {
        let after = |errno: Errno| after(&errno.into());
        assert_eq!(after(Errno::ECONNABORTED), After::Next);
        assert_eq!((after(Errno::EMFILE), after(Errno::ENFILE)), (After::Pause, After::Pause));
        assert_eq!((after(Errno::EINVAL), after(Errno::EBADF)), (After::End, After::End));
    }

    #[test]
    fn the_end_of_the_socket_is_told() {
        let directory = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(directory.path().join("socket")).unwrap();
        let (_stop, stopped) = UnixStream::pair().unwrap();
        shutdown(std::os::fd::AsRawFd::as_raw_fd(&listener), Shutdown::Both).unwrap();
        assert!(accept(&listener, &stopped, &Arc::new(|_: &UnixStream| {})).is_err());
    }

    #[test]
    fn a_conversation_that_panics_does_not_count_for_ever() {
        let running = Arc::new(AtomicUsize::new(0));
        let count = Counted::new(&running);
        let ended = std::thread::spawn(move || {
            let _count = count;
            panic!("deliberate");
        });
        assert!(ended.join().is_err());
        assert_eq!(running.load(Ordering::Relaxed), 0);
    }
}
