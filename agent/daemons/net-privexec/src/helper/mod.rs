//! The namespace helper: a process with `CAP_SYS_ADMIN` that knows four verbs and nothing else.
//!
//! `setns(2)` and `unshare(2)` need that capability; a netlink socket opened inside a namespace and handed out needs
//! `CAP_NET_ADMIN` alone. So the helper opens sockets, and the worker uses them.

mod process;
mod protocol;

use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use nix::sys::socket::{AddressFamily, SockFlag, SockType, socketpair};
use parking_lot::Mutex;
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendFlags, recvmsg, sendmsg};
use sf_model::NetworkId;
use sf_netstate::NetError;
use uuid::Uuid;

use crate::error::PrivexecError;
use crate::sys;
use protocol::{MAX_REPLY, Reply};
pub(crate) use protocol::{OpenKind, Request};

/// The worker's end of the conversation. One request at a time: each takes well under a millisecond.
pub(crate) struct Helper {
    socket: Mutex<OwnedFd>,
    pid: i32,
}

impl Helper {
    /// Forks the helper. Has to happen before capabilities are dropped.
    pub(crate) fn start(netns_dir: &Path) -> Result<Self, PrivexecError> {
        let failed = |error: nix::Error| PrivexecError::Helper(error.into());
        let (ours, theirs) =
            socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC)
                .map_err(failed)?;
        let pid =
            sys::fork_child(|| process::serve(theirs.as_fd(), netns_dir)).map_err(PrivexecError::Helper)?;
        Ok(Self { socket: Mutex::new(ours), pid })
    }

    /// Creates the namespace of a network; an existing one is success.
    pub(crate) fn create(&self, network: NetworkId) -> Result<(), NetError> {
        self.call(&Request::Create(network.as_uuid())).map(drop)
    }

    /// Deletes the namespace of a network; a missing one is success.
    pub(crate) fn delete(&self, network: NetworkId) -> Result<(), NetError> {
        self.call(&Request::Delete(network.as_uuid())).map(drop)
    }

    /// Every namespace named by a UUID.
    pub(crate) fn list(&self) -> Result<Vec<NetworkId>, NetError> {
        let (names, _) = self.call(&Request::List)?;
        Ok(names.into_iter().map(NetworkId::from_uuid).collect())
    }

    /// A socket opened inside the namespace.
    pub(crate) fn open(&self, network: NetworkId, kind: OpenKind) -> Result<OwnedFd, NetError> {
        let (_, mut descriptors) = self.call(&Request::Open(network.as_uuid(), kind))?;
        let missing =
            || NetError::Decode { object: "namespace helper".into(), detail: "no descriptor came".into() };
        descriptors.pop().ok_or_else(missing)
    }

    fn call(&self, request: &Request) -> Result<(Vec<Uuid>, Vec<OwnedFd>), NetError> {
        let failed = |error: rustix::io::Errno| NetError::io("namespace helper", error);
        let socket = self.socket.lock();
        let bytes = request.encode();
        rustix::io::retry_on_intr(|| {
            sendmsg(&*socket, &[IoSlice::new(&bytes)], &mut Default::default(), SendFlags::NOSIGNAL)
        })
        .map_err(failed)?;
        let mut buffer = vec![0; MAX_REPLY];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let received = loop {
            let mut slices = [IoSliceMut::new(&mut buffer)];
            match recvmsg(&*socket, &mut slices, &mut control, RecvFlags::CMSG_CLOEXEC) {
                Err(rustix::io::Errno::INTR) => {}
                outcome => break outcome.map_err(failed)?.bytes,
            }
        };
        let descriptors = control.drain().flat_map(|message| match message {
            RecvAncillaryMessage::ScmRights(received) => received.collect::<Vec<_>>(),
            _ => Vec::new(),
        });
        let descriptors: Vec<OwnedFd> = descriptors.collect();
        let reply = Reply::decode(buffer.get(..received).unwrap_or_default());
        match reply {
            Some(Reply { errno: 0, names }) => Ok((names, descriptors)),
            Some(Reply { errno, .. }) => {
                Err(NetError::io(request.describe(), std::io::Error::from_raw_os_error(errno)))
            }
            None => Err(NetError::Decode { object: "namespace helper".into(), detail: "it ended".into() }),
        }
    }
}

impl Drop for Helper {
    fn drop(&mut self) {
        // The helper ends when its socket is closed; waiting for it leaves no zombie. A pipe-like empty socket takes
        // the place of the real one so that the real one closes before the wait.
        if let Ok((placeholder, _)) =
            socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC)
        {
            *self.socket.lock() = placeholder;
        }
        let _ = nix::sys::wait::waitpid(nix::unistd::Pid::from_raw(self.pid), None);
    }
}
