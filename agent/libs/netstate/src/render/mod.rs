//! The renderer: observe, compare, apply, look again (`networking.md` §9.3).

mod apply;
mod desired;
pub mod host;
mod observe;

use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex};

use sf_model::NetworkId;

use crate::change::Change;
use crate::diff::diff;
use crate::error::NetError;
use crate::intent::NetworkIntent;
use crate::netlink::{NftSocket, RouteSocket};
use host::Host;
pub use observe::Observed;

/// The two netlink sockets of one namespace.
pub struct Sockets {
    /// Links, addresses, routes.
    pub route: RouteSocket,
    /// Rules and tracked connections.
    pub nft: NftSocket,
}

impl Sockets {
    /// Opens both in the caller's namespace.
    pub fn open() -> Result<Self, NetError> {
        Ok(Self { route: RouteSocket::open()?, nft: NftSocket::open()? })
    }

    /// Changing messages sent through both so far.
    pub fn sent(&self) -> u64 {
        self.route.sent() + self.nft.sent()
    }
}

/// The namespaces of networks. Implemented by whoever may create them.
pub trait Namespaces {
    /// Whether the network's namespace exists.
    fn exists(&self, network: NetworkId) -> Result<bool, NetError>;
    /// Creates it; an existing one is success.
    fn create(&self, network: NetworkId) -> Result<(), NetError>;
    /// Deletes it and closes every socket kept in it; a missing one is success.
    fn delete(&self, network: NetworkId) -> Result<(), NetError>;
    /// A descriptor of the namespace itself.
    fn handle(&self, network: NetworkId) -> Result<OwnedFd, NetError>;
    /// Sockets inside it, kept open between calls.
    fn sockets(&self, network: NetworkId) -> Result<Arc<Mutex<Sockets>>, NetError>;
}

/// What a render did.
#[derive(Debug, Clone, Default)]
pub struct Report {
    /// Steps in the order they were applied.
    pub changes: Vec<Change>,
    /// Changing messages sent to the kernel.
    pub messages: u64,
    /// Flood entries now.
    pub flood: usize,
    /// Unicast entries now.
    pub unicast: usize,
}

/// Renders one network: afterwards the kernel holds exactly what the intent says, or an error says why not.
///
/// # Errors
/// Nothing was applied for an invalid intent or a foreign link; otherwise what was applied is a safe prefix, and the
/// next render completes it.
pub fn render(
    root: &mut Sockets,
    spaces: &dyn Namespaces,
    host: &Host,
    intent: &NetworkIntent,
) -> Result<Report, NetError> {
    let wanted = desired::desired(intent, host);
    let observed = observe::observe(root, spaces, host, intent, &wanted.model)?;
    if !intent.present && !observed.guests.is_empty() {
        return Err(NetError::GuestsAttached(observed.guests.join(", ")));
    }
    let changes = diff(&observed.model, &wanted.model);
    let mut report =
        Report { flood: wanted.model.flood.len(), unicast: wanted.model.unicast.len(), ..Report::default() };
    if changes.is_empty() {
        return Ok(report);
    }
    if changes
        .iter()
        .any(|change| matches!(change, Change::CreateLink { role: crate::names::Role::Vxlan, .. }))
    {
        host.check_underlay()?;
    }
    report.messages = apply::Applier::new(root, spaces, host, intent, &wanted, &observed).run(&changes)?;
    let after = observe::observe(root, spaces, host, intent, &wanted.model)?;
    let left = diff(&after.model, &wanted.model);
    if !left.is_empty() {
        return Err(NetError::Unverified(format!("{left:?}")));
    }
    report.changes = changes;
    Ok(report)
}

/// The differences between kernel and intent, without touching anything.
pub fn plan(
    root: &mut Sockets,
    spaces: &dyn Namespaces,
    host: &Host,
    intent: &NetworkIntent,
) -> Result<Vec<Change>, NetError> {
    let wanted = desired::desired(intent, host);
    let observed = observe::observe(root, spaces, host, intent, &wanted.model)?;
    Ok(diff(&observed.model, &wanted.model))
}

/// Locks a mutex whose owner may have panicked: the sockets behind it are stateless between calls.
pub fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
