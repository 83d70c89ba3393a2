//! Refused credentials and refused acts, told once a minute: an attack must be seen in the audit trail, not drown it.

use std::collections::{BTreeSet, HashMap};
use std::convert::Infallible;
use std::net::IpAddr;
use std::time::Duration;

use parking_lot::Mutex;
use serde_json::json;
use sf_events::{Event, event};
use sf_model::ObjectType;
use sf_model::access::SYSTEM_NAMESPACE;
use sf_model::event::EventType;
use sf_runtime::{Loop, Pass};

use crate::api::Api;

const INTERVAL: Duration = Duration::from_secs(60);
/// Sources that an event names. More are counted only.
const MOST_SOURCES: usize = 8;

/// What was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Refusal {
    /// A log-in or a token.
    Authentication,
    /// An act that the caller may not do.
    Authorisation,
}

/// Refusals since they were told last. Names of namespaces that do not exist are never kept, so it stays small.
#[derive(Debug, Default)]
pub struct Refusals {
    tallies: Mutex<HashMap<(Refusal, String), Tally>>,
}

/// How often, and from where.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Tally {
    /// Refusals.
    pub count: u64,
    /// The first few sources.
    pub sources: BTreeSet<IpAddr>,
    /// There were others.
    pub more_sources: bool,
}

impl Refusals {
    /// Notes one. `namespace`: one that exists; without it the operator's own namespace is told.
    pub fn note(&self, refusal: Refusal, namespace: Option<&str>, source: IpAddr) {
        let namespace = namespace.unwrap_or(SYSTEM_NAMESPACE).to_owned();
        let mut tallies = self.tallies.lock();
        let tally = tallies.entry((refusal, namespace)).or_default();
        tally.count += 1;
        if tally.sources.len() < MOST_SOURCES {
            tally.sources.insert(source);
        } else {
            tally.more_sources |= !tally.sources.contains(&source);
        }
    }

    /// Those of each namespace and kind, which are forgotten with that.
    pub fn take(&self) -> HashMap<(Refusal, String), Tally> {
        std::mem::take(&mut *self.tallies.lock())
    }
}

impl Tally {
    fn event(&self, refusal: Refusal, namespace: &str) -> Event {
        let message = match refusal {
            Refusal::Authentication => "authentication failures",
            Refusal::Authorisation => "requests refused",
        };
        let sources: Vec<String> = self.sources.iter().map(IpAddr::to_string).collect();
        event(EventType::Audit, message).object(ObjectType::Namespace, namespace).extra(json!({
            "count": self.count,
            "sources": sources,
            "more_sources": self.more_sources,
        }))
    }
}

/// Tells of them every minute until shutdown.
pub async fn watch(api: Api) {
    let (shutdown, liveness) = (api.daemon.shutdown.clone(), api.daemon.liveness.clone());
    let pass = |_| {
        let api = api.clone();
        async move {
            tell(&api).await;
            Ok::<_, Infallible>(Pass::Done)
        }
    };
    Loop::every("refusals", INTERVAL).max_silence(INTERVAL * 3).run(shutdown, liveness, pass).await;
}

/// Tells of those there are.
pub async fn tell(api: &Api) {
    for ((refusal, namespace), tally) in api.refusals.take() {
        api.daemon.events.record(tally.event(refusal, &namespace)).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_refusals_are_one_event() {
        let refusals = Refusals::default();
        for source in 0..20u8 {
            refusals.note(Refusal::Authentication, None, IpAddr::from([10, 0, 0, source % 10]));
        }
        refusals.note(Refusal::Authorisation, Some("t1"), IpAddr::from([10, 0, 0, 1]));
        let told = refusals.take();
        let crowd = &told[&(Refusal::Authentication, "system".to_owned())];
        assert_eq!((crowd.count, crowd.sources.len(), crowd.more_sources), (20, MOST_SOURCES, true));
        assert_eq!(told[&(Refusal::Authorisation, "t1".to_owned())].count, 1);
        assert!(refusals.take().is_empty());
    }
}
