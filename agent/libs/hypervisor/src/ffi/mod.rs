//! The only unsafe code of this crate: libvirt calls without a safe wrapper, and the KVM test guest.
#![allow(unsafe_code)]

pub(crate) mod kvm;
pub(crate) mod libvirt;
