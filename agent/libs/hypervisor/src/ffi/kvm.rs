//! The smallest possible guest: one page of memory holding `hlt`.

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

/// The interface version every kernel since 2.6.22 answers.
const API_VERSION: i32 = 12;
/// `exit_reason` of a `hlt` instruction.
const EXIT_HLT: u32 = 5;
const HLT: u8 = 0xf4;
const PAGE: usize = 4096;
/// Offset of `exit_reason` in the shared run structure.
const EXIT_REASON_OFFSET: usize = 8;
/// Size of the special registers; the code segment comes first: 64-bit base, 32-bit limit, 16-bit selector.
const SREGS: usize = 312;
/// Size of the general registers: sixteen, then instruction pointer and flags.
const REGS: usize = 144;

const KVM_GET_API_VERSION: libc::c_ulong = 0xae00;
const KVM_CREATE_VM: libc::c_ulong = 0xae01;
const KVM_GET_VCPU_MMAP_SIZE: libc::c_ulong = 0xae04;
const KVM_CREATE_VCPU: libc::c_ulong = 0xae41;
const KVM_RUN: libc::c_ulong = 0xae80;
const KVM_SET_USER_MEMORY_REGION: libc::c_ulong = 0x4020_ae46;
const KVM_SET_REGS: libc::c_ulong = 0x4090_ae82;
const KVM_GET_SREGS: libc::c_ulong = 0x8138_ae83;
const KVM_SET_SREGS: libc::c_ulong = 0x4138_ae84;

/// `struct kvm_userspace_memory_region`.
#[repr(C)]
struct MemoryRegion {
    slot: u32,
    flags: u32,
    guest_address: u64,
    size: u64,
    host_address: u64,
}

/// A mapping that is undone when dropped.
struct Mapping(*mut libc::c_void, usize);

impl Mapping {
    /// Maps `length` bytes of a descriptor, or anonymous memory.
    fn new(length: usize, descriptor: Option<&OwnedFd>) -> io::Result<Self> {
        let (flags, descriptor) = match descriptor {
            Some(descriptor) => (libc::MAP_SHARED, descriptor.as_raw_fd()),
            None => (libc::MAP_PRIVATE | libc::MAP_ANONYMOUS, -1),
        };
        let access = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: a fresh mapping at an address of the kernel's choice aliases nothing.
        let address = unsafe { libc::mmap(std::ptr::null_mut(), length, access, flags, descriptor, 0) };
        if address == libc::MAP_FAILED { Err(io::Error::last_os_error()) } else { Ok(Self(address, length)) }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: the range was mapped by this value and nothing refers to it any more.
        unsafe { libc::munmap(self.0, self.1) };
    }
}

/// Runs `hlt` in a fresh guest and says whether it stopped as it must. May block for ever on a lying device: the
/// caller runs it on a thread it can do without.
pub(crate) fn run_hlt() -> io::Result<()> {
    let device = File::options().read(true).write(true).open("/dev/kvm")?;
    let version = call(&device, KVM_GET_API_VERSION, 0)?;
    if version != API_VERSION {
        return Err(io::Error::other(format!("interface version is {version}, not {API_VERSION}")));
    }
    let vm = owned(call(&device, KVM_CREATE_VM, 0)?);
    let memory = Mapping::new(PAGE, None)?;
    // SAFETY: the mapping is one writable page.
    unsafe { memory.0.cast::<u8>().write(HLT) };
    let region = MemoryRegion {
        slot: 0,
        flags: 0,
        guest_address: 0,
        size: PAGE as u64,
        host_address: memory.0 as u64,
    };
    call(&vm, KVM_SET_USER_MEMORY_REGION, std::ptr::from_ref(&region) as libc::c_ulong)?;
    let vcpu = owned(call(&vm, KVM_CREATE_VCPU, 0)?);
    start_at_zero(&vcpu)?;

    let shared = usize::try_from(call(&device, KVM_GET_VCPU_MMAP_SIZE, 0)?).unwrap_or(PAGE).max(PAGE);
    let run = Mapping::new(shared, Some(&vcpu))?;
    call(&vcpu, KVM_RUN, 0)?;
    // SAFETY: the run structure is larger than the offset, and the field is aligned.
    let reason = unsafe { run.0.cast::<u8>().add(EXIT_REASON_OFFSET).cast::<u32>().read() };
    if reason == EXIT_HLT {
        Ok(())
    } else {
        Err(io::Error::other(format!("guest stopped with reason {reason}")))
    }
}

/// Points the processor at address 0 in real mode.
fn start_at_zero(vcpu: &OwnedFd) -> io::Result<()> {
    let mut sregs = [0u8; SREGS];
    call(vcpu, KVM_GET_SREGS, sregs.as_mut_ptr() as libc::c_ulong)?;
    for range in [0..8, 12..14] {
        if let Some(field) = sregs.get_mut(range) {
            field.fill(0);
        }
    }
    call(vcpu, KVM_SET_SREGS, sregs.as_ptr() as libc::c_ulong)?;
    let mut regs = [0u8; REGS];
    // Bit 1 of the flags register is always set.
    if let Some(flags) = regs.get_mut(136) {
        *flags = 2;
    }
    call(vcpu, KVM_SET_REGS, regs.as_ptr() as libc::c_ulong).map(drop)
}

fn call(descriptor: &impl AsRawFd, request: libc::c_ulong, argument: libc::c_ulong) -> io::Result<i32> {
    // SAFETY: every request above takes either no argument or a pointer to a live buffer of the size its number
    // encodes; the kernel validates the descriptor.
    let result = unsafe { libc::ioctl(descriptor.as_raw_fd(), request as _, argument) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

fn owned(descriptor: i32) -> OwnedFd {
    // SAFETY: the kernel just returned this descriptor to us and nobody else owns it.
    unsafe { OwnedFd::from_raw_fd(descriptor) }
}
