//! What each call of the database tier is, derived from the options in the proto files.

use prost::Message;

/// How a call may be repeated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CallKind {
    /// No effect.
    Read,
    /// One transaction, replayed by mutation id.
    Mutation,
    /// One transaction that is idempotent by itself.
    Absolute,
}

/// What a caller must be to make a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CallScope {
    /// Any of the listed daemons.
    Any,
    /// A daemon of the node the request is about.
    OwnNode,
    /// The holder of the `cluster` lock.
    Leader,
}

/// One call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Call {
    /// Full name of the service.
    pub service: &'static str,
    /// Name of the method; the `operation` of metrics.
    pub method: &'static str,
    /// Path on the wire.
    pub path: &'static str,
    /// How it may be repeated.
    pub kind: CallKind,
    /// What the caller must be.
    pub scope: CallScope,
    /// Daemons that may call: names without `sf-`, `all`, or `ctl`.
    pub callers: &'static [&'static str],
}

/// A request message that belongs to exactly one call.
pub trait Rpc: Message + Default + Clone + 'static {
    /// The answer.
    type Reply: Message + Default + 'static;
    /// The call.
    const CALL: Call;

    /// Sets the mutation context unless the caller did; does nothing for requests that carry none.
    fn fill_context(&mut self, make: impl FnOnce() -> crate::common::MutationContext);

    /// The mutation context, if the request has one.
    fn context(&self) -> Option<&crate::common::MutationContext>;

    /// The node the request is about, if it names one: what [`CallScope::OwnNode`] is checked against.
    fn node_uuid(&self) -> Option<&str>;
}

include!(concat!(env!("OUT_DIR"), "/rpc_table.rs"));

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_call_names_its_callers_and_is_unique() {
        let mut paths = BTreeSet::new();
        for call in CALLS {
            assert!(!call.callers.is_empty(), "{}: nobody may call", call.path);
            assert!(paths.insert(call.path), "{} twice", call.path);
        }
        assert!(CALLS.len() > 80);
    }

    #[test]
    fn mutations_carry_a_context() {
        let mut request = crate::networks::CreateNetworkRequest::default();
        request.fill_context(|| crate::common::MutationContext {
            mutation_id: "m".into(),
            ..Default::default()
        });
        assert_eq!(request.context().map(|c| c.mutation_id.as_str()), Some("m"));
    }
}
