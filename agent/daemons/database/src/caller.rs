//! Who calls, and whether they may.

use std::time::Duration;

use http::HeaderMap;
use sf_model::{DaemonName, NodeId};
use sf_protos::common::MutationContext;
use sf_protos::{Call, CallScope, Rpc};
use sf_store::{Deadline, Fence, Settings, TxContext};
use tonic::Status;

use crate::status;

/// Assumed when a caller sends no deadline.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(30);
/// No call may take longer.
const MAX_TIMEOUT: Duration = Duration::from_secs(60);
/// At most this many events travel with a mutation.
const MAX_EVENTS: usize = 16;

/// The command line.
const CTL: &str = "ctl";
/// A caller that does not say who it is.
const UNKNOWN: &str = "unknown";

/// What the headers of a call say.
#[derive(Debug, Clone)]
pub(crate) struct Caller {
    pub(crate) daemon: String,
    pub(crate) deadline: Deadline,
    node: Option<String>,
    request_id: Option<String>,
    traceparent: Option<String>,
}

impl Caller {
    /// Reads the headers.
    pub(crate) fn read(headers: &HeaderMap) -> Self {
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
        let timeout = text("grpc-timeout").and_then(|text| parse_timeout(&text)).unwrap_or(DEFAULT_TIMEOUT);
        Self {
            daemon: text("caller-daemon").unwrap_or_else(|| UNKNOWN.to_owned()),
            deadline: Deadline::after(timeout.min(MAX_TIMEOUT)),
            node: text("caller-node"),
            request_id: text("x-request-id"),
            traceparent: text("traceparent"),
        }
    }

    /// The daemon as metrics name it: a header can say anything, a label must be one of few.
    pub(crate) fn label(&self) -> &'static str {
        match self.daemon.as_str() {
            CTL => CTL,
            UNKNOWN => UNKNOWN,
            name => name.parse::<DaemonName>().map_or("other", Into::into),
        }
    }

    /// Whether this daemon is on the call's list. Without certificates the claim is believed; who makes none is on no list.
    pub(crate) fn may(&self, call: &Call) -> Result<(), Status> {
        let daemon = self.daemon.parse::<DaemonName>().is_ok();
        let listed = call.callers.iter().any(|name| match *name {
            "all" => daemon,
            name => name == self.daemon,
        });
        match (listed, self.daemon.as_str()) {
            (true, _) => Ok(()),
            (false, UNKNOWN) => {
                Err(status::refused(format!("{}: the caller does not say which daemon it is", call.method)))
            }
            (false, _) => Err(status::refused(format!("sf-{} may not call {}", self.daemon, call.method))),
        }
    }

    /// Whether the request is about the caller's own node, where its call asks for that. The command line names its host
    /// and no node: whoever runs it is root there, and it runs before the host is a node.
    pub(crate) fn owns<R: Rpc>(&self, request: &R) -> Result<(), Status> {
        let named = request.context().map(|context| context.caller_node.as_str());
        self.speaks_for(&R::CALL, named.filter(|node| !node.is_empty()), request.node_uuid())
    }

    fn speaks_for(&self, call: &Call, named: Option<&str>, subject: Option<&str>) -> Result<(), Status> {
        let Some(own) = self.node.as_ref().filter(|node| node.parse::<NodeId>().is_ok()) else {
            return if call.scope == CallScope::OwnNode && self.daemon != CTL {
                Err(status::refused(format!(
                    "{}: the caller does not say which node it runs on",
                    call.method
                )))
            } else {
                Ok(())
            };
        };
        let foreign = |node: &str| !node.eq_ignore_ascii_case(own);
        let subject = subject.filter(|_| call.scope == CallScope::OwnNode);
        if named.is_some_and(foreign) || subject.is_some_and(foreign) {
            return Err(status::refused(format!("{} is about another node than the caller's", call.method)));
        }
        Ok(())
    }

    /// The store's view of a call.
    pub(crate) fn transaction(
        &self,
        call: &Call,
        context: Option<&MutationContext>,
        settings: std::sync::Arc<Settings>,
    ) -> Result<TxContext, Status> {
        let mut tx = TxContext::internal(settings, &format!("sf-{}", self.daemon));
        tx.request_id.clone_from(&self.request_id);
        tx.traceparent.clone_from(&self.traceparent);
        let Some(context) = context else { return Ok(tx) };
        if context.events.len() > MAX_EVENTS {
            return Err(Status::invalid_argument(format!("a mutation carries at most {MAX_EVENTS} events")));
        }
        let parse = |text: &str| {
            text.parse().map_err(|error| Status::invalid_argument(format!("mutation_id: {error}")))
        };
        tx.mutation_id = Some(parse(&context.mutation_id)?);
        tx.request_id = context.request_id.clone().or(tx.request_id);
        tx.traceparent = context.traceparent.clone().or(tx.traceparent);
        tx.namespace.clone_from(&context.namespace);
        tx.key_name.clone_from(&context.key_name);
        tx.caller_node = context.caller_node.parse().ok();
        tx.fence = context
            .fence
            .as_ref()
            .map(|fence| Fence { lock_name: fence.lock_name.clone(), fence: fence.fence });
        if call.scope == CallScope::Leader && tx.fence.is_none() {
            return Err(status::refused(format!("{} needs the leader's fence", call.method)));
        }
        Ok(tx)
    }
}

