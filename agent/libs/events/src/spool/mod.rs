//! The local durable queue: one SQLite file per daemon, one writer thread, bounded.

mod admin;
mod files;
mod limits;
mod reader;
mod salvage;
mod store;
mod writer;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{self, Sender};
use std::thread::JoinHandle;
use std::time::Duration;

use nix::fcntl::Flock;
use parking_lot::Mutex;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, oneshot};
use uuid::Uuid;

use crate::gauges::{Gauges, SpoolFigures};
use crate::recorder::Recorded;
use limits::Limits;
use writer::{Command, Settle};

pub use admin::{Inspection, QuarantinedRow, SpoolAdmin, StoredRow};
pub use limits::DropReason;
pub(crate) use reader::Batch;
pub use salvage::Salvaged;

/// Records that may wait for the writer.
const QUEUE: usize = 4096;

/// How a spool is kept.
#[derive(Debug, Clone)]
pub struct SpoolOptions {
    /// The daemon's own directory, `{SPOOL_PATH}/<daemon>`.
    pub directory: PathBuf,
    /// Rows beyond which new events are dropped.
    pub max_rows: u64,
    /// Payload bytes beyond which new events are dropped.
    pub max_bytes: u64,
    /// Longest time a committed record may be lost by a power cut.
    pub sync_interval: Duration,
}

impl SpoolOptions {
    /// The configured limits for the spool of `daemon` (without `sf-`).
    pub fn for_daemon(config: &sf_config::NodeConfig, daemon: &str) -> Self {
        Self {
            directory: config.spool_path.join(daemon),
            max_rows: config.event_spool_high_water_mark,
            max_bytes: config.event_spool_max_bytes,
            sync_interval: Duration::from_millis(config.event_spool_sync_ms),
        }
    }
}

