//! Where the name of a gateway leads. It is looked up for every connection, and again while one lasts: a gateway may have
//! moved although the old place still answers.

use std::collections::BTreeSet;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Weak};
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use parking_lot::Mutex;

use crate::endpoint::Endpoint;

/// Time between two looks (`database-tier.md` §7.1).
const INTERVAL: Duration = Duration::from_secs(60);

/// How a name becomes addresses.
pub(crate) type Lookup = Arc<dyn Fn(String) -> BoxFuture<'static, io::Result<Vec<IpAddr>>> + Send + Sync>;

/// One name and where the last connection found it. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Name {
    host: String,
    lookup: Lookup,
    known: Arc<Mutex<BTreeSet<IpAddr>>>,
}

/// What looking again brought.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Look {
    /// The addresses of the last connection.
    Same,
    /// Others.
    Moved(BTreeSet<IpAddr>),
}

impl Name {
    /// A name that nobody has looked up yet; `None` for an address, which is what it is.
    pub(crate) fn new(host: &str, lookup: Lookup) -> Option<Self> {
        let is_address = host.parse::<IpAddr>().is_ok();
        (!is_address).then(|| Self { host: host.to_owned(), lookup, known: Arc::default() })
    }

    /// Looks it up for a connection that is about to be made.
    pub(crate) async fn resolve(self) -> io::Result<impl Iterator<Item = SocketAddr>> {
        let found = self.find().await?;
        *self.known.lock() = found.iter().copied().collect();
        // The connector knows the port.
        Ok(found.into_iter().map(|address| SocketAddr::new(address, 0)))
    }

    /// Compares where it leads now with where it led.
    pub(crate) async fn look_again(&self) -> io::Result<Look> {
        let found: BTreeSet<IpAddr> = self.find().await?.into_iter().collect();
        let known = self.known.lock();
        Ok(if known.is_empty() || *known == found { Look::Same } else { Look::Moved(found) })
    }

    async fn find(&self) -> io::Result<Vec<IpAddr>> {
        let found = (self.lookup)(self.host.clone()).await?;
        if found.is_empty() { Err(io::Error::other("the name has no address")) } else { Ok(found) }
    }
}

/// The resolver of the host.
pub(crate) fn system() -> Lookup {
    Arc::new(|host| {
        async move { Ok(tokio::net::lookup_host((host, 0)).await?.map(|address| address.ip()).collect()) }
            .boxed()
    })
}

/// Looks an endpoint's name up again for as long as somebody holds the endpoint.
pub(crate) fn watch(endpoint: &Arc<Endpoint>) {
    if !endpoint.has_name() {
        return;
    }
    let endpoint: Weak<Endpoint> = Arc::downgrade(endpoint);
    tokio::spawn(async move {
        loop {
            tokio::time::sleep(INTERVAL).await;
            let Some(endpoint) = endpoint.upgrade() else { return };
            endpoint.follow_name().await;
        }
    });
}