/// `grpc-timeout`: at most eight digits and a unit.
fn parse_timeout(text: &str) -> Option<Duration> {
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if digits.len() > 8 {
        return None;
    }
    let amount: u64 = digits.parse().ok()?;
    Some(match unit {
        "H" => Duration::from_secs(amount.checked_mul(3600)?),
        "M" => Duration::from_secs(amount.checked_mul(60)?),
        "S" => Duration::from_secs(amount),
        "m" => Duration::from_millis(amount),
        "u" => Duration::from_micros(amount),
        "n" => Duration::from_nanos(amount),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn caller(daemon: &str) -> Caller {
        let mut headers = HeaderMap::new();
        headers.insert("caller-daemon", daemon.parse().unwrap());
        headers.insert("grpc-timeout", "1500m".parse().unwrap());
        Caller::read(&headers)
    }

    #[test]
    fn only_listed_daemons_may_call() {
        let create = <sf_protos::networks::CreateNetworkRequest as Rpc>::CALL;
        assert!(caller("api").may(&create).is_ok());
        assert!(caller("net").may(&create).is_err());
        let config = <sf_protos::config::GetClusterConfigRequest as Rpc>::CALL;
        assert!(caller("net").may(&config).is_ok());
    }

    #[test]
    fn nobody_is_on_no_list() {
        let nobody = Caller::read(&HeaderMap::new());
        for call in sf_protos::CALLS {
            for caller in [&nobody, &caller("unknown"), &caller("all"), &caller("sf-api"), &caller("")] {
                assert!(caller.may(call).is_err(), "{}: {}", call.method, caller.daemon);
            }
        }
    }

    #[test]
    fn a_daemon_speaks_for_its_own_node_only() {
        use sf_protos::nodes::{CheckInRequest, GetNodeRequest};
        let (own, other) = (NodeId::random().to_string(), NodeId::random().to_string());
        let check_in =
            |node: &str| CheckInRequest { node_uuid: node.to_owned(), ..CheckInRequest::default() };
        let mut caller = caller("resources");
        for nowhere in [None, Some(""), Some("n1.test")] {
            caller.node = nowhere.map(str::to_owned);
            assert!(caller.owns(&check_in(&own)).is_err(), "it runs at {nowhere:?}");
            assert!(caller.owns(&GetNodeRequest::default()).is_ok());
        }
        caller.node = Some(own.clone());
        assert!(caller.owns(&check_in(&own)).is_ok());
        assert!(caller.owns(&check_in(&other)).is_err());
        assert!(caller.owns(&GetNodeRequest { reference: other }).is_ok());
    }

    #[test]
    fn deadlines_are_read_and_bounded() {
        assert!(caller("api").deadline.left() <= Duration::from_millis(1500));
        assert_eq!(parse_timeout("2M"), Some(Duration::from_secs(120)));
        for bad in ["", "5", "x5S", "123456789S", "5x"] {
            assert_eq!(parse_timeout(bad), None, "{bad}");
        }
        assert!(Caller::read(&HeaderMap::new()).deadline.left() <= DEFAULT_TIMEOUT);
    }
}
