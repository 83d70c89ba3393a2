//! What a login and each authenticated request read.

use std::time::Duration;

use chrono::{DateTime, Utc};
use sf_model::{KeyId, ObjectType};
use sf_protos::namespaces::{
    CountAttemptReply, CountAttemptRequest, GetLoginCandidatesReply, GetLoginCandidatesRequest,
    GetPrincipalReply, GetPrincipalRequest, LoginCandidate,
};

use crate::conn::Conn;
use crate::error::{StoreError, StoreResult};
use crate::sql::{Sql, rows, sql};
use crate::wire::timestamp;

/// Width of a counting window.
const WINDOW_SECONDS: u64 = 10;
/// Attempts within this time count.
const ATTEMPT_MEMORY: Duration = Duration::from_secs(60);

rows! {
    struct KeyRow {
        uuid: KeyId,
        name: String,
        kind: String,
        verifier: String,
        nonce: String,
        expires_at: Option<DateTime<Utc>>,
        scopes: Option<String>,
    }
}

/// Live, unexpired keys; the scopes of each in one text, because a key has at most 64 of them.
const LIVE_KEYS: &str = "SELECT k.uuid, k.name, k.kind, k.verifier, k.nonce, k.expires_at, \
    (SELECT GROUP_CONCAT(s.scope ORDER BY s.scope SEPARATOR ' ') FROM namespace_key_scopes s WHERE s.key_uuid = k.uuid) \
    AS scopes FROM namespace_keys k JOIN namespaces n ON n.name = k.namespace AND n.state = 'created' \
    WHERE k.live_name IS NOT NULL AND (k.expires_at IS NULL OR k.expires_at > UTC_TIMESTAMP(6)) AND k.namespace = ? AND ";

/// The key whose secret has the given digest, else all keys with a supplied secret.
///
/// # Errors
/// Those of the database; an unknown namespace has no candidates.
pub async fn login_candidates(
    conn: &mut Conn,
    request: &GetLoginCandidatesRequest,
) -> StoreResult<GetLoginCandidatesReply> {
    let keys = match &request.digest {
        Some(digest) => keys(conn, &request.namespace, sql("k.live_verifier = ?").bind(digest)).await?,
        None => keys(conn, &request.namespace, sql("k.kind = 'supplied'")).await?,
    };
    let candidates = keys
        .into_iter()
        .map(|row| LoginCandidate {
            key_uuid: row.uuid.to_string(),
            scopes: scopes(row.scopes),
            expires_at: row.expires_at.map(timestamp),
            key_name: row.name,
            kind: row.kind,
            verifier: row.verifier,
            nonce: row.nonce,
        })
        .collect();
    let exists: Option<bool> =
        sql("SELECT EXISTS (SELECT 1 FROM namespaces WHERE name = ? AND state = 'created') AS value")
            .bind(&request.namespace)
            .value(conn)
            .await?;
    Ok(GetLoginCandidatesReply { candidates, namespace_exists: exists.unwrap_or(false) })
}

/// What the checks of one request need. Missing, deleted and expired are the same to the caller.
///
/// # Errors
/// [`StoreError::Missing`].
pub async fn principal(conn: &mut Conn, request: &GetPrincipalRequest) -> StoreResult<GetPrincipalReply> {
    let found = keys(conn, &request.namespace, sql("k.live_name = ?").bind(&request.key_name)).await?;
    let Some(row) = found.into_iter().next() else {
        return Err(StoreError::missing(ObjectType::NamespaceKey, &request.key_name));
    };
    let trusted_by: Vec<String> = sql("SELECT t.namespace AS value FROM namespace_trusts t \
         JOIN namespaces n ON n.name = t.namespace AND n.state = 'created' WHERE t.trusted = ? ORDER BY 1 LIMIT 1000")
    .bind(&request.namespace)
    .values(conn)
    .await?;
    Ok(GetPrincipalReply {
        nonce: row.nonce,
        scopes: scopes(row.scopes),
        expires_at: row.expires_at.map(timestamp),
        trusted_by,
    })
}

/// Counts a failed attempt and answers how many there were lately from that source for that namespace.
///
/// # Errors
/// Those of the database.
pub async fn count_attempt(conn: &mut Conn, request: &CountAttemptRequest) -> StoreResult<CountAttemptReply> {
    sql("INSERT INTO auth_attempts (kind, source, namespace, window_start, attempts) \
         VALUES (?, ?, ?, FROM_UNIXTIME(FLOOR(UNIX_TIMESTAMP(UTC_TIMESTAMP()) / ?) * ?), 1) \
         ON DUPLICATE KEY UPDATE attempts = attempts + 1")
    .bind(&request.kind)
    .bind(request.source.chars().filter(char::is_ascii).take(64).collect::<String>())
    .bind(request.namespace.chars().take(255).collect::<String>())
    .bind(WINDOW_SECONDS)
    .bind(WINDOW_SECONDS)
    .run(conn)
    .await?;
    let attempts: Option<u64> =
        sql("SELECT CAST(COALESCE(SUM(attempts), 0) AS UNSIGNED) AS value FROM auth_attempts \
         WHERE kind = ? AND source = ? AND namespace = ? \
         AND window_start > TIMESTAMPADD(MICROSECOND, -?, UTC_TIMESTAMP(6))")
        .bind(&request.kind)
        .bind(request.source.chars().filter(char::is_ascii).take(64).collect::<String>())
        .bind(request.namespace.chars().take(255).collect::<String>())
        .bind(ATTEMPT_MEMORY)
        .value(conn)
        .await?;
    Ok(CountAttemptReply { attempts: u32::try_from(attempts.unwrap_or(0)).unwrap_or(u32::MAX) })
}

async fn keys(conn: &mut Conn, namespace: &str, condition: Sql) -> StoreResult<Vec<KeyRow>> {
    sql(LIVE_KEYS).bind(namespace).append(condition).push(" ORDER BY k.created_at LIMIT 16").all(conn).await
}

fn scopes(text: Option<String>) -> Vec<String> {
    text.unwrap_or_default().split_whitespace().map(str::to_owned).collect()
}
