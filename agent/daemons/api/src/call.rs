//! One authorised request on its way through a handler.

use std::net::IpAddr;
use std::sync::Arc;

use parking_lot::Mutex;
use sf_config::ClusterConfig;
use sf_gateway::CallClass;
use sf_model::{NodeId, ObjectType};
use sf_protos::Rpc;
use sf_protos::common::{self, PageInfo, PageRequest, Selector};

use crate::api::Api;
use crate::caller::Caller;
use crate::error::ApiError;

/// A request without a caller.
#[derive(Clone)]
pub struct Visitor {
    /// The service.
    pub api: Api,
    /// Where it came from.
    pub source: IpAddr,
}

/// A request with its caller.
#[derive(Clone)]
pub struct Call {
    /// The service.
    pub api: Api,
    /// Who asks.
    pub caller: Caller,
    /// Where it came from.
    pub source: IpAddr,
    /// What it has changed so far.
    pub trail: Trail,
}

/// An object that a request changed, and what was done to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Its kind.
    pub object_type: ObjectType,
    /// Its id.
    pub object_id: String,
    /// What was done, as a short sentence.
    pub action: &'static str,
}

/// What a request has changed. Noted when it was done, not when it is answered: a change is also told of a request that
/// fails after it.
#[derive(Debug, Clone, Default)]
pub struct Trail(Arc<Mutex<Vec<Change>>>);

impl Trail {
    /// The changes noted since the last call.
    pub fn take(&self) -> Vec<Change> {
        std::mem::take(&mut self.0.lock())
    }
}

impl Call {
    /// Notes that the request changed an object, for the audit trail.
    pub fn audit(&self, object_type: ObjectType, object_id: impl ToString, action: &'static str) {
        self.trail.0.lock().push(Change { object_type, object_id: object_id.to_string(), action });
    }

    /// Asks the database tier.
    ///
    /// # Errors
    /// What the tier refused, as the client sees it.
    pub async fn tier<R: Rpc>(&self, request: R) -> Result<R::Reply, ApiError> {
        self.api.tier(CallClass::Interactive, request).await
    }

    /// Reads a list to its end.
    ///
    /// # Errors
    /// Any page could not be read: a part of a list is not a list.
    pub async fn all<R: Rpc, T>(
        &self,
        request: impl Fn(PageRequest) -> R,
        split: impl Fn(R::Reply) -> (Vec<T>, Option<PageInfo>),
    ) -> Result<Vec<T>, ApiError> {
        let list = self.api.daemon.gateway.collect_all(CallClass::Interactive, request, split).await?;
        Ok(list.into_vec())
    }

    /// Repeats a call that acts on the next few of many, until it says that none are left. Few at a time, because one
    /// transaction over a whole tenant would hold its locks too long; what was done stays done, and is noted, when a later
    /// call fails. Answers the ids of all.
    ///
    /// # Errors
    /// Those of [`Call::tier`].
    pub async fn until_none_left<R: Rpc>(
        &self,
        (object_type, action): (ObjectType, &'static str),
        request: impl Fn() -> R,
        split: impl Fn(R::Reply) -> (Vec<String>, bool),
    ) -> Result<Vec<String>, ApiError> {
        let mut done = Vec::new();
        loop {
            let (some, more) = split(self.tier(request()).await?);
            some.iter().for_each(|id| self.audit(object_type, id, action));
            done.extend(some);
            if !more {
                return Ok(done);
            }
        }
    }

    /// The cluster's configuration now.
    pub fn cluster(&self) -> Arc<ClusterConfig> {
        self.api.daemon.cluster.current()
    }

    /// This node.
    pub fn node(&self) -> NodeId {
        self.api.daemon.node.uuid
    }

    /// The caller, for requests to the tier.
    pub fn wire(&self) -> Option<common::Caller> {
        Some(self.caller.to_wire())
    }

    /// Names an object for the tier. A caller that names somebody else's namespace gets the same answer as for a missing
    /// object.
    ///
    /// # Errors
    /// 404.
    pub fn select(
        &self,
        kind: ObjectType,
        reference: String,
        namespace: Option<String>,
    ) -> Result<Option<Selector>, ApiError> {
        match &namespace {
            Some(namespace) if !self.caller.owns(namespace) => Err(ApiError::not_found(noun(kind))),
            _ => Ok(Some(Selector { reference, namespace })),
        }
    }

    /// The namespace something is created in: the caller's own unless another is named in which `may` holds.
    ///
    /// # Errors
    /// 404 for the others, as for missing ones.
    pub fn target_namespace(
        &self,
        named: Option<String>,
        may: impl FnOnce(&Caller, &str) -> bool,
    ) -> Result<String, ApiError> {
        match named {
            None => Ok(self.caller.namespace.clone()),
            Some(namespace) if may(&self.caller, &namespace) => Ok(namespace),
            Some(_) => Err(ApiError::not_found("namespace")),
        }
    }

    /// The namespace of a call that deletes everything: an administrator must say which, others may only mean theirs.
    ///
    /// # Errors
    /// 400 or 403.
    pub fn namespace_to_empty(&self, named: Option<String>) -> Result<String, ApiError> {
        match named {
            None if self.caller.is_system() => {
                Err(ApiError::malformed("namespace: required for the system namespace"))
            }
            None => Ok(self.caller.namespace.clone()),
            Some(namespace) if self.caller.owns(&namespace) => Ok(namespace),
            Some(_) => Err(ApiError::forbidden("you may only delete what is in your own namespace")),
        }
    }
}

/// How users call a kind of object.
pub fn noun(kind: ObjectType) -> &'static str {
    match kind {
        ObjectType::Interface => "interface",
        ObjectType::Operation => "cluster operation",
        ObjectType::NamespaceKey => "key name",
        ObjectType::ApiRequest => "request",
        other => other.into(),
    }
}
