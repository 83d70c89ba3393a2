//! What runs in the helper process. It takes no locks, logs nothing and starts nothing.

use std::fs::{self, File, OpenOptions};
use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::net::Ipv4Addr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use nix::errno::Errno;
use nix::sched::{CloneFlags, setns, unshare};
use nix::sys::socket::{
    AddressFamily, Backlog, MsgFlags, SockFlag, SockProtocol, SockType, SockaddrIn, bind, listen, recv,
    setsockopt, socket, sockopt,
};
use rustix::mount::{UnmountFlags, mount_bind, unmount};
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use sf_netstate::netlink::open_prepared;
use uuid::Uuid;

use super::protocol::{OpenKind, Reply, Request};
use crate::sys;

/// Settings of every namespace (`networking.md` §7.1); the order matters: switching forwarding on resets others.
const PROFILE: [(&str, &str); 12] = [
    ("ipv4/ip_forward", "1"),
    ("ipv4/conf/all/rp_filter", "1"),
    ("ipv4/conf/default/rp_filter", "1"),
    ("ipv4/conf/all/accept_redirects", "0"),
    ("ipv4/conf/default/accept_redirects", "0"),
    ("ipv4/conf/all/send_redirects", "0"),
    ("ipv4/conf/default/send_redirects", "0"),
    ("ipv4/conf/default/arp_notify", "1"),
    ("ipv4/conf/all/arp_ignore", "1"),
    ("ipv4/conf/default/arp_ignore", "1"),
    ("ipv6/conf/all/disable_ipv6", "1"),
    ("ipv6/conf/default/disable_ipv6", "1"),
];

/// Answers requests until the worker closes its end.
pub(super) fn serve(socket: BorrowedFd<'_>, netns_dir: &Path) {
    sys::ignore_group_signals();
    sys::close_others(socket.as_raw_fd());
    let Ok(home) = File::open("/proc/thread-self/ns/net") else { return };
    let mut buffer = [0; 64];
    loop {
        let length = match recv(socket.as_raw_fd(), &mut buffer, MsgFlags::empty()) {
            Ok(0) => return,
            Ok(length) => length,
            Err(Errno::EINTR) => continue,
            Err(_) => return,
        };
        let request = Request::decode(buffer.get(..length).unwrap_or_default());
        let (reply, descriptor) = match request.map(|request| handle(&request, netns_dir, &home)) {
            Some(Ok((names, descriptor))) => (Reply { errno: 0, names }, descriptor),
            Some(Err(error)) => {
                (Reply { errno: error.raw_os_error().unwrap_or(libc::EIO), names: Vec::new() }, None)
            }
            None => (Reply { errno: libc::EINVAL, names: Vec::new() }, None),
        };
        if answer(socket, &reply, descriptor.as_ref()).is_err() {
            return;
        }
    }
}

fn handle(request: &Request, dir: &Path, home: &File) -> io::Result<(Vec<Uuid>, Option<OwnedFd>)> {
    match request {
        Request::Create(uuid) => create(&dir.join(uuid.to_string()), dir, home).map(|()| (Vec::new(), None)),
        Request::Delete(uuid) => delete(&dir.join(uuid.to_string())).map(|()| (Vec::new(), None)),
        Request::List => Ok((list(dir)?, None)),
        Request::Open(uuid, kind) => {
            let space = File::open(dir.join(uuid.to_string()))?;
            let socket = inside(&space, home, || open(kind))?;
            Ok((Vec::new(), Some(socket)))
        }
    }
}

fn answer(socket: BorrowedFd<'_>, reply: &Reply, descriptor: Option<&OwnedFd>) -> io::Result<()> {
    let bytes = reply.encode();
    let borrowed: Vec<BorrowedFd<'_>> = descriptor.iter().map(|fd| fd.as_fd()).collect();
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !borrowed.is_empty() {
        control.push(SendAncillaryMessage::ScmRights(&borrowed));
    }
    sendmsg(socket, &[IoSlice::new(&bytes)], &mut control, SendFlags::NOSIGNAL)?;
    Ok(())
}

fn create(path: &Path, dir: &Path, home: &File) -> io::Result<()> {
    if is_namespace(path) {
        return Ok(());
    }
    fs::create_dir_all(dir)?;
    // What an interrupted creation left is a plain file, and as good a mount point as a new one.
    OpenOptions::new().write(true).create(true).truncate(false).mode(0o444).open(path)?;
    unshare(CloneFlags::CLONE_NEWNET)?;
    let made = prepare().and_then(|()| Ok(mount_bind("/proc/thread-self/ns/net", path)?));
    go_home(home);
    if made.is_err() {
        let _ = fs::remove_file(path);
    }
    made
}

