//! The one thread that writes: it gathers what waits into one transaction and answers after the commit.

use std::io;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::sync::{Arc, Weak};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rusqlite::{Connection, Transaction, TransactionBehavior};
use tokio::sync::{OwnedSemaphorePermit, oneshot};
use uuid::Uuid;

use super::limits::{Depth, DropReason};
use super::{Append, Shared, SpoolError, files, store};
use crate::decode::CURRENT_FORMAT;
use crate::recorder::Recorded;

/// Commands of one transaction.
const GROUP: usize = 256;
/// How long the first of a group waits for company.
const GATHER: Duration = Duration::from_millis(2);
/// How often an idle writer looks for rows an operator put back.
const LOOK: Duration = Duration::from_secs(1);
/// Quarantine keeps at most this much; the oldest goes first.
const QUARANTINE_ROWS: i64 = 1000;
const QUARANTINE_BYTES: i64 = 8 * 1024 * 1024;

/// What the drainer learned about rows.
#[derive(Debug, Default)]
pub(crate) struct Settle {
    /// Delivered.
    pub(crate) delivered: Vec<i64>,
    /// Refused for good, with the reason.
    pub(crate) refused: Vec<(i64, String)>,
}

pub(crate) enum Command {
    Append {
        append: Append,
        answer: Option<oneshot::Sender<Recorded>>,
        permit: OwnedSemaphorePermit,
    },
    /// About rows that were read from this file.
    Settle {
        spool_id: Uuid,
        settle: Settle,
        answer: oneshot::Sender<Result<(), SpoolError>>,
    },
    /// Somebody who read this file met damage.
    Damaged {
        spool_id: Uuid,
        why: String,
    },
    Close,
}

/// Starts the thread. It holds the spool weakly, so that a spool nobody holds any more ends it.
pub(crate) fn start(
    connection: Connection,
    commands: Receiver<Command>,
    shared: Weak<Shared>,
) -> io::Result<JoinHandle<()>> {
    let data_version = data_version(&connection);
    let mut writer = Writer { connection, shared, dirty_since: None, data_version, set_aside: false };
    thread::Builder::new().name("event-spool".to_owned()).spawn(move || writer.run(&commands))
}

struct Writer {
    connection: Connection,
    shared: Weak<Shared>,
    /// When the first commit that is not yet synced happened.
    dirty_since: Option<Instant>,
    /// Changes when another process writes.
    data_version: Option<i64>,
    /// The file at hand was set aside and no new one could be begun yet: nothing is delivered from it.
    set_aside: bool,
}

impl Writer {
    fn run(&mut self, commands: &Receiver<Command>) {
        loop {
            let group = match commands.recv_timeout(self.patience()) {
                Ok(first) => gather(first, commands),
                Err(RecvTimeoutError::Timeout) => Vec::new(),
                Err(RecvTimeoutError::Disconnected) => break,
            };
            let Some(shared) = self.shared.upgrade() else { break };
            let closing = group.iter().any(|command| matches!(command, Command::Close));
            if group.is_empty() {
                self.idle(&shared);
            } else {
                self.commit(&shared, group);
            }
            if closing {
                break;
            }
        }
        self.finish();
    }

    /// Time until the log must be synced, or until it is time to look around.
    fn patience(&self) -> Duration {
        let Some(since) = self.dirty_since else { return LOOK };
        let interval = self.shared.upgrade().map_or(LOOK, |shared| shared.options.sync_interval);
        interval.saturating_sub(since.elapsed()).min(LOOK)
    }

    fn idle(&mut self, shared: &Shared) {
        self.begin_if_due(shared);
        self.sync_if_due(shared);
        shared.gauges.bytes(files::disk_bytes(&shared.options.directory));
        let version = data_version(&self.connection);
        if version != self.data_version
            && let Ok(depth) = store::count(&self.connection)
        {
            shared.limits.set(depth);
            shared.arrived.notify_one();
        }
        self.data_version = version;
    }

