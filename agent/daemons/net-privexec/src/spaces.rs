//! Namespaces as the worker sees them: made and entered by the helper, their netlink sockets kept open.

use std::collections::HashMap;
use std::fs::File;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;
use sf_model::NetworkId;
use sf_netstate::NetError;
use sf_netstate::netlink::{NftSocket, RouteSocket};
use sf_netstate::render::{Namespaces, Sockets};

use crate::helper::{Helper, OpenKind};

/// Most namespaces whose sockets are kept open.
const KEPT: usize = 512;

/// All namespaces of the node.
pub(crate) struct Spaces {
    helper: Helper,
    dir: PathBuf,
    open: Mutex<Open>,
}

#[derive(Default)]
struct Open {
    clock: u64,
    sockets: HashMap<NetworkId, Kept>,
}

struct Kept {
    inode: u64,
    used: u64,
    sockets: Arc<std::sync::Mutex<Sockets>>,
}

impl Spaces {
    pub(crate) fn new(helper: Helper, dir: &Path) -> Self {
        Self { helper, dir: dir.to_owned(), open: Mutex::default() }
    }

    /// Every namespace named by a UUID.
    pub(crate) fn list(&self) -> Result<Vec<NetworkId>, NetError> {
        self.helper.list()
    }

    /// A socket of any kind inside the namespace, not kept.
    pub(crate) fn open(&self, network: NetworkId, kind: OpenKind) -> Result<OwnedFd, NetError> {
        self.helper.open(network, kind)
    }

    /// Identity of the namespace that is mounted now; `None` when there is none. A namespace that was deleted and made
    /// again has another one.
    pub(crate) fn inode(&self, network: NetworkId) -> Result<Option<u64>, NetError> {
        use nix::sys::statfs::{NSFS_MAGIC, statfs};
        let path = self.path(network);
        match statfs(&path) {
            Ok(found) if found.filesystem_type() == NSFS_MAGIC => {
                let status = std::fs::metadata(&path)
                    .map_err(|error| NetError::io(path.display().to_string(), error))?;
                Ok(Some(status.ino()))
            }
            Ok(_) | Err(nix::errno::Errno::ENOENT) => Ok(None),
            Err(error) => Err(NetError::io(path.display().to_string(), error)),
        }
    }

    fn path(&self, network: NetworkId) -> PathBuf {
        self.dir.join(network.to_string())
    }

    fn forget(&self, network: NetworkId) {
        self.open.lock().sockets.remove(&network);
    }
}

impl Namespaces for Spaces {
    fn exists(&self, network: NetworkId) -> Result<bool, NetError> {
        let exists = self.inode(network)?.is_some();
        if !exists {
            // Open sockets would keep a namespace alive that nobody can see any more.
            self.forget(network);
        }
        Ok(exists)
    }

    fn create(&self, network: NetworkId) -> Result<(), NetError> {
        self.helper.create(network)
    }

    fn delete(&self, network: NetworkId) -> Result<(), NetError> {
        self.forget(network);
        self.helper.delete(network)
    }

    fn handle(&self, network: NetworkId) -> Result<OwnedFd, NetError> {
        let path = self.path(network);
        File::open(&path).map(OwnedFd::from).map_err(|error| NetError::io(path.display().to_string(), error))
    }

    fn sockets(&self, network: NetworkId) -> Result<Arc<std::sync::Mutex<Sockets>>, NetError> {
        let inode = self.inode(network)?.unwrap_or(0);
        {
            let mut open = self.open.lock();
            open.clock += 1;
            let clock = open.clock;
            if let Some(kept) = open.sockets.get_mut(&network).filter(|kept| kept.inode == inode) {
                kept.used = clock;
                return Ok(Arc::clone(&kept.sockets));
            }
        }
        let sockets = Arc::new(std::sync::Mutex::new(Sockets {
            route: RouteSocket::from_fd(self.helper.open(network, OpenKind::Route)?),
            nft: NftSocket::from_fd(self.helper.open(network, OpenKind::Netfilter)?),
        }));
        let mut open = self.open.lock();
        let used = open.clock;
        open.sockets.insert(network, Kept { inode, used, sockets: Arc::clone(&sockets) });
        if open.sockets.len() > KEPT {
            let oldest = open.sockets.iter().min_by_key(|(_, kept)| kept.used).map(|(network, _)| *network);
            oldest.and_then(|network| open.sockets.remove(&network));
        }
        Ok(sockets)
    }
}
