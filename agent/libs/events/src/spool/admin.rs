//! What an operator can do with a spool, beside the running daemon or without it.

use std::fs::File;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use nix::fcntl::Flock;
use rusqlite::{Connection, OptionalExtension, Row, TransactionBehavior};
use sf_protos::events as pb;

use super::salvage::{self, Salvaged};
use super::{SpoolError, files, store};
use crate::decode::{DecodeError, decode};

/// A spool directory as an operator sees it.
pub struct SpoolAdmin {
    directory: PathBuf,
}

/// The state of a spool.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Inspection {
    /// Rows that wait.
    pub rows: u64,
    /// Bytes on disk.
    pub bytes: u64,
    /// When the oldest row was recorded, microseconds since the epoch.
    pub oldest: Option<i64>,
    /// Rows in quarantine.
    pub quarantined: u64,
    /// Damaged files that were set aside.
    pub damaged: Vec<PathBuf>,
    /// Files of newer builds that were set aside.
    pub newer: Vec<PathBuf>,
    /// Process that holds the lock, if one does.
    pub holder: Option<String>,
}

/// A row that waits.
#[derive(Debug, Clone)]
pub struct StoredRow {
    /// Its number.
    pub sequence: i64,
    /// When it was recorded (waiting) or refused (quarantine), microseconds since the epoch.
    pub at: i64,
    /// What it says, or why that cannot be told.
    pub event: Result<pb::Event, DecodeError>,
}

/// A row in quarantine.
#[derive(Debug, Clone)]
pub struct QuarantinedRow {
    /// The row.
    pub row: StoredRow,
    /// Why it was refused.
    pub reason: String,
}

impl SpoolAdmin {
    /// The spool in `directory`; `None` when there certainly is none.
    ///
    /// # Errors
    /// The directory cannot be looked into.
    pub fn find(directory: &Path) -> Result<Option<Self>, SpoolError> {
        let file = directory.join(files::FILE);
        match std::fs::metadata(&file) {
            Ok(metadata) => Ok(metadata.is_file().then(|| Self { directory: directory.to_owned() })),
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => Ok(None),
            Err(error) => Err(SpoolError::io(file)(error)),
        }
    }

