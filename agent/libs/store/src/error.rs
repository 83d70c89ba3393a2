//! What can go wrong between a caller's wish and a committed transaction. An outage is never confused with a missing
//! object, an empty list or a full cluster: each is its own variant.

use std::collections::BTreeMap;
use std::fmt::Display;

use diesel::result::{ConnectionError, DatabaseErrorKind, Error as DieselError};
use diesel_async::pooled_connection::PoolError;
use diesel_async::pooled_connection::bb8::RunError;
use sf_model::ObjectType;

/// Result of a store function.
pub type StoreResult<T> = Result<T, StoreError>;

/// Facts that explain a refusal, as texts.
pub type Details = BTreeMap<String, String>;

/// Reasons of [`StoreError::Precondition`] and [`StoreError::Capacity`] that callers act on.
pub mod reason {
    /// The object is in a state that does not allow it.
    pub const BAD_STATE: &str = "bad-state";
    /// The caller no longer holds the lock it acts under.
    pub const LOCK_LOST: &str = "lock-lost";
    /// The work belongs to another worker by now.
    pub const CLAIM_LOST: &str = "claim-lost";
    /// Somebody changed the row meanwhile.
    pub const VERSION_CONFLICT: &str = "version-conflict";
    /// Something still uses the object.
    pub const IN_USE: &str = "in-use";
    /// No room.
    pub const CAPACITY: &str = "capacity";
    /// A pool of values is exhausted.
    pub const POOL_EMPTY: &str = "pool-empty";
}

/// Why a store function did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The object does not exist (any more).
    #[error("{object_type} {id} does not exist")]
    Missing {
        /// Kind of object.
        object_type: String,
        /// As the caller named it.
        id: String,
    },
    /// An object with this identity or name exists and differs.
    #[error("{object_type} {id} exists already")]
    Exists {
        /// Kind of object.
        object_type: String,
        /// As the caller named it.
        id: String,
    },
    /// The present state does not allow it.
    #[error("{message} ({reason})")]
    Precondition {
        /// One of [`reason`], or a reason of the domain.
        reason: &'static str,
        /// A sentence.
        message: String,
        /// Facts for the caller.
        detail: Details,
    },
    /// There is no room.
    #[error("{message} ({reason})")]
    Capacity {
        /// [`reason::CAPACITY`] or [`reason::POOL_EMPTY`].
        reason: &'static str,
        /// A sentence.
        message: String,
        /// Stage, dimension, requested, used, limit.
        detail: Details,
    },
    /// A rule forbids it to this caller.
    #[error("{message} ({reason})")]
    Refused {
        /// For example `claim-ceiling`.
        reason: &'static str,
        /// A sentence.
        message: String,
    },
    /// The caller sent nonsense: a defect of the caller.
    #[error("malformed request: {0}")]
    Invalid(String),
    /// A row does not make sense to this build.
    #[error("the database holds {0}; is a newer agent running, or was it changed by hand?")]
    Corrupt(String),
    /// The request asks for something only another gateway version can do.
    #[error("not known to this gateway: {0}")]
    Unsupported(String),
    /// The database cannot be reached.
    #[error("MariaDB cannot be reached: {0}")]
    Unreachable(String),
    /// The database answers but accepts no writes (a failover is in progress).
    #[error("MariaDB is read-only")]
    ReadOnly,
    /// The call ran out of time before its transaction could commit.
    #[error("out of time: {0}")]
    Deadline(String),
    /// Conflicts with other transactions did not end within the deadline.
    #[error("given up after {attempts} attempts: {last}")]
    Contended {
        /// Attempts made.
        attempts: u32,
        /// What the last one met.
        last: String,
    },
    /// The connection to MariaDB cannot be set up.
    #[error("{0}")]
    Setup(String),
    /// Any other answer of the database.
    #[error("MariaDB: {0}")]
    Db(#[source] DieselError),
}

