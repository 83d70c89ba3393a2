//! `POST /auth`: a key for a token. Every refusal is the same, in its words and in the time it takes.

use std::time::{Duration, Instant};

use chrono::Utc;
use serde_json::{Value, json};
use sf_events::event;
use sf_gateway::CallClass;
use sf_model::event::EventType;
use sf_model::{ObjectType, name};
use sf_protos::namespaces::{CountAttemptRequest, GetLoginCandidatesRequest, LoginCandidate};

use crate::auth::token::Subject;
use crate::auth::{Claims, PasswordError, Presented, Refusal, Signer};
use crate::call::Visitor;
use crate::edge::limited;
use crate::error::ApiError;
use crate::input::{Input, Request};
use crate::params::{Fault, string};
use crate::reply::{ApiResult, Reply};

/// No refusal is faster.
const LEAST_TIME: Duration = Duration::from_millis(250);

/// A log-in. It has no `Debug`: the key must not be printed.
pub struct Login {
    namespace: String,
    key: String,
}

impl Request for Login {
    fn read(input: &mut Input) -> Result<Self, Fault> {
        Ok(Self {
            namespace: input.fields.required("namespace", string)?,
            key: input.fields.required("key", string)?,
        })
    }
}

/// Answers a token, or the one refusal.
///
/// # Errors
/// 401, 429, 503.
pub async fn handle(visitor: Visitor, login: Login) -> ApiResult {
    let began = Instant::now();
    let (api, source) = (&visitor.api, visitor.source);
    // What cannot be the name of a namespace is not kept, neither as a subject of counting nor in a log.
    let counted = name::namespace(&login.namespace).map_or("", |()| login.namespace.as_str());
    if let Some(seconds) = api.failed_logins.blocked(source, counted, began) {
        attempted("throttled");
        return Err(limited("login", seconds));
    }
    let found = find(&visitor, &login).await.inspect_err(|_| attempted("failed"))?;
    match found {
        Found::Key(key) => {
            let granted = grant(&visitor, &login.namespace, *key).await;
            attempted(if granted.is_ok() { "ok" } else { "failed" });
            granted
        }
        Found::Nothing { namespace_exists } => {
            attempted("refused");
            api.refusals.note(Refusal::Authentication, namespace_exists.then_some(counted), source);
            count_failure(&visitor, counted, began).await;
            tokio::time::sleep_until((began + LEAST_TIME).into()).await;
            tracing::info!(%source, namespace = counted, "log-in refused");
            Err(ApiError::unauthorized())
        }
    }
}

fn attempted(result: &'static str) {
    metrics::counter!("sf_auth_attempts_total", "result" => result).increment(1);
}

/// What the namespace has for a secret.
enum Found {
    Key(Box<LoginCandidate>),
    Nothing { namespace_exists: bool },
}

/// The key that fits the secret, if the namespace has one.
async fn find(visitor: &Visitor, login: &Login) -> Result<Found, ApiError> {
    let api = &visitor.api;
    let digest = match Presented::look(&login.key) {
        Presented::Mistyped => return Ok(Found::Nothing { namespace_exists: false }),
        Presented::Generated(digest) => Some(digest),
        Presented::Supplied => None,
    };
    let request = GetLoginCandidatesRequest { namespace: login.namespace.clone(), digest: digest.clone() };
    let reply = api.tier(CallClass::Interactive, request).await?;
    let (mut candidates, namespace_exists) = (reply.candidates, reply.namespace_exists);
    if let Some(digest) = digest {
        let position = candidates.iter().position(|key| key.kind != "supplied" && key.verifier == digest);
        if let Some(position) = position {
            return Ok(Found::Key(Box::new(candidates.swap_remove(position))));
        }
        candidates.clear();
    }
    candidates.retain(|key| key.kind == "supplied");
    let verifiers = candidates.iter().map(|key| key.verifier.clone()).collect();
    let found = api.passwords.find(login.key.clone(), verifiers).await.map_err(|error| match error {
        PasswordError::Busy => ApiError::unavailable("too many log-ins at once, please retry", 1),
        PasswordError::Failed => ApiError::internal(),
    })?;
    Ok(match found {
        Some(position) => Found::Key(Box::new(candidates.swap_remove(position))),
        None => Found::Nothing { namespace_exists },
    })
}

async fn grant(visitor: &Visitor, namespace: &str, key: LoginCandidate) -> ApiResult {
    let api = &visitor.api;
    let (now, cluster) = (Utc::now(), api.daemon.cluster.current());
    let subject = Subject {
        name: &key.key_name,
        nonce: &key.nonce,
        scopes: &key.scopes,
        expires_at: key.expires_at.map(|at| at.seconds),
    };
    let claims = Claims::new(&cluster.zone, namespace, &subject, cluster.api_token_duration, now);
    let token = Signer::new(&cluster, now).sign(&claims).map_err(|error| {
        tracing::error!(%error, "no token can be signed");
        ApiError::internal()
    })?;
    let entry = event(EventType::Audit, "token created from key")
        .object(ObjectType::Namespace, namespace)
        .object(ObjectType::NamespaceKey, &key.key_uuid)
        .extra(json!({
            "key_name": key.key_name,
            "source": visitor.source.to_string(),
            "jti": claims.jti,
        }));
    api.daemon.events.record(entry).await;
    Ok(Reply::json(json!({
        "access_token": Value::String(token),
        "token_type": "Bearer",
        "expires_in": (claims.exp - claims.iat).max(0),
    })))
}

/// Counted here and in the cluster. That the cluster cannot count does not let anybody in, so it is no error.
async fn count_failure(visitor: &Visitor, namespace: &str, began: Instant) {
    let request = CountAttemptRequest {
        kind: "login".to_owned(),
        source: visitor.source.to_string(),
        namespace: namespace.to_owned(),
    };
    let counted = visitor.api.daemon.gateway.call(CallClass::Interactive, request).await;
    let counted = counted.ok().map(|reply| reply.attempts);
    visitor.api.failed_logins.failed(visitor.source, namespace, counted, began);
}
