//! Whether a server fits (`database-tier.md` §2.1). Every failed check is collected, so that an operator corrects all
//! of them at once; there is no way to force it.

use std::fmt;

use chrono::Utc;

use crate::conn::{Conn, ConnectOptions, connect};
use crate::error::StoreResult;
use crate::sql::{rows, sql};

/// Oldest supported server: `INET4` needs 10.10, `UUID` 10.7, `SKIP LOCKED` 10.6; 10.11 is the next long-term release.
const OLDEST: (u32, u32) = (10, 11);
/// Bytes of a packet: a stored reply and a batch of events must fit with room.
const MIN_PACKET: u64 = 16 * 1024 * 1024;
/// Sessions besides the pool of a gateway: schema runs, `sf-ctl`, the operator.
const SPARE_CONNECTIONS: u64 = 8;
/// Clock difference worth a word, seconds.
const MAX_SKEW: i64 = 5;

/// What the check is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// Transactions of a gateway with a pool of this size.
    Gateway {
        /// Sessions of the gateway.
        pool_size: u32,
    },
    /// Schema work.
    Schema,
}

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// The server's own words.
    pub version: String,
    /// Sentences worth knowing that do not refuse the server.
    pub warnings: Vec<String>,
}

/// The server does not fit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Incompatible {
    /// One sentence per failed check, each with what to do.
    pub problems: Vec<String>,
}

impl fmt::Display for Incompatible {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "this MariaDB cannot be used ({} problems):", self.problems.len())?;
        self.problems.iter().try_for_each(|problem| write!(f, "\n  - {problem}"))
    }
}

impl std::error::Error for Incompatible {}

rows! {
    /// What the server says about itself.
    struct Server {
        version: String,
        engine: String,
        charset: String,
        collation: String,
        read_only: i64,
        log_bin: i64,
        binlog_format: String,
        max_allowed_packet: i64,
        max_connections: i64,
        now: chrono::DateTime<Utc>,
        grantor: String,
    }
}

/// Connects and checks.
///
/// # Errors
/// [`crate::migrate::SchemaError::Incompatible`] with every failed check, or the server cannot be reached.
pub async fn check(
    options: &ConnectOptions,
    purpose: Purpose,
) -> Result<Report, crate::migrate::SchemaError> {
    let mut conn = connect(options).await?;
    let server = read(&mut conn).await?;
    let grants = grants(&mut conn).await?;
    let mut problems = judge(&server, purpose);
    let (missing, warning) = judge_grants(&grants, options.database.as_deref().unwrap_or_default(), purpose);
    if !missing.is_empty() {
        let user = &server.grantor;
        problems.push(format!("the user {user} lacks {} on the database: grant them", missing.join(", ")));
    }
    if !problems.is_empty() {
        return Err(Incompatible { problems }.into());
    }
    let mut warnings: Vec<String> = warning.into_iter().collect();
    let skew = (server.now - Utc::now()).num_seconds();
    if skew.abs() > MAX_SKEW {
        warnings.push(format!(
            "the clock of MariaDB differs by {skew} s from this host: check time synchronisation"
        ));
    }
    Ok(Report { version: server.version, warnings })
}

async fn read(conn: &mut Conn) -> StoreResult<Server> {
    let query = "SELECT VERSION() AS version, @@default_storage_engine AS engine, \
         @@character_set_database AS charset, @@collation_database AS collation, \
         CAST(@@global.read_only AS SIGNED) AS read_only, CAST(@@log_bin AS SIGNED) AS log_bin, \
         @@binlog_format AS binlog_format, CAST(@@global.max_allowed_packet AS SIGNED) AS max_allowed_packet, \
         CAST(@@max_connections AS SIGNED) AS max_connections, UTC_TIMESTAMP(6) AS now, \
         CURRENT_USER() AS grantor";
    let server = sql(query).first_row(conn).await?;
    server.ok_or_else(|| crate::error::StoreError::Corrupt("no answer to a question about itself".to_owned()))
}

/// The grants of this session's user, one per line. Their column is named after the user, so it is read by position.
async fn grants(conn: &mut Conn) -> StoreResult<Vec<String>> {
    use diesel_async::RunQueryDsl;
    let lines: Vec<Line> = diesel::sql_query("SHOW GRANTS").load(conn).await?;
    Ok(lines.into_iter().map(|line| line.0).collect())
}

