//! The system calls no safe wrapper exists for. The only unsafe code of the crate.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};

use nix::sys::signal::{SigHandler, Signal, signal};
use nix::unistd::{ForkResult, fork};

/// Forks and runs `child` in the new process, which ends when it returns. Returns the child's process id.
pub(crate) fn fork_child(child: impl FnOnce()) -> io::Result<i32> {
    // SAFETY: the process may have other threads, so the child must not rely on locks they hold. It runs the helper
    // loop only, which takes no lock of ours and logs nothing; the C library repairs its allocator after a fork.
    match unsafe { fork() }? {
        ForkResult::Parent { child } => Ok(child.as_raw()),
        ForkResult::Child => {
            child();
            // SAFETY: ends the process at once, without running the parent's exit handlers a second time.
            unsafe { libc::_exit(0) }
        }
    }
}

/// Ignores the signals a service manager sends to the whole group: the helper ends when its worker does.
pub(crate) fn ignore_group_signals() {
    for name in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP, Signal::SIGPIPE] {
        // SAFETY: ignoring installs no handler, so nothing can run in signal context.
        let _ = unsafe { signal(name, SigHandler::SigIgn) };
    }
}

/// Closes every descriptor above the standard ones but `keep`.
pub(crate) fn close_others(keep: RawFd) {
    let Ok(keep) = libc::c_uint::try_from(keep) else { return };
    for (first, last) in [(3, keep.saturating_sub(1)), (keep + 1, libc::c_uint::MAX)] {
        if first <= last {
            // SAFETY: called in the freshly forked child, which owns copies of the descriptors and uses none of them.
            let _ = unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) };
        }
    }
}

/// Binds a packet socket to an interface without receiving anything: with protocol 0 the socket only sends.
pub(crate) fn bind_packet(socket: BorrowedFd<'_>, index: u32) -> io::Result<()> {
    // SAFETY: all-zero is a valid `sockaddr_ll`.
    let mut address: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
    address.sll_family = libc::AF_PACKET as u16;
    address.sll_ifindex = i32::try_from(index).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
    let length = size_of::<libc::sockaddr_ll>() as libc::socklen_t;
    // SAFETY: the pointer and the length describe the local variable above.
    let outcome = unsafe { libc::bind(socket.as_raw_fd(), (&raw const address).cast(), length) };
    if outcome == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
