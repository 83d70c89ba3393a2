//! Against libvirt's test driver, which lives inside the library: no daemon, no root.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "a test may fail loudly and says why it is skipped"
)]

use std::time::Duration;

use sf_hypervisor::domain::{DomainIdentity, METADATA_NAMESPACE, domain_name};
use sf_hypervisor::libvirt::{Libvirt, LibvirtConfig};
use sf_hypervisor::{DomainEventKind, DomainState, Hypervisor, HypervisorError, HypervisorEvent, StopDetail};
use sf_model::{ClusterId, InstanceId};
use tokio::sync::broadcast::Receiver;
use uuid::Uuid;

const LIMIT: Duration = Duration::from_secs(30);

async fn connect() -> Libvirt {
    let config = LibvirtConfig { uri: "test:///default".into(), threads: 2, emulated: false };
    let libvirt = Libvirt::start(config).unwrap();
    tokio::time::timeout(LIMIT, libvirt.wait_connected()).await.unwrap();
    libvirt
}

fn document(identity: &DomainIdentity) -> String {
    format!(
        "<domain type='test'><name>{}</name><uuid>{}</uuid><metadata><sf:instance xmlns:sf='{METADATA_NAMESPACE}' \
         cluster='{}' instance='{}' placement='{}' boot='{}' spec='{}' agent='{}'/></metadata>\
         <memory unit='MiB'>64</memory><vcpu>1</vcpu><os><type>hvm</type></os></domain>",
        domain_name(identity.instance),
        identity.instance,
        identity.cluster,
        identity.instance,
        identity.placement,
        identity.boot,
        identity.spec,
        identity.agent
    )
}

fn identity() -> DomainIdentity {
    DomainIdentity {
        cluster: ClusterId::random(),
        instance: InstanceId::random(),
        placement: 4,
        boot: Uuid::new_v4(),
        spec: "hash".into(),
        agent: "1".into(),
    }
}

async fn next_for(events: &mut Receiver<HypervisorEvent>, instance: InstanceId) -> DomainEventKind {
    let wait = async {
        loop {
            if let HypervisorEvent::Domain(event) = events.recv().await.unwrap()
                && event.instance == instance
            {
                return event.kind;
            }
        }
    };
    tokio::time::timeout(LIMIT, wait).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_domain_lives_and_its_events_arrive_in_order() {
    let libvirt = connect().await;
    let identity = identity();
    let instance = identity.instance;
    let mut events = libvirt.events();
    assert_eq!(libvirt.lookup(instance).await.unwrap(), None);
    libvirt.define(instance, &document(&identity)).await.unwrap();
    assert_eq!(next_for(&mut events, instance).await, DomainEventKind::Defined);
    let found = libvirt.lookup(instance).await.unwrap().unwrap();
    assert_eq!((found.active, found.state), (false, DomainState::ShutOff));
    assert_eq!((found.identity, found.defined_spec.as_deref()), (Some(identity.clone()), Some("hash")));

    libvirt.start(instance).await.unwrap();
    assert_eq!(next_for(&mut events, instance).await, DomainEventKind::Started);
    // "Already running" is another error code in every driver; the state decides.
    libvirt.start(instance).await.unwrap();
    assert_eq!(libvirt.lookup(instance).await.unwrap().unwrap().identity, Some(identity));
    libvirt.suspend(instance).await.unwrap();
    assert_eq!(next_for(&mut events, instance).await, DomainEventKind::Suspended { io_error: false });
    libvirt.suspend(instance).await.unwrap();
    assert_eq!(libvirt.lookup(instance).await.unwrap().unwrap().state, DomainState::Paused);
    libvirt.resume(instance).await.unwrap();
    assert_eq!(next_for(&mut events, instance).await, DomainEventKind::Resumed);
    assert!(libvirt.list().await.unwrap().iter().any(|domain| domain.instance == instance && domain.active));

    libvirt.destroy(instance).await.unwrap();
    assert_eq!(next_for(&mut events, instance).await, DomainEventKind::Stopped(StopDetail::Destroyed));
    libvirt.destroy(instance).await.unwrap();
    // This driver refuses the flags, so the plain call is what works.
    libvirt.undefine(instance).await.unwrap();
    assert_eq!(next_for(&mut events, instance).await, DomainEventKind::Undefined);
    libvirt.undefine(instance).await.unwrap();
    assert_eq!(libvirt.lookup(instance).await.unwrap(), None);
    assert_eq!(libvirt.document(instance).await.unwrap(), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_whose_definition_was_taken_away_is_still_known() {
    let libvirt = connect().await;
    let identity = identity();
    let instance = identity.instance;
    libvirt.define(instance, &document(&identity)).await.unwrap();
    libvirt.start(instance).await.unwrap();
    libvirt.undefine(instance).await.unwrap();
    let found = libvirt.lookup(instance).await.unwrap().unwrap();
    assert_eq!((found.active, found.identity, found.defined_spec), (true, Some(identity), None));
    assert!(libvirt.list().await.unwrap().iter().any(|domain| domain.instance == instance));
    libvirt.destroy(instance).await.unwrap();
    assert_eq!(libvirt.lookup(instance).await.unwrap(), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn domains_of_others_are_invisible_and_bad_documents_refused() {
    let libvirt = connect().await;
    // The driver comes with a domain called "test".
    assert!(libvirt.list().await.unwrap().iter().all(|domain| domain.identity.is_some()));
    let refused = libvirt.define(InstanceId::random(), "<domain type='test'><nonsense/></domain>").await;
    assert!(matches!(refused, Err(HypervisorError::Refused { call: "define", .. })), "{refused:?}");
    assert_eq!(libvirt.start(InstanceId::random()).await, Err(HypervisorError::NoDomain));
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_hypervisor_calls_fail_as_unavailable() {
    let dir = tempfile::tempdir().unwrap();
    let uri = format!("qemu+unix:///system?socket={}/nothing", dir.path().display());
    let libvirt = Libvirt::start(LibvirtConfig { uri, threads: 1, emulated: false }).unwrap();
    assert!(!libvirt.connected());
    let failed = libvirt.lookup(InstanceId::random()).await.unwrap_err();
    assert!(failed.is_unavailable(), "{failed}");
}

fn at(uri: &str) -> Libvirt {
    Libvirt::start(LibvirtConfig { uri: uri.into(), threads: 1, emulated: false }).unwrap()
}

#[tokio::test]
async fn the_first_call_waits_for_the_first_connection() {
    let libvirt = at("test:///default");
    assert!(!libvirt.connected(), "nothing has had a turn yet");
    assert_eq!(libvirt.lookup(InstanceId::random()).await, Ok(None));
}

#[tokio::test]
async fn a_hypervisor_that_is_not_there_says_why() {
    let libvirt = at("qemu:///system?socket=/nonexistent/libvirt-sock");
    for _ in 0..2 {
        let error = libvirt.lookup(InstanceId::random()).await.unwrap_err();
        assert!(error.is_unavailable() && error.to_string().contains("/nonexistent/libvirt-sock"), "{error}");
    }
}