    /// One transaction for the whole group. Callers are answered after the commit, never before.
    fn commit(&mut self, shared: &Arc<Shared>, group: Vec<Command>) {
        // First of all: what the rest of the group brings belongs into a file that can be read.
        for command in &group {
            if let Command::Damaged { spool_id, why } = command
                && *spool_id == shared.spool_id()
            {
                self.replace(shared, why);
            }
        }
        self.begin_if_due(shared);
        let durable = group.iter().any(|c| matches!(c, Command::Append { append, .. } if append.durable));
        let appended = group.iter().any(|c| matches!(c, Command::Append { .. }));
        let before = shared.limits.depth();
        let mut depth = before;
        let outcome = self.write(shared, &group, durable, &mut depth);
        match &outcome {
            Ok(_) => {
                shared.limits.set(depth);
                self.dirty_since =
                    if durable { None } else { self.dirty_since.or_else(|| Some(Instant::now())) };
            }
            Err(error) => {
                tracing::warn!(%error, "the event spool cannot be written");
                if store::is_damage(error) {
                    self.replace(shared, &error.to_string());
                }
            }
        }
        answer(shared, group, outcome);
        if appended {
            shared.arrived.notify_one();
        }
        self.sync_if_due(shared);
    }

    fn write(
        &mut self,
        shared: &Shared,
        group: &[Command],
        durable: bool,
        depth: &mut Depth,
    ) -> Result<Vec<Recorded>, SpoolError> {
        self.connection.execute_batch(if durable {
            "PRAGMA synchronous = FULL"
        } else {
            "PRAGMA synchronous = NORMAL"
        })?;
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let mut recorded = Vec::with_capacity(group.len());
        for command in group {
            match command {
                Command::Append { append, .. } => recorded.push(insert(&transaction, shared, append, depth)?),
                Command::Settle { spool_id, settle, .. } if *spool_id == shared.spool_id() => {
                    remove(&transaction, settle, depth)?;
                }
                Command::Settle { .. } | Command::Damaged { .. } | Command::Close => {}
            }
        }
        transaction.commit()?;
        Ok(recorded)
    }

    /// Bounds what a power cut can take: a commit under full synchronisation syncs everything before it.
    fn sync_if_due(&mut self, shared: &Shared) {
        if self.dirty_since.is_some_and(|since| since.elapsed() >= shared.options.sync_interval) {
            self.sync();
        }
    }

    fn sync(&mut self) {
        let synced = self.connection.execute_batch(
            "PRAGMA synchronous = FULL;
             INSERT OR REPLACE INTO spool_meta (key, value) VALUES ('synced', strftime('%s', 'now'));
             PRAGMA synchronous = NORMAL;",
        );
        match synced {
            Ok(()) => self.dirty_since = None,
            Err(error) => {
                tracing::warn!(%error, "the event spool cannot be synced");
                // Not at once again: the disk may be full.
                self.dirty_since = Some(Instant::now());
            }
        }
    }

    /// Recording never stops: a file that breaks while in use is set aside, and a new one begun.
    fn replace(&mut self, shared: &Shared, why: &str) {
        match store::report_damage(&shared.options.directory, why) {
            Ok(()) => {
                self.set_aside = true;
                self.begin_if_due(shared);
            }
            Err(error) => tracing::error!(%error, "the damaged event spool cannot be set aside"),
        }
    }

    /// Until it succeeds, events go on into the old file, where a salvage finds them.
    fn begin_if_due(&mut self, shared: &Shared) {
        if !self.set_aside {
            return;
        }
        match store::open(&shared.options.directory) {
            Ok(opened) => {
                self.set_aside = false;
                self.connection = opened.connection;
                self.data_version = data_version(&self.connection);
                self.dirty_since = None;
                shared.limits.set(opened.depth);
                shared.replaced(opened.spool_id);
            }
            Err(error) => tracing::error!(%error, "a new event spool cannot be started"),
        }
    }

    fn finish(&mut self) {
        if self.dirty_since.is_some() {
            self.sync();
        }
        let checkpointed = self.connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()));
        if let Err(error) = checkpointed {
            tracing::debug!(%error, "the event spool was not checkpointed; the next start does it");
        }
    }
}

fn data_version(connection: &Connection) -> Option<i64> {
    connection.query_row("PRAGMA data_version", [], |row| row.get(0)).ok()
}

