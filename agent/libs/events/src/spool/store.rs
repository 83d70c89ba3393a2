//! Opening the file: settings, tables, and what happens to a file that cannot be used.

use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rusqlite::{Connection, ErrorCode, OpenFlags, OptionalExtension};
use uuid::Uuid;

use super::limits::Depth;
use super::{SpoolError, files, salvage};
use crate::gauges;

/// "SFSP": tells our files from others.
const APPLICATION_ID: i32 = 0x5346_5350;
/// Version of the tables below.
pub(crate) const SCHEMA_VERSION: i64 = 1;

const TABLES: &str = "
    CREATE TABLE IF NOT EXISTS spool_meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS spool (
        sequence INTEGER PRIMARY KEY AUTOINCREMENT,
        format INTEGER NOT NULL, payload BLOB NOT NULL, recorded_at INTEGER NOT NULL) STRICT;
    CREATE TABLE IF NOT EXISTS quarantine (
        sequence INTEGER PRIMARY KEY,
        format INTEGER NOT NULL, payload BLOB NOT NULL, reason TEXT NOT NULL, quarantined_at INTEGER NOT NULL) STRICT;
";

/// A spool ready for its writer.
pub(crate) struct Opened {
    pub(crate) connection: Connection,
    pub(crate) spool_id: Uuid,
    pub(crate) depth: Depth,
    pub(crate) newer_set_aside: bool,
}

/// Opens the file of a directory whose lock is held. A damaged file, or one of a newer build, is set aside.
pub(crate) fn open(directory: &Path) -> Result<Opened, SpoolError> {
    let mut newer_set_aside = false;
    let connection = match open_file(directory) {
        Ok(Opening::Ready(connection)) => connection,
        Ok(Opening::Newer(version)) => {
            let path = files::set_aside(directory, &format!("v{version}"))?;
            tracing::error!(path = %path.display(), "the event spool was written by a newer agent and is set aside until that agent runs again");
            newer_set_aside = true;
            ready(open_file(directory)?)?
        }
        Err(error) if is_damage(&error) => {
            report_damage(directory, &error.to_string())?;
            ready(open_file(directory)?)?
        }
        Err(error) => return Err(error),
    };
    let spool_id = spool_id(&connection)?;
    adopt(directory, &connection)?;
    let depth = count(&connection)?;
    Ok(Opened { connection, spool_id, depth, newer_set_aside })
}

/// Sets a damaged file aside, says so, and counts it.
pub(crate) fn report_damage(directory: &Path, why: &str) -> Result<(), SpoolError> {
    let path = files::set_damaged_aside(directory)?;
    gauges::corrupt();
    tracing::error!(path = %path.display(), why, "the event spool is damaged and was set aside; `sf-ctl spool salvage` reads what is left of it");
    sf_runtime::notify::status(&format!("event spool damaged, set aside as {}", path.display()));
    Ok(())
}

/// A read-only connection beside the writer.
pub(crate) fn open_reader(file: &Path) -> Result<Connection, SpoolError> {
    let connection = Connection::open_with_flags(
        file,
        OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX,
    )?;
    connection.busy_timeout(Duration::from_secs(2))?;
    Ok(connection)
}

/// A second writing connection, for an operator's command beside a running daemon.
pub(crate) fn open_beside(directory: &Path) -> Result<Connection, SpoolError> {
    ready(open_file(directory)?)
}

/// Rows and payload bytes that wait. A scan: only at opening and after an operator's change.
pub(crate) fn count(connection: &Connection) -> Result<Depth, SpoolError> {
    let (rows, bytes): (i64, i64) =
        connection.query_row("SELECT COUNT(*), COALESCE(SUM(LENGTH(payload)), 0) FROM spool", [], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })?;
    Ok(Depth { rows: rows.unsigned_abs(), bytes: bytes.unsigned_abs() })
}

/// The identity of the file, made on first use.
pub(crate) fn spool_id(connection: &Connection) -> Result<Uuid, SpoolError> {
    let stored: Option<String> = connection
        .query_row("SELECT value FROM spool_meta WHERE key = 'spool_id'", [], |row| row.get(0))
        .optional()?;
    if let Some(id) = stored.and_then(|text| text.parse().ok()) {
        return Ok(id);
    }
    let id = Uuid::new_v4();
    let created = now_micros().to_string();
    connection.execute(
        "INSERT OR REPLACE INTO spool_meta (key, value) VALUES ('spool_id', ?1), ('created_at', ?2)",
        [id.to_string(), created],
    )?;
    Ok(id)
}

/// Whether an error means that the file itself is broken.
pub(crate) fn is_damage(error: &SpoolError) -> bool {
    let SpoolError::Sqlite(error) = error else { return false };
    // The tables are strict: another type than was declared is no value that anybody wrote.
    if matches!(error, rusqlite::Error::InvalidColumnType(..)) {
        return true;
    }
    matches!(
        error.sqlite_error_code(),
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase | ErrorCode::TypeMismatch)
    )
}

/// Microseconds since the epoch.
pub(crate) fn now_micros() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(now.as_micros()).unwrap_or(i64::MAX)
}

enum Opening {
    Ready(Connection),
    Newer(i64),
}

fn open_file(directory: &Path) -> Result<Opening, SpoolError> {
    let connection = Connection::open(directory.join(files::FILE))?;
    connection.busy_timeout(Duration::from_secs(2))?;
    let version: i64 = connection.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    if version > SCHEMA_VERSION {
        return Ok(Opening::Newer(version));
    }
    let check: String = connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
    if check != "ok" {
        return Err(damage());
    }
    // Vacuuming must be chosen before the first table exists.
    connection.execute_batch("PRAGMA auto_vacuum = INCREMENTAL;")?;
    let mode: String = connection.query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0))?;
    if mode != "wal" {
        tracing::warn!(mode, "the event spool has no write-ahead log");
    }
    connection.execute_batch(
        "PRAGMA synchronous = NORMAL; PRAGMA wal_autocheckpoint = 1000; PRAGMA locking_mode = NORMAL;",
    )?;
    let _: i64 = connection.query_row("PRAGMA journal_size_limit = 8388608", [], |row| row.get(0))?;
    connection.execute_batch(TABLES)?;
    connection.execute_batch(&format!(
        "PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {SCHEMA_VERSION};"
    ))?;
    Ok(Opening::Ready(connection))
}

fn ready(opening: Opening) -> Result<Connection, SpoolError> {
    match opening {
        Opening::Ready(connection) => Ok(connection),
        Opening::Newer(_) => Err(damage()),
    }
}

fn damage() -> SpoolError {
    let code = rusqlite::ffi::Error {
        code: ErrorCode::DatabaseCorrupt,
        extended_code: rusqlite::ffi::SQLITE_CORRUPT,
    };
    SpoolError::Sqlite(rusqlite::Error::SqliteFailure(code, None))
}

/// Takes back rows of files that an older build had set aside and this one can read.
fn adopt(directory: &Path, connection: &Connection) -> Result<(), SpoolError> {
    for path in files::set_aside_files(directory, "v")? {
        let version = path.to_string_lossy().rsplit_once(".v").and_then(|(_, v)| v.parse::<i64>().ok());
        if version.is_none_or(|v| v > SCHEMA_VERSION) {
            continue;
        }
        match salvage::into_connection(&path, connection) {
            Ok(salvaged) => {
                tracing::info!(path = %path.display(), rows = salvaged.rows, "adopted a spool that had been set aside");
                files::remove_database(&path);
            }
            Err(error) => {
                tracing::warn!(path = %path.display(), %error, "a spool that was set aside cannot be adopted")
            }
        }
    }
    Ok(())
}