struct Line(String);

impl diesel::deserialize::QueryableByName<diesel::mysql::Mysql> for Line {
    fn build<'a>(
        row: &impl diesel::row::NamedRow<'a, diesel::mysql::Mysql>,
    ) -> diesel::deserialize::Result<Self> {
        let field = diesel::row::Row::get(row, 0).ok_or("no column")?;
        let value = diesel::row::Field::value(&field);
        Ok(Self(diesel::deserialize::FromSql::<diesel::sql_types::Text, _>::from_nullable_sql(value)?))
    }
}

/// Every failed check as a sentence.
fn judge(server: &Server, purpose: Purpose) -> Vec<String> {
    let mut problems = Vec::new();
    if !server.version.contains("MariaDB") {
        problems.push(format!(
            "the server is {}, which is not MariaDB: use MariaDB 10.11 or later",
            server.version
        ));
    } else if parse_version(&server.version).is_none_or(|version| version < OLDEST) {
        problems.push(format!("the server is {}: upgrade it to MariaDB 10.11 or later", server.version));
    }
    let expected = [
        ("default_storage_engine", &server.engine, "InnoDB", server.engine == "InnoDB"),
        ("the character set of the database", &server.charset, "utf8mb4", server.charset == "utf8mb4"),
        (
            "the collation of the database",
            &server.collation,
            "utf8mb4_*",
            server.collation.starts_with("utf8mb4_"),
        ),
    ];
    for (what, found, wanted, fits) in expected {
        if !fits {
            problems.push(format!("{what} is {found}: it must be {wanted}"));
        }
    }
    if server.read_only != 0 {
        problems.push("read_only is on: point mariadb_host at the primary, or set read_only = 0".to_owned());
    }
    if server.log_bin != 0 && !["ROW", "MIXED"].contains(&server.binlog_format.as_str()) {
        let found = &server.binlog_format;
        problems.push(format!(
            "binlog_format is {found}: set it to ROW or MIXED, transactions are READ COMMITTED"
        ));
    }
    if u64::try_from(server.max_allowed_packet).unwrap_or(0) < MIN_PACKET {
        problems
            .push(format!("max_allowed_packet is {}: set it to 16777216 or more", server.max_allowed_packet));
    }
    if let Purpose::Gateway { pool_size } = purpose {
        let needed = u64::from(pool_size) + SPARE_CONNECTIONS;
        if u64::try_from(server.max_connections).unwrap_or(0) < needed {
            problems.push(format!(
                "max_connections is {}: set it to gateways x (database_pool_size + 2) + 10, at least {needed}",
                server.max_connections
            ));
        }
    }
    problems
}

/// Major and minor number. Some servers put `5.5.5-` in front for old replicas.
fn parse_version(text: &str) -> Option<(u32, u32)> {
    let text = text.strip_prefix("5.5.5-").unwrap_or(text);
    let mut parts = text.split(['.', '-']).map(str::parse::<u32>);
    Some((parts.next()?.ok()?, parts.next()?.ok()?))
}

/// Privileges that are missing on the database, and what could not be seen.
fn judge_grants(grants: &[String], database: &str, purpose: Purpose) -> (Vec<&'static str>, Option<String>) {
    let needed: &[&'static str] = match purpose {
        Purpose::Gateway { .. } => &["SELECT", "INSERT", "UPDATE", "DELETE"],
        Purpose::Schema => {
            &["SELECT", "INSERT", "UPDATE", "DELETE", "CREATE", "ALTER", "INDEX", "DROP", "REFERENCES"]
        }
    };
    let mut held: Vec<String> = Vec::new();
    let mut roles = false;
    for line in grants {
        let Some((privileges, rest)) = line.strip_prefix("GRANT ").and_then(|line| line.split_once(" ON "))
        else {
            roles |= line.starts_with("GRANT ");
            continue;
        };
        let scope = rest.split(" TO ").next().unwrap_or_default();
        if covers(scope, database) {
            held.extend(privileges.split(", ").map(str::to_owned));
        }
    }
    if held.iter().any(|privilege| privilege.starts_with("ALL PRIVILEGES")) {
        return (Vec::new(), None);
    }
    let missing: Vec<&'static str> =
        needed.iter().copied().filter(|privilege| !held.iter().any(|h| h == privilege)).collect();
    if roles && !missing.is_empty() {
        let warning = "privileges come through roles and could not be checked".to_owned();
        return (Vec::new(), Some(warning));
    }
    (missing, None)
}