fn prepare() -> io::Result<()> {
    for (key, value) in PROFILE {
        match fs::write(Path::new("/proc/sys/net").join(key), value) {
            // A kernel without IPv6 has nothing to switch off.
            Err(error) if error.kind() == io::ErrorKind::NotFound && key.starts_with("ipv6") => {}
            outcome => outcome?,
        }
    }
    Ok(())
}

fn delete(path: &Path) -> io::Result<()> {
    while is_namespace(path) {
        unmount(path, UnmountFlags::DETACH)?;
    }
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        outcome => outcome,
    }
}

fn list(dir: &Path) -> io::Result<Vec<Uuid>> {
    let entries = match fs::read_dir(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        outcome => outcome?,
    };
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name().to_str().and_then(|name| Uuid::try_parse(name).ok());
        names.extend(name.filter(|_| is_namespace(&entry.path())));
    }
    Ok(names)
}

/// Whether a namespace is mounted at the path.
pub(crate) fn is_namespace(path: &Path) -> bool {
    nix::sys::statfs::statfs(path).is_ok_and(|found| found.filesystem_type() == nix::sys::statfs::NSFS_MAGIC)
}

fn inside<T>(space: &File, home: &File, work: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
    setns(space, CloneFlags::CLONE_NEWNET)?;
    let outcome = work();
    go_home(home);
    outcome
}

/// Returns to the root namespace. Going on in a tenant's namespace would be worse than any outage.
fn go_home(home: &File) {
    if setns(home, CloneFlags::CLONE_NEWNET).is_err() {
        std::process::abort();
    }
}

fn open(kind: &OpenKind) -> io::Result<OwnedFd> {
    match kind {
        OpenKind::Route => netlink(false),
        OpenKind::Netfilter => netlink(true),
        OpenKind::Udp67(interface) => dhcp(interface),
        OpenKind::Udp53(address) => bound(SockType::Datagram, *address),
        OpenKind::Tcp53(address) => {
            let fd = bound(SockType::Stream, *address)?;
            listen(&fd, Backlog::new(64)?)?;
            Ok(fd)
        }
        OpenKind::Packet(index) => {
            let fd = socket(AddressFamily::Packet, SockType::Raw, SockFlag::SOCK_CLOEXEC, None)?;
            sys::bind_packet(fd.as_fd(), *index)?;
            Ok(fd)
        }
        OpenKind::Icmp => {
            Ok(socket(AddressFamily::Inet, SockType::Raw, SockFlag::SOCK_CLOEXEC, SockProtocol::Icmp)?)
        }
        OpenKind::UdpClient => {
            let fd = inet(SockType::Datagram)?;
            bind(fd.as_raw_fd(), &SockaddrIn::new(0, 0, 0, 0, 0))?;
            Ok(fd)
        }
        OpenKind::TcpClient => inet(SockType::Stream),
    }
}

fn netlink(netfilter: bool) -> io::Result<OwnedFd> {
    open_prepared(netfilter).map_err(|error| io::Error::from_raw_os_error(error.errno()))
}

fn inet(kind: SockType) -> io::Result<OwnedFd> {
    Ok(socket(AddressFamily::Inet, kind, SockFlag::SOCK_CLOEXEC, None)?)
}

fn dhcp(interface: &str) -> io::Result<OwnedFd> {
    let fd = inet(SockType::Datagram)?;
    setsockopt(&fd, sockopt::ReuseAddr, &true)?;
    setsockopt(&fd, sockopt::Broadcast, &true)?;
    setsockopt(&fd, sockopt::BindToDevice, &interface.into())?;
    bind(fd.as_raw_fd(), &SockaddrIn::new(0, 0, 0, 0, 67))?;
    Ok(fd)
}

fn bound(kind: SockType, address: Ipv4Addr) -> io::Result<OwnedFd> {
    let fd = inet(kind)?;
    setsockopt(&fd, sockopt::ReuseAddr, &true)?;
    setsockopt(&fd, sockopt::IpFreebind, &true)?;
    let [a, b, c, d] = address.octets();
    bind(fd.as_raw_fd(), &SockaddrIn::new(a, b, c, d, 53))?;
    Ok(fd)
}
