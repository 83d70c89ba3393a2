//! libvirt's callbacks and bulk statistics, for which the `virt` crate has no wrapper.
//!
//! Callbacks run on libvirt's event-loop thread. They copy what they were given into a channel and return; they make
//! no remote call. The channel's sender is boxed, handed to libvirt as the opaque pointer, and freed by libvirt's own
//! free callback when the registration ends.

use std::ffi::{CStr, c_char, c_int, c_void};
use std::time::Instant;

use tokio::sync::mpsc::UnboundedSender;
use uuid::Uuid;
use virt::connect::Connect;
use virt::error::Error;
use virt_sys as sys;

/// What a callback copied.
#[derive(Debug, Clone)]
pub(crate) struct RawEvent {
    /// Connection it came from.
    pub(crate) generation: u64,
    pub(crate) at: Instant,
    pub(crate) kind: RawKind,
}

#[derive(Debug, Clone)]
pub(crate) enum RawKind {
    /// The connection is gone.
    Closed,
    /// Lifecycle event and detail numbers.
    Lifecycle { domain: RawDomain, event: c_int, detail: c_int },
    /// The guest rebooted.
    Reboot { domain: RawDomain },
    /// A disk failed.
    IoError { domain: RawDomain, alias: String, reason: String },
}

/// Name and uuid of a domain.
#[derive(Debug, Clone)]
pub(crate) struct RawDomain {
    pub(crate) name: String,
    pub(crate) uuid: Uuid,
}

/// Where callbacks of one connection send to.
#[derive(Clone)]
pub(crate) struct EventSink {
    pub(crate) generation: u64,
    pub(crate) sender: UnboundedSender<RawEvent>,
}

impl EventSink {
    fn send(&self, kind: RawKind) {
        // A closed channel means that nobody listens any more, which is fine.
        let _ = self.sender.send(RawEvent { generation: self.generation, at: Instant::now(), kind });
    }
}

/// One value of a statistics record.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum StatValue {
    Number(i128),
    Text(String),
}

/// Statistics of one domain: fields by libvirt's names.
#[derive(Debug, Clone)]
pub(crate) struct StatRecord {
    pub(crate) domain: RawDomain,
    pub(crate) fields: std::collections::HashMap<String, StatValue>,
}

/// Registers every callback the agent needs on a fresh connection.
pub(crate) fn register_callbacks(connection: &Connect, sink: &EventSink) -> Result<(), Error> {
    type Generic = unsafe extern "C" fn(sys::virConnectPtr, sys::virDomainPtr, *mut c_void);
    // SAFETY: libvirt calls each callback with the signature that belongs to its event id; the generic pointer is
    // only storage, as libvirt's own VIR_DOMAIN_EVENT_CALLBACK cast. Function pointers of one ABI have equal layout.
    let callbacks: [(sys::virDomainEventID, Generic); 3] = unsafe {
        [
            (
                sys::VIR_DOMAIN_EVENT_ID_LIFECYCLE,
                std::mem::transmute::<
                    unsafe extern "C" fn(
                        sys::virConnectPtr,
                        sys::virDomainPtr,
                        c_int,
                        c_int,
                        *mut c_void,
                    ) -> c_int,
                    Generic,
                >(on_lifecycle),
            ),
            (sys::VIR_DOMAIN_EVENT_ID_REBOOT, on_reboot),
            (
                sys::VIR_DOMAIN_EVENT_ID_IO_ERROR_REASON,
                std::mem::transmute::<
                    unsafe extern "C" fn(
                        sys::virConnectPtr,
                        sys::virDomainPtr,
                        *const c_char,
                        *const c_char,
                        c_int,
                        *const c_char,
                        *mut c_void,
                    ),
                    Generic,
                >(on_io_error),
            ),
        ]
    };
    for (event, callback) in callbacks {
        let opaque = Box::into_raw(Box::new(sink.clone())).cast::<c_void>();
        // SAFETY: the connection is live for the call; `opaque` is a leaked box that only `free_sink` frees.
        let result = unsafe {
            sys::virConnectDomainEventRegisterAny(
                connection.as_ptr(),
                std::ptr::null_mut(),
                event as c_int,
                Some(callback),
                opaque,
                Some(free_sink),
            )
        };
        if result < 0 {
            let error = Error::last_error();
            // SAFETY: a failed registration keeps neither the pointer nor the duty to free it.
            unsafe { free_sink(opaque) };
            return Err(error);
        }
    }
    register_close(connection, sink)
}

fn register_close(connection: &Connect, sink: &EventSink) -> Result<(), Error> {
    let opaque = Box::into_raw(Box::new(sink.clone())).cast::<c_void>();
    // SAFETY: as above; the callback has exactly the declared signature.
    let result = unsafe {
        sys::virConnectRegisterCloseCallback(connection.as_ptr(), Some(on_close), opaque, Some(free_sink))
    };
    if result < 0 {
        let error = Error::last_error();
        // SAFETY: a failed registration keeps neither the pointer nor the duty to free it.
        unsafe { free_sink(opaque) };
        return Err(error);
    }
    Ok(())
}

