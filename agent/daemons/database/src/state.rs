//! What every call of one gateway shares.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arc_swap::ArcSwap;
use sf_store::{Pool, Settings};

use crate::overload::Admission;
use crate::waiters::Waiters;

/// What a gateway is made of.
pub struct GatewayParts {
    /// Sessions for ordinary calls.
    pub pool: Pool,
    /// Sessions kept for health, lock refresh and claim renewal, so that overload cannot cost leases.
    pub lease_pool: Pool,
    /// Ordinary calls at a time.
    pub concurrency: u32,
    /// Cluster-scope values.
    pub settings: Settings,
}

/// One gateway.
pub struct Gateway {
    pub(crate) pool: Pool,
    pub(crate) lease_pool: Pool,
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
            pool: parts.pool,
            lease_pool: parts.lease_pool,
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

    /// What the health task found; a read-only server accepts no mutations.
    pub(crate) fn set_read_only(&self, read_only: bool) {
        self.read_only.store(read_only, Ordering::Release);
    }

    pub(crate) fn is_read_only(&self) -> bool {
        self.read_only.load(Ordering::Acquire)
    }
}