/// What an error of the database means for the transaction it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Another transaction was in the way: run it again. The word is the label of the retry metric.
    Conflict(&'static str),
    /// The session is gone.
    Unreachable,
    /// The server accepts no writes.
    ReadOnly,
    /// The statement ran out of time.
    Timeout,
    /// A unique key is taken.
    Duplicate,
    /// A value does not fit its column.
    Data,
    /// Something else.
    Other,
}

impl StoreError {
    /// The object does not exist.
    pub fn missing(object_type: ObjectType, id: impl Display) -> Self {
        Self::Missing { object_type: object_type.to_string(), id: id.to_string() }
    }

    /// An object with this identity or name exists.
    pub fn exists(object_type: ObjectType, id: impl Display) -> Self {
        Self::Exists { object_type: object_type.to_string(), id: id.to_string() }
    }

    /// The present state does not allow it; `reason` is one of [`reason`] or a reason of the domain.
    pub fn precondition(reason: &'static str, message: impl Into<String>) -> Self {
        Self::Precondition { reason, message: message.into(), detail: Details::new() }
    }

    /// There is no room.
    pub fn capacity(reason: &'static str, message: impl Into<String>) -> Self {
        Self::Capacity { reason, message: message.into(), detail: Details::new() }
    }

    /// The caller sent nonsense.
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::Invalid(message.into())
    }

    /// Adds a fact to a refusal; other errors carry none and stay as they are.
    pub fn with(mut self, key: &str, value: impl Display) -> Self {
        if let Self::Precondition { detail, .. } | Self::Capacity { detail, .. } = &mut self {
            detail.insert(key.to_owned(), value.to_string());
        }
        self
    }

    /// What a database error means; [`Fault::Other`] for errors that are not the database's.
    pub fn fault(&self) -> Fault {
        match self {
            Self::Db(error) => classify(error),
            Self::Unreachable(_) => Fault::Unreachable,
            Self::ReadOnly => Fault::ReadOnly,
            _ => Fault::Other,
        }
    }

    /// Whether a unique key is taken.
    pub fn is_duplicate(&self) -> bool {
        self.fault() == Fault::Duplicate
    }

    /// Gives the faults that callers tell apart their own variant.
    pub fn settled(self) -> Self {
        match (self.fault(), self) {
            (Fault::Unreachable, Self::Db(e)) => Self::Unreachable(e.to_string()),
            (Fault::ReadOnly, Self::Db(_)) => Self::ReadOnly,
            (Fault::Timeout, Self::Db(e)) => Self::Deadline(e.to_string()),
            (_, other) => other,
        }
    }

    pub(crate) fn from_connection(error: ConnectionError) -> Self {
        match error {
            ConnectionError::CouldntSetupConfiguration(e) => {
                Self::Setup(format!("MariaDB refuses a session: {e}"))
            }
            ConnectionError::InvalidConnectionUrl(e) => Self::Setup(e),
            // A server that is full or on its way out will take a session later.
            ConnectionError::BadConnection(text)
                if text.contains("Server error")
                    && !text.contains("Too many connections")
                    && !text.contains("shutdown in progress") =>
            {
                Self::Setup(format!("MariaDB refuses a session: {text}"))
            }
            ConnectionError::BadConnection(text)
                if ["SSL", "TLS", "certificate"].iter().any(|word| text.contains(word)) =>
            {
                Self::Setup(format!("no encrypted session with MariaDB: {text}; see mariadb_tls_mode"))
            }
            other => Self::Unreachable(other.to_string()),
        }
    }

    pub(crate) fn from_pool(error: RunError) -> Self {
        match error {
            RunError::User(PoolError::ConnectionError(e)) => Self::from_connection(e),
            RunError::User(PoolError::QueryError(e)) => Self::Unreachable(e.to_string()),
            RunError::TimedOut => Self::Unreachable("no session could be had in time".to_owned()),
        }
    }
}

impl From<DieselError> for StoreError {
    fn from(error: DieselError) -> Self {
        Self::Db(error)
    }
}