/// Statistics of every running domain in one call.
pub(crate) fn all_domain_stats(connection: &Connect) -> Result<Vec<StatRecord>, Error> {
    let wanted = sys::VIR_DOMAIN_STATS_STATE
        | sys::VIR_DOMAIN_STATS_CPU_TOTAL
        | sys::VIR_DOMAIN_STATS_INTERFACE
        | sys::VIR_DOMAIN_STATS_BLOCK;
    let mut records: *mut sys::virDomainStatsRecordPtr = std::ptr::null_mut();
    // SAFETY: the connection is live for the call, and libvirt writes one pointer through the out parameter.
    let count = unsafe {
        sys::virConnectGetAllDomainStats(
            connection.as_ptr(),
            wanted,
            &mut records,
            sys::VIR_CONNECT_GET_ALL_DOMAINS_STATS_ACTIVE,
        )
    };
    if count < 0 || records.is_null() {
        return if count < 0 { Err(Error::last_error()) } else { Ok(Vec::new()) };
    }
    // SAFETY: libvirt returned `count` record pointers, valid until the list is freed below.
    let list = unsafe { std::slice::from_raw_parts(records, usize::try_from(count).unwrap_or(0)) };
    // SAFETY: every pointer of the list is a valid record.
    let out = list.iter().filter_map(|record| unsafe { copy_record(*record) }).collect();
    // SAFETY: the list came from libvirt and is not used afterwards.
    unsafe { sys::virDomainStatsRecordListFree(records) };
    Ok(out)
}

/// # Safety
/// `record` is a valid statistics record or null.
unsafe fn copy_record(record: sys::virDomainStatsRecordPtr) -> Option<StatRecord> {
    // SAFETY: promised by the caller; `params` holds `nparams` initialised parameters.
    unsafe {
        let record = record.as_ref()?;
        let domain = copy_domain(record.dom)?;
        let count = usize::try_from(record.nparams).ok()?;
        let params = if count == 0 { &[] } else { std::slice::from_raw_parts(record.params, count) };
        let fields = params
            .iter()
            .filter_map(|param| Some((copy_text(param.field.as_ptr())?, copy_value(param)?)))
            .collect();
        Some(StatRecord { domain, fields })
    }
}

/// # Safety
/// `param` was filled by libvirt, so `type_` says which member of the union is live.
unsafe fn copy_value(param: &sys::_virTypedParameter) -> Option<StatValue> {
    // SAFETY: the member read is the one `type_` names.
    unsafe {
        Some(match u32::try_from(param.type_).ok()? {
            sys::VIR_TYPED_PARAM_INT => StatValue::Number(param.value.i.into()),
            sys::VIR_TYPED_PARAM_UINT => StatValue::Number(param.value.ui.into()),
            sys::VIR_TYPED_PARAM_LLONG => StatValue::Number(param.value.l.into()),
            sys::VIR_TYPED_PARAM_ULLONG => StatValue::Number(param.value.ul.into()),
            sys::VIR_TYPED_PARAM_STRING => StatValue::Text(copy_text(param.value.s)?),
            _ => return None,
        })
    }
}

/// # Safety
/// `text` is null or a NUL-terminated string that lives for the call.
unsafe fn copy_text(text: *const c_char) -> Option<String> {
    if text.is_null() {
        return None;
    }
    // SAFETY: promised by the caller.
    Some(unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned())
}

/// # Safety
/// `domain` is a live domain handle or null. Both accessors read the handle only; they make no remote call.
unsafe fn copy_domain(domain: sys::virDomainPtr) -> Option<RawDomain> {
    if domain.is_null() {
        return None;
    }
    let mut uuid = [0u8; 16];
    // SAFETY: the handle is live, and the buffer has the 16 bytes libvirt writes.
    unsafe {
        let name = copy_text(sys::virDomainGetName(domain))?;
        (sys::virDomainGetUUID(domain, uuid.as_mut_ptr()) == 0)
            .then(|| RawDomain { name, uuid: Uuid::from_bytes(uuid) })
    }
}

/// # Safety
/// `opaque` came from [`Box::into_raw`] of an [`EventSink`] and is freed once.
unsafe extern "C" fn free_sink(opaque: *mut c_void) {
    // SAFETY: promised by the caller.
    drop(unsafe { Box::from_raw(opaque.cast::<EventSink>()) });
}

/// # Safety
/// Called by libvirt with a live domain and the registered opaque pointer.
unsafe fn forward(domain: sys::virDomainPtr, opaque: *mut c_void, kind: impl FnOnce(RawDomain) -> RawKind) {
    // SAFETY: promised by the caller.
    let (sink, domain) = unsafe { (opaque.cast::<EventSink>().as_ref(), copy_domain(domain)) };
    if let (Some(sink), Some(domain)) = (sink, domain) {
        sink.send(kind(domain));
    }
}

unsafe extern "C" fn on_lifecycle(
    _connection: sys::virConnectPtr,
    domain: sys::virDomainPtr,
    event: c_int,
    detail: c_int,
    opaque: *mut c_void,
) -> c_int {
    // SAFETY: called by libvirt as registered.
    unsafe { forward(domain, opaque, |domain| RawKind::Lifecycle { domain, event, detail }) };
    0
}

unsafe extern "C" fn on_reboot(
    _connection: sys::virConnectPtr,
    domain: sys::virDomainPtr,
    opaque: *mut c_void,
) {
    // SAFETY: called by libvirt as registered.
    unsafe { forward(domain, opaque, |domain| RawKind::Reboot { domain }) };
}

unsafe extern "C" fn on_io_error(
    _connection: sys::virConnectPtr,
    domain: sys::virDomainPtr,
    _path: *const c_char,
    alias: *const c_char,
    _action: c_int,
    reason: *const c_char,
    opaque: *mut c_void,
) {
    // SAFETY: called by libvirt as registered; both strings live for the call.
    unsafe {
        let alias = copy_text(alias).unwrap_or_default();
        let reason = copy_text(reason).unwrap_or_default();
        forward(domain, opaque, |domain| RawKind::IoError { domain, alias, reason });
    }
}

unsafe extern "C" fn on_close(_connection: sys::virConnectPtr, _reason: c_int, opaque: *mut c_void) {
    // SAFETY: called by libvirt as registered.
    if let Some(sink) = unsafe { opaque.cast::<EventSink>().as_ref() } {
        sink.send(RawKind::Closed);
    }
}