fn gather(first: Command, commands: &Receiver<Command>) -> Vec<Command> {
    let mut group = vec![first];
    let deadline = Instant::now() + GATHER;
    while group.len() < GROUP && !matches!(group.last(), Some(Command::Close)) {
        // What waits already is taken without waiting; company is waited for only when there is some.
        let next = match commands.try_recv() {
            Ok(command) => Ok(command),
            Err(_) if group.len() > 1 => {
                commands.recv_timeout(deadline.saturating_duration_since(Instant::now()))
            }
            Err(_) => break,
        };
        match next {
            Ok(command) => group.push(command),
            Err(_) => break,
        }
    }
    group
}

fn insert(
    transaction: &Transaction<'_>,
    shared: &Shared,
    append: &Append,
    depth: &mut Depth,
) -> Result<Recorded, SpoolError> {
    if let Err(reason) = shared.limits.admit(*depth, append.payload.len(), append.keeps_reserve) {
        return Ok(Recorded::Dropped(reason));
    }
    transaction
        .prepare_cached("INSERT INTO spool (format, payload, recorded_at) VALUES (?1, ?2, ?3)")?
        .execute((CURRENT_FORMAT, &append.payload, store::now_micros()))?;
    depth.add(append.payload.len());
    Ok(Recorded::Stored)
}

fn remove(transaction: &Transaction<'_>, settle: &Settle, depth: &mut Depth) -> Result<(), SpoolError> {
    for (sequence, reason) in &settle.refused {
        transaction
            .prepare_cached(
                "INSERT OR REPLACE INTO quarantine (sequence, format, payload, reason, quarantined_at)
                 SELECT sequence, format, payload, ?2, ?3 FROM spool WHERE sequence = ?1",
            )?
            .execute((sequence, reason, store::now_micros()))?;
    }
    let refused = settle.refused.iter().map(|(sequence, _)| sequence);
    for sequence in settle.delivered.iter().chain(refused) {
        let mut statement =
            transaction.prepare_cached("DELETE FROM spool WHERE sequence = ?1 RETURNING LENGTH(payload)")?;
        let mut removed = statement.query([sequence])?;
        if let Some(row) = removed.next()? {
            depth.remove(Depth { rows: 1, bytes: row.get::<_, i64>(0)?.unsigned_abs() });
        }
    }
    if !settle.refused.is_empty() {
        bound_quarantine(transaction)?;
    }
    Ok(())
}

fn bound_quarantine(transaction: &Transaction<'_>) -> Result<(), SpoolError> {
    // Newest first with a running sum: whatever lies beyond either bound goes.
    transaction.execute(
        "DELETE FROM quarantine WHERE sequence IN (
            SELECT sequence FROM (
                SELECT sequence, ROW_NUMBER() OVER newest AS row, SUM(LENGTH(payload)) OVER newest AS bytes
                FROM quarantine WINDOW newest AS (ORDER BY quarantined_at DESC, sequence DESC))
            WHERE row > ?1 OR bytes > ?2)",
        [QUARANTINE_ROWS, QUARANTINE_BYTES],
    )?;
    Ok(())
}

/// Tells every caller of a group what became of its command.
fn answer(shared: &Shared, group: Vec<Command>, outcome: Result<Vec<Recorded>, SpoolError>) {
    let failure = outcome.as_ref().err().map(ToString::to_string);
    let mut recorded = outcome.unwrap_or_default().into_iter();
    for command in group {
        match command {
            Command::Append { answer, permit, .. } => {
                drop(permit);
                let fate = recorded.next().unwrap_or(Recorded::Dropped(DropReason::Io));
                if let Recorded::Dropped(reason) = fate {
                    shared.limits.count_drop(reason);
                }
                if let Some(answer) = answer {
                    // The caller may have given up waiting; the record is kept all the same.
                    let _ = answer.send(fate);
                }
            }
            Command::Settle { answer, .. } => {
                let result = match &failure {
                    None => Ok(()),
                    Some(text) => Err(SpoolError::Io {
                        path: shared.options.directory.clone(),
                        source: io::Error::other(text.clone()),
                    }),
                };
                let _ = answer.send(result);
            }
            Command::Damaged { .. } | Command::Close => {}
        }
    }
}
