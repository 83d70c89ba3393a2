//! Sessions of carriers: one row per node, whatever the number of networks it carries (`networking.md` §16.2).

use sf_config::EgressMode;
use sf_model::NodeId;
use sf_protos::networks::{RenewCarrierSessionReply, RenewCarrierSessionRequest};

use crate::conn::Conn;
use crate::context::Settings;
use crate::error::{StoreError, StoreResult};
use crate::sql::{rows, sql};
use crate::wire::parse;

/// Reason of a refusal of a second carrier where only one can be.
const SECOND_CARRIER: &str = "second-carrier";

rows! {
    struct Session {
        session_epoch: u64,
        live: bool,
    }
}

/// Starts or extends the session of a node. A session that lapsed, or belongs to another process, starts anew.
///
/// # Errors
/// A precondition `second-carrier` in egress mode `nat`, where the outside knows one carrier only.
pub async fn renew_session(
    conn: &mut Conn,
    settings: &Settings,
    request: &RenewCarrierSessionRequest,
) -> StoreResult<RenewCarrierSessionReply> {
    let node: NodeId = parse("node_uuid", &request.node_uuid)?;
    let ttl = settings.carrier_session_ttl;
    let present: Option<Session> = sql("SELECT session_epoch, expires_at > UTC_TIMESTAMP(6) AS live \
         FROM carrier_sessions WHERE node_uuid = ? FOR UPDATE")
    .bind(node)
    .first_row(conn)
    .await?;
    let others: Option<u64> = sql("SELECT CAST(COUNT(*) AS UNSIGNED) AS value FROM carrier_sessions \
         WHERE node_uuid <> ? AND eligible AND expires_at > UTC_TIMESTAMP(6)")
    .bind(node)
    .value(conn)
    .await?;
    let others = others.unwrap_or(0);
    if request.eligible && others > 0 && settings.egress_mode == EgressMode::Nat {
        let message = "another node carries networks and egress mode nat allows only one: unset carrier_eligible on one of them";
        return Err(StoreError::precondition(SECOND_CARRIER, message));
    }
    let epoch = match &present {
        Some(session) if session.live && session.session_epoch == request.session_epoch => {
            session.session_epoch
        }
        Some(session) => session.session_epoch + 1,
        None => 1,
    };
    sql("INSERT INTO carrier_sessions (node_uuid, session_epoch, expires_at, eligible) \
         VALUES (?, ?, TIMESTAMPADD(MICROSECOND, ?, UTC_TIMESTAMP(6)), ?) ON DUPLICATE KEY UPDATE \
         session_epoch = VALUES(session_epoch), expires_at = VALUES(expires_at), eligible = VALUES(eligible)")
    .bind(node)
    .bind(epoch)
    .bind(ttl)
    .bind(request.eligible)
    .run(conn)
    .await?;
    Ok(RenewCarrierSessionReply {
        session_epoch: epoch,
        ttl_ms: u32::try_from(ttl.as_millis()).unwrap_or(u32::MAX),
        pool_members: u32::try_from(others).unwrap_or(u32::MAX) + u32::from(request.eligible),
    })
}
