//! Taking ownership of received descriptors: the only unsafe code of this crate.
#![allow(unsafe_code)]

use std::os::fd::{FromRawFd, OwnedFd, RawFd};

/// Owns descriptors that the kernel just installed in this process.
pub(crate) fn own(received: Vec<RawFd>) -> Vec<OwnedFd> {
    received
        .into_iter()
        // SAFETY: the numbers come from an SCM_RIGHTS message of this very call; the kernel made them for us, they
        // are open, and nobody else knows them.
        .map(|descriptor| unsafe { OwnedFd::from_raw_fd(descriptor) })
        .collect()
}