/// Whether a grant's scope (`*.*`, `` `name`.* ``, with `_` and `%` as wildcards or escaped) includes a database.
fn covers(scope: &str, database: &str) -> bool {
    let pattern = scope.trim_end_matches(".*").trim_matches('`');
    pattern == "*"
        || pattern.replace('\\', "") == database
        || wildcard(pattern.as_bytes(), database.as_bytes())
}

fn wildcard(pattern: &[u8], text: &[u8]) -> bool {
    match (pattern.split_first(), text.split_first()) {
        (None, None) => true,
        (Some((b'%', rest)), _) => {
            wildcard(rest, text) || text.split_first().is_some_and(|(_, t)| wildcard(pattern, t))
        }
        (Some((b'_', rest)), Some((_, text))) => wildcard(rest, text),
        (Some((p, rest)), Some((t, text))) if p == t => wildcard(rest, text),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn good() -> Server {
        Server {
            version: "10.11.6-MariaDB-0+deb12u1-log".into(),
            engine: "InnoDB".into(),
            charset: "utf8mb4".into(),
            collation: "utf8mb4_general_ci".into(),
            read_only: 0,
            log_bin: 0,
            binlog_format: "STATEMENT".into(),
            max_allowed_packet: 16 * 1024 * 1024,
            max_connections: 100,
            now: Utc::now(),
            grantor: "x@%".into(),
        }
    }

    #[test]
    fn every_problem_is_told() {
        assert_eq!(judge(&good(), Purpose::Gateway { pool_size: 16 }), Vec::<String>::new());
        let bad = Server {
            version: "10.6.12-MariaDB".into(),
            engine: "MyISAM".into(),
            charset: "latin1".into(),
            collation: "latin1_swedish_ci".into(),
            read_only: 1,
            log_bin: 1,
            max_allowed_packet: 1024,
            max_connections: 10,
            ..good()
        };
        assert_eq!(judge(&bad, Purpose::Gateway { pool_size: 16 }).len(), 8);
        assert_eq!(judge(&bad, Purpose::Schema).len(), 7);
    }

    #[test]
    fn versions() {
        for (text, fits) in [
            ("10.11.0-MariaDB", true),
            ("5.5.5-10.11.4-MariaDB-1:10.11.4", true),
            ("11.8.2-MariaDB", true),
            ("10.6.12-MariaDB", false),
            ("8.0.36", false),
            ("MariaDB", false),
        ] {
            let server = Server { version: text.into(), ..good() };
            assert_eq!(judge(&server, Purpose::Schema).is_empty(), fits, "{text}");
        }
    }

    #[test]
    fn grants() {
        let gateway = Purpose::Gateway { pool_size: 4 };
        let usage = "GRANT USAGE ON *.* TO `sf`@`%` IDENTIFIED BY PASSWORD 'x'".to_owned();
        for (grant, purpose, missing) in [
            ("GRANT ALL PRIVILEGES ON *.* TO `root`@`localhost` WITH GRANT OPTION", Purpose::Schema, 0),
            ("GRANT ALL PRIVILEGES ON `shakenfist`.* TO `sf`@`%`", Purpose::Schema, 0),
            ("GRANT SELECT, INSERT, UPDATE, DELETE ON `shaken%`.* TO `sf`@`%`", gateway, 0),
            ("GRANT SELECT, INSERT, UPDATE, DELETE ON `shakenfist`.* TO `sf`@`%`", Purpose::Schema, 5),
            ("GRANT SELECT ON `shakenfist`.* TO `sf`@`%`", gateway, 3),
            ("GRANT ALL PRIVILEGES ON `other`.* TO `sf`@`%`", gateway, 4),
        ] {
            let (found, _) = judge_grants(&[usage.clone(), grant.to_owned()], "shakenfist", purpose);
            assert_eq!(found.len(), missing, "{grant}");
        }
        let (found, warning) =
            judge_grants(&[usage, "GRANT `role` TO `sf`@`%`".into()], "shakenfist", gateway);
        assert!(found.is_empty() && warning.is_some());
    }
}