    /// The state, read beside the daemon.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn inspect(&self) -> Result<Inspection, SpoolError> {
        let connection = self.reader()?;
        let number = |sql: &str| connection.query_row(sql, [], |row| row.get::<_, Option<i64>>(0));
        Ok(Inspection {
            rows: number("SELECT COUNT(*) FROM spool")?.unwrap_or(0).unsigned_abs(),
            bytes: files::disk_bytes(&self.directory),
            oldest: number("SELECT MIN(recorded_at) FROM spool")?,
            quarantined: number("SELECT COUNT(*) FROM quarantine")?.unwrap_or(0).unsigned_abs(),
            damaged: files::set_aside_files(&self.directory, "damaged-")?,
            newer: files::set_aside_files(&self.directory, "v")?,
            holder: match self.lock() {
                Ok(_) => None,
                Err(_) => files::holder(&self.directory).or_else(|| Some("unknown".to_owned())),
            },
        })
    }

    /// Waiting rows, oldest first, at most `limit`.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn waiting(&self, limit: u32) -> Result<Vec<StoredRow>, SpoolError> {
        let sql = "SELECT sequence, format, payload, recorded_at FROM spool ORDER BY sequence LIMIT ?1";
        self.rows(sql, i64::from(limit), |_| Ok(()))
            .map(|rows| rows.into_iter().map(|(row, ())| row).collect())
    }

    /// Quarantined rows, oldest first, at most `limit`.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn quarantine(&self, limit: u32) -> Result<Vec<QuarantinedRow>, SpoolError> {
        let sql = "SELECT sequence, format, payload, quarantined_at, reason FROM quarantine ORDER BY sequence LIMIT ?1";
        let rows = self.rows(sql, i64::from(limit), |row| row.get(4))?;
        Ok(rows.into_iter().map(|(row, reason)| QuarantinedRow { row, reason }).collect())
    }

    /// One row, waiting or quarantined.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn show(&self, sequence: i64) -> Result<Option<StoredRow>, SpoolError> {
        for table in ["spool", "quarantine"] {
            let at = if table == "spool" { "recorded_at" } else { "quarantined_at" };
            let sql = format!("SELECT sequence, format, payload, {at} FROM {table} WHERE sequence = ?1");
            if let Some((row, ())) = self.rows(&sql, sequence, |_| Ok(()))?.into_iter().next() {
                return Ok(Some(row));
            }
        }
        Ok(None)
    }

    /// Puts quarantined rows back under new numbers; all of them when `sequences` is `None`. Returns how many.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn requeue(&self, sequences: Option<&[i64]>) -> Result<u64, SpoolError> {
        self.for_quarantined(sequences, |transaction, sequence| {
            transaction.execute(
                "INSERT INTO spool (format, payload, recorded_at)
                 SELECT format, payload, quarantined_at FROM quarantine WHERE sequence = ?1",
                [sequence],
            )
        })
    }

    /// Deletes quarantined rows; all of them when `sequences` is `None`. Returns how many.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn discard(&self, sequences: Option<&[i64]>) -> Result<u64, SpoolError> {
        self.for_quarantined(sequences, |_, _| Ok(0))
    }

    /// Puts every row of a damaged file that still decodes into this spool.
    ///
    /// # Errors
    /// Neither file can be used.
    pub fn salvage(&self, file: &Path) -> Result<Salvaged, SpoolError> {
        salvage::into_connection(file, &store::open_beside(&self.directory)?)
    }

    /// Removes the directory if nothing waits in it and nobody uses it.
    ///
    /// # Errors
    /// The daemon runs, or the directory cannot be read or removed.
    pub fn remove_if_empty(&self) -> Result<bool, SpoolError> {
        let _lock = self.lock()?;
        let state = self.inspect_counts()?;
        if state == (0, 0) && files::set_aside_files(&self.directory, "")?.is_empty() {
            std::fs::remove_dir_all(&self.directory).map_err(SpoolError::io(&self.directory))?;
            return Ok(true);
        }
        Ok(false)
    }

    fn inspect_counts(&self) -> Result<(i64, i64), SpoolError> {
        let sql = "SELECT (SELECT COUNT(*) FROM spool), (SELECT COUNT(*) FROM quarantine)";
        Ok(self.reader()?.query_row(sql, [], |row| Ok((row.get(0)?, row.get(1)?)))?)
    }

    fn lock(&self) -> Result<Flock<File>, SpoolError> {
        files::lock(&self.directory)
    }

    fn reader(&self) -> Result<Connection, SpoolError> {
        store::open_reader(&self.directory.join(files::FILE))
    }

    fn rows<T>(
        &self,
        sql: &str,
        parameter: i64,
        more: impl Fn(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Vec<(StoredRow, T)>, SpoolError> {
        let connection = self.reader()?;
        let spool_id = store::spool_id(&connection)?;
        let mut statement = connection.prepare(sql)?;
        let rows = statement.query_map([parameter], |row| {
            let (sequence, format, payload): (i64, i64, Vec<u8>) = (row.get(0)?, row.get(1)?, row.get(2)?);
            let event = decode(spool_id, sequence, format, &payload);
            Ok((StoredRow { sequence, at: row.get(3)?, event }, more(row)?))
        })?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }

    /// Does `act` with each chosen row and then takes it out of quarantine, in one transaction.
    fn for_quarantined(
        &self,
        sequences: Option<&[i64]>,
        act: impl Fn(&Connection, i64) -> rusqlite::Result<usize>,
    ) -> Result<u64, SpoolError> {
        let mut connection = store::open_beside(&self.directory)?;
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let chosen: Vec<i64> = match sequences {
            Some(sequences) => sequences.to_vec(),
            None => {
                let mut statement =
                    transaction.prepare("SELECT sequence FROM quarantine ORDER BY sequence")?;
                let all = statement.query_map([], |row| row.get(0))?;
                all.collect::<rusqlite::Result<_>>()?
            }
        };
        let mut count = 0;
        for sequence in chosen {
            let sql = "SELECT 1 FROM quarantine WHERE sequence = ?1";
            if transaction.query_row(sql, [sequence], |_| Ok(())).optional()?.is_some() {
                act(&transaction, sequence)?;
                transaction.execute("DELETE FROM quarantine WHERE sequence = ?1", [sequence])?;
                count += 1;
            }
        }
        transaction.commit()?;
        Ok(count)
    }
}
