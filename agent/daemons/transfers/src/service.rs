//! What every part of the storage service shares.

use std::sync::Arc;

use arc_swap::ArcSwapOption;
use chrono::Utc;
use sf_blobs::Store;
use sf_blobs::space::Ledger;
use sf_blobs::token::TransferKeys;
use sf_blobs::uploads::{UploadLimits, Uploads};
use sf_daemon::{DaemonContext, Peers};
use sf_images::fetch::{Resolver, Room, SystemResolver};
use sf_images::header::Rules;
use sf_images::table::ImageTable;
use sf_model::{ArtifactId, BlobId, NodeId};
use sf_privileged::PrivexecClient;
use tokio::sync::Semaphore;

use crate::error::WorkError;
use crate::flight::Flights;
use crate::hashes::HashQueue;
use crate::leases::LeaseBook;
use crate::local::ensure_image::Ensured;
use crate::local::fetch::Fetched;

/// The state of the daemon.
pub(crate) struct Service {
    pub(crate) ctx: DaemonContext,
    pub(crate) store: Store,
    pub(crate) uploads: Uploads,
    pub(crate) leases: LeaseBook,
    pub(crate) ledger: Ledger,
    pub(crate) privexec: PrivexecClient,
    /// What names of images stand for; nothing while the table could not be read yet.
    pub(crate) table: ArcSwapOption<ImageTable>,
    pub(crate) resolver: Arc<dyn Resolver>,
    pub(crate) images: Flights<BlobId, Result<Ensured, WorkError>>,
    pub(crate) fetches: Flights<ArtifactId, Result<Fetched, WorkError>>,
    pub(crate) fetch_slots: Semaphore,
    pub(crate) pulls: Flights<BlobId, Result<(), WorkError>>,
    pub(crate) pull_slots: Semaphore,
    pub(crate) streams: Arc<Semaphore>,
    pub(crate) peers: Peers,
    pub(crate) hashes: HashQueue,
}

impl Service {
    /// The service over an open store.
    pub(crate) fn new(ctx: DaemonContext, store: Store) -> Self {
        let cluster = ctx.cluster.current();
        let table = ImageTable::load(&ctx.config.image_table, &cluster.image_download_url)
            .inspect_err(|error| tracing::error!(%error, "names of images mean nothing until it is repaired"))
            .ok();
        Self {
            uploads: Uploads::new(store.clone()),
            leases: LeaseBook::default(),
            ledger: Ledger::default(),
            privexec: PrivexecClient::new(ctx.config.privexec_socket.clone()),
            table: ArcSwapOption::from_pointee(table),
            resolver: Arc::new(SystemResolver),
            images: Flights::default(),
            fetches: Flights::default(),
            fetch_slots: Semaphore::new(usize::try_from(cluster.image_fetch_concurrency).unwrap_or(4)),
            pulls: Flights::default(),
            pull_slots: Semaphore::new(usize::try_from(ctx.config.transfers_max_inbound).unwrap_or(4)),
            streams: Arc::new(Semaphore::new(
                usize::try_from(ctx.config.transfers_max_outbound).unwrap_or(16),
            )),
            peers: ctx.peers(),
            hashes: HashQueue::default(),
            ctx,
            store,
        }
    }

    /// This node.
    pub(crate) fn node(&self) -> NodeId {
        self.ctx.node.uuid
    }

    /// The keys that transfer tokens are made and checked with now; none before the cluster is bootstrapped.
    pub(crate) fn keys(&self) -> TransferKeys {
        TransferKeys::from_secrets(&self.ctx.cluster.current().transfer_secrets(Utc::now()))
    }

    /// Bytes that are not for the store.
    pub(crate) fn reservation(&self) -> u64 {
        gib_to_bytes(self.ctx.config.node_disk_reservation_gb)
    }

    /// The books of the store's space.
    pub(crate) fn room(&self) -> Room {
        Room { ledger: self.ledger.clone(), reservation: self.reservation() }
    }

    /// What clients may send.
    pub(crate) fn upload_limits(&self) -> UploadLimits {
        let cluster = self.ctx.cluster.current();
        UploadLimits { chunk: cluster.api_max_upload_chunk_bytes, total: cluster.upload_max_bytes }
    }

    /// What an image header is held against.
    pub(crate) fn image_rules(&self) -> Rules {
        Rules { max_virtual_size: self.ctx.cluster.current().max_image_virtual_bytes, parent: None }
    }
}

/// Configuration is in GiB with a fraction; all arithmetic is in bytes.
fn gib_to_bytes(gib: f64) -> u64 {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "checked by configuration to be >= 0; a cast saturates"
    )]
    let bytes = (gib * (1u64 << 30) as f64) as u64;
    bytes
}