/// The driver passes on the message of a server error and not its number, so the (English, see `conn.rs`) message is
/// what there is to go by. Errors that are not from the server begin with the driver's own words.
fn classify(error: &DieselError) -> Fault {
    let (kind, information) = match error {
        DieselError::DatabaseError(kind, information) => (kind, information),
        // Neither commit nor rollback came through: what counts is why the commit failed.
        DieselError::RollbackErrorOnCommit { commit_error, .. } => return classify(commit_error),
        // The session broke in the middle of a transaction, and every statement after that says only this.
        DieselError::BrokenTransactionManager => return Fault::Unreachable,
        _ => return Fault::Other,
    };
    match kind {
        DatabaseErrorKind::UniqueViolation => return Fault::Duplicate,
        DatabaseErrorKind::NotNullViolation | DatabaseErrorKind::CheckViolation => return Fault::Data,
        _ => {}
    }
    let text = information.message();
    // (beginning or part of the message, meaning)
    let table = [
        ("Deadlock found", Fault::Conflict("deadlock")),
        ("WSREP detected deadlock", Fault::Conflict("certification")),
        ("Lock wait timeout exceeded", Fault::Conflict("lock-wait")),
        ("Record has changed since last read", Fault::Conflict("snapshot")),
        ("Incorrect ", Fault::Data),
        ("Data too long", Fault::Data),
        ("Out of range value", Fault::Data),
        ("CONSTRAINT", Fault::Data),
        ("--read-only", Fault::ReadOnly),
        ("max_statement_time exceeded", Fault::Timeout),
        ("Input/output error", Fault::Unreachable),
        ("Driver error", Fault::Unreachable),
        ("Connection was killed", Fault::Unreachable),
        ("Query execution was interrupted", Fault::Unreachable),
        ("communication packets", Fault::Unreachable),
        ("Got packets out of order", Fault::Unreachable),
        ("Lost connection", Fault::Unreachable),
        ("server has gone away", Fault::Unreachable),
        ("Too many connections", Fault::Unreachable),
        ("Server shutdown in progress", Fault::Unreachable),
        ("WSREP has not yet prepared node", Fault::Unreachable),
    ];
    table.iter().find(|(part, _)| text.contains(part)).map_or(Fault::Other, |(_, fault)| *fault)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(message: &str) -> StoreError {
        StoreError::Db(DieselError::DatabaseError(DatabaseErrorKind::Unknown, Box::new(message.to_owned())))
    }

    #[test]
    fn messages_of_the_server_are_understood() {
        for (message, fault) in [
            (
                "Deadlock found when trying to get lock; try restarting transaction",
                Fault::Conflict("deadlock"),
            ),
            ("Lock wait timeout exceeded; try restarting transaction", Fault::Conflict("lock-wait")),
            ("Record has changed since last read in table 'x'", Fault::Conflict("snapshot")),
            ("Input/output error: can't parse", Fault::Unreachable),
            ("Query execution was interrupted (max_statement_time exceeded)", Fault::Timeout),
            ("Query execution was interrupted", Fault::Unreachable),
            ("Got timeout reading communication packets", Fault::Unreachable),
            ("MySQL server has gone away", Fault::Unreachable),
            ("Unknown column 'Deadlock' in 'field list'", Fault::Other),
        ] {
            assert_eq!(server(message).fault(), fault, "{message}");
        }
        assert!(matches!(server("Input/output error").settled(), StoreError::Unreachable(_)));
    }

    #[test]
    fn a_session_that_broke_in_a_transaction_is_out_of_reach() {
        let lost = |text: &str| {
            Box::new(DieselError::DatabaseError(DatabaseErrorKind::Unknown, Box::new(text.to_owned())))
        };
        let unfinished = DieselError::RollbackErrorOnCommit {
            commit_error: lost("Input/output error: connection reset"),
            rollback_error: lost("Driver error: closed"),
        };
        for error in [unfinished, DieselError::BrokenTransactionManager] {
            assert!(matches!(StoreError::Db(error).settled(), StoreError::Unreachable(_)));
        }
    }
}