/// Why a spool cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SpoolError {
    /// Another process of the same daemon holds it. To be answered with exit code 75.
    #[error("the event spool {} is held by process {holder}; is the daemon running already?", .directory.display())]
    Busy {
        /// The spool.
        directory: PathBuf,
        /// Its pid, as far as known.
        holder: String,
    },
    /// The directory cannot be used.
    #[error("the event spool {} cannot be used: {source}", .path.display())]
    Io {
        /// File or directory.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// SQLite refuses.
    #[error("the event spool failed: {0}")]
    Sqlite(#[from] rusqlite::Error),
    /// The writer has ended.
    #[error("the event spool is closed")]
    Closed,
}

impl SpoolError {
    pub(crate) fn io(path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { path, source }
    }
}

/// A record on its way to the writer.
pub(crate) struct Append {
    pub(crate) payload: Vec<u8>,
    pub(crate) keeps_reserve: bool,
    pub(crate) durable: bool,
}

/// An open spool. Cheap to clone; it is closed by [`Spool::close`].
#[derive(Clone)]
pub struct Spool {
    shared: Arc<Shared>,
}

pub(crate) struct Shared {
    pub(crate) options: SpoolOptions,
    pub(crate) limits: Limits,
    pub(crate) gauges: Gauges,
    /// Told when rows were added from outside the drainer.
    pub(crate) arrived: Notify,
    spool_id: Mutex<Uuid>,
    room: Arc<Semaphore>,
    writer: Sender<Command>,
    thread: Mutex<Option<JoinHandle<()>>>,
    /// Held for the life of the process.
    _lock: Flock<std::fs::File>,
}

impl Spool {
    /// Opens the spool of a daemon, or makes it. A damaged file is set aside and a new one started.
    ///
    /// # Errors
    /// The lock is held, or the directory cannot be used.
    pub fn open(options: SpoolOptions) -> Result<Self, SpoolError> {
        Self::open_among(options, &SpoolFigures::default())
    }

    /// As [`Spool::open`], in a process that has several: their figures are shown together.
    ///
    /// # Errors
    /// As [`Spool::open`].
    pub fn open_among(options: SpoolOptions, figures: &SpoolFigures) -> Result<Self, SpoolError> {
        Self::start(options, || Gauges::among(figures))
    }

    /// As [`Spool::open`], for the spool of a daemon that is gone: the gauges of this process go on to speak of its own.
    ///
    /// # Errors
    /// As [`Spool::open`].
    pub fn adopt(options: SpoolOptions) -> Result<Self, SpoolError> {
        Self::start(options, Gauges::hidden)
    }

    fn start(options: SpoolOptions, gauges: impl FnOnce() -> Gauges) -> Result<Self, SpoolError> {
        let lock = files::prepare(&options.directory)?;
        let opened = store::open(&options.directory)?;
        // One that cannot be opened has no figures.
        let gauges = gauges();
        gauges.announce();
        if opened.newer_set_aside {
            gauges.set_aside();
        }
        let (writer, commands) = mpsc::channel();
        let shared = Arc::new(Shared {
            limits: Limits::new(&options, opened.depth, gauges.clone()),
            gauges,
            options,
            arrived: Notify::new(),
            spool_id: Mutex::new(opened.spool_id),
            room: Arc::new(Semaphore::new(QUEUE)),
            writer,
            thread: Mutex::new(None),
            _lock: lock,
        });
        let thread = writer::start(opened.connection, commands, Arc::downgrade(&shared))
            .map_err(SpoolError::io(&shared.options.directory))?;
        *shared.thread.lock() = Some(thread);
        Ok(Self { shared })
    }

    /// Rows not yet acknowledged.
    pub fn depth(&self) -> u64 {
        self.shared.limits.depth().rows
    }

    /// Identity of the file, from which rows of the oldest format derive theirs.
    pub fn id(&self) -> Uuid {
        self.shared.spool_id()
    }

    /// Ends the writer after everything that was accepted is committed and synced. Later records are dropped.
    pub async fn close(&self) {
        let Some(thread) = self.shared.thread.lock().take() else { return };
        // The writer ends when it reads this; a failed send means that it has ended already.
        let _ = self.shared.writer.send(Command::Close);
        let _ = tokio::task::spawn_blocking(move || thread.join()).await;
    }

    /// Hands a record to the writer and waits for its commit.
    pub(crate) async fn append(&self, append: Append) -> Recorded {
        let Ok(permit) = self.shared.room.clone().acquire_owned().await else { return self.closed() };
        let (answer, committed) = oneshot::channel();
        if !self.send(append, permit, Some(answer)) {
            return self.closed();
        }
        committed.await.unwrap_or_else(|_| self.closed())
    }

    /// Hands a record to the writer if there is room at once.
    pub(crate) fn append_detached(&self, append: Append) {
        match self.shared.room.clone().try_acquire_owned() {
            Ok(permit) => {
                if !self.send(append, permit, None) {
                    self.closed();
                }
            }
            Err(_) => self.count_drop(DropReason::QueueFull),
        }
    }

    fn send(
        &self,
        append: Append,
        permit: OwnedSemaphorePermit,
        answer: Option<oneshot::Sender<Recorded>>,
    ) -> bool {
        self.shared.writer.send(Command::Append { append, answer, permit }).is_ok()
    }

    fn closed(&self) -> Recorded {
        self.count_drop(DropReason::Io);
        Recorded::Dropped(DropReason::Io)
    }

    pub(crate) fn count_drop(&self, reason: DropReason) {
        self.shared.limits.count_drop(reason);
    }

    /// Removes delivered rows and moves refused ones to quarantine, in one transaction. Rows of a file that was set aside
    /// meanwhile are left to a salvage: their numbers stand for other events in the present one.
    pub(crate) async fn settle(&self, spool_id: Uuid, settle: Settle) -> Result<(), SpoolError> {
        let (answer, done) = oneshot::channel();
        self.shared
            .writer
            .send(Command::Settle { spool_id, settle, answer })
            .map_err(|_| SpoolError::Closed)?;
        done.await.map_err(|_| SpoolError::Closed)?
    }

    /// Where the present figures of this spool are shown.
    pub(crate) fn gauges(&self) -> &Gauges {
        &self.shared.gauges
    }

    /// Waits for rows that the drainer has not seen.
    pub(crate) async fn arrival(&self) {
        self.shared.arrived.notified().await;
    }

    /// The oldest rows, at most one batch. Where the file turns out to be damaged, the writer replaces it.
    pub(crate) async fn oldest(&self, limit: usize) -> Result<Batch, SpoolError> {
        let directory = self.shared.options.directory.clone();
        // Noted before the file is opened: one that is replaced meanwhile is then at most taken for its predecessor,
        // and neither set aside for that one's damage nor rid of rows that were not delivered.
        let spool_id = self.id();
        let outcome = tokio::task::spawn_blocking(move || reader::oldest(&directory, spool_id, limit))
            .await
            .map_err(|_| SpoolError::Closed)?;
        if let Err(error) = &outcome
            && store::is_damage(error)
        {
            // The writer may meet only other pages for ever. A closed one has nothing to replace.
            let _ = self.shared.writer.send(Command::Damaged { spool_id, why: error.to_string() });
        }
        outcome
    }
}

pub(crate) use writer::Settle as SettleRows;

impl Shared {
    pub(crate) fn spool_id(&self) -> Uuid {
        *self.spool_id.lock()
    }

    pub(crate) fn replaced(&self, spool_id: Uuid) {
        *self.spool_id.lock() = spool_id;
    }
}
