//! What every call of one gateway shares.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arc_swap::ArcSwap;
use sf_store::Settings;
use sf_store::conn::Pools;

use crate::overload::Admission;
use crate::waiters::Waiters;

/// What a gateway is made of.
pub struct GatewayParts {
    /// Sessions with MariaDB.
    pub pools: Pools,
    /// Ordinary calls at a time.
    pub concurrency: u32,
    /// Cluster-scope values.
    pub settings: Settings,
}

/// One gateway.
pub struct Gateway {
    pub(crate) pools: Pools,
    pub(crate) admission: Admission,
    pub(crate) settings: ArcSwap<Settings>,
    pub(crate) waiters: Waiters,
    draining: AtomicBool,
    read_only: AtomicBool,
}

impl Gateway {
    /// Puts a gateway together.
    pub fn new(parts: GatewayParts) -> Arc<Self> {
        Arc::new(Self {
            pools: parts.pools,
            admission: Admission::new(parts.concurrency),
            settings: ArcSwap::from_pointee(parts.settings),
            waiters: Waiters::default(),
            draining: AtomicBool::new(false),
            read_only: AtomicBool::new(false),
        })
    }

    /// Those who wait for work, renders and operations at this gateway.
    pub fn waiters(&self) -> &Waiters {
        &self.waiters
    }

    /// Sends waiting calls home and announces the end to new ones.
    pub(crate) fn drain(&self) {
        self.draining.store(true, Ordering::Release);
        self.waiters.dismiss();
    }

    pub(crate) fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Acquire)
    }

    /// What the health task found; a read-only server accepts no mutations. Its sessions are given up: behind one
    /// address another server may be the primary by now, and only a new session gets there.
    pub(crate) fn set_read_only(&self, read_only: bool) {
        if read_only {
            self.pools.renew();
        }
        self.read_only.store(read_only, Ordering::Release);
    }

    pub(crate) fn is_read_only(&self) -> bool {
        self.read_only.load(Ordering::Acquire)
    }
}
