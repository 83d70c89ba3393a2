//! Origins that try to make us connect elsewhere. Each case has a listener that must see nothing.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use sf_images::UrlPolicy;
use sf_images::fetch::{FetchError, Fetcher, MAX_REDIRECTS, Resolver};
use sf_images::policy::PolicyRefusal;

use crate::origin::{Origin, answer, say};
use crate::rig::{Rig, file};

/// A name server under an attacker's control: every question gets the next answer.
#[derive(Clone, Default)]
struct Attacker {
    answers: Arc<Mutex<VecDeque<Vec<SocketAddr>>>>,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Attacker {
    fn answering(answers: impl IntoIterator<Item = Vec<SocketAddr>>) -> Self {
        Self { answers: Arc::new(Mutex::new(answers.into_iter().collect())), ..Self::default() }
    }

    fn asked(&self) -> usize {
        self.asked.lock().unwrap().len()
    }
}

#[async_trait]
impl Resolver for Attacker {
    async fn resolve(&self, host: &str, _port: u16) -> io::Result<Vec<SocketAddr>> {
        self.asked.lock().unwrap().push(host.to_owned());
        self.answers.lock().unwrap().pop_front().ok_or_else(|| io::Error::other("no more answers"))
    }
}

fn refusal(error: &FetchError) -> &'static str {
    match error {
        FetchError::Policy { refusal, .. } => refusal.rule(),
        other => panic!("not refused by policy: {other}"),
    }
}

#[tokio::test]
async fn the_checked_address_is_the_one_that_is_connected_to() {
    let bytes = file(100);
    let origin = Origin::saying(answer("200 OK", "", &bytes)).await;
    let attacker = Attacker::answering([vec![origin.address]]);
    let rig = Rig::new(&origin).with_resolver(attacker.clone());
    // No name server knows this name: the connection works only because the checked address is used.
    rig.expect(&format!("http://rebind.invalid:{}/", origin.address.port()), &bytes).await;
    assert_eq!(attacker.asked(), 1, "there was no second look-up");
}

#[tokio::test]
async fn a_name_with_one_bad_address_is_refused_before_any_connection() {
    let victim = Origin::saying(answer("200 OK", "", b"secret")).await;
    for answers in [
        vec![victim.address],
        vec!["93.184.216.34:80".parse().unwrap(), victim.address],
        vec![format!("[::ffff:127.0.0.1]:{}", victim.address.port()).parse().unwrap()],
    ] {
        let mut rig = Rig::new(&victim).with_resolver(Attacker::answering([answers]));
        let strict = UrlPolicy { loopback_for_tests: false, ..(*rig.fetcher.policy).clone() };
        rig.fetcher = Fetcher { policy: Arc::new(strict), ..rig.fetcher };
        let error = rig.expect_error(&format!("http://evil.example:{}/", victim.address.port())).await;
        assert_eq!(refusal(&error), "address");
    }
    assert!(victim.seen().is_empty());
}

#[tokio::test]
async fn a_name_that_changes_its_address_is_checked_again_at_every_hop() {
    let victim = Origin::saying(answer("200 OK", "", b"secret")).await;
    let origin = Origin::start(|_, _, mut stream| async move {
        say(&mut stream, &answer("302 Found", "Location: /again\r\n", b"")).await;
    })
    .await;
    let metadata: SocketAddr = format!("169.254.169.254:{}", origin.address.port()).parse().unwrap();
    let attacker = Attacker::answering([vec![origin.address], vec![metadata]]);
    let rig = Rig::new(&origin).with_resolver(attacker.clone());
    let error = rig.expect_error(&format!("http://rebind.example:{}/", origin.address.port())).await;
    assert_eq!(refusal(&error), "address");
    assert_eq!((attacker.asked(), origin.seen().len(), victim.seen().len()), (2, 1, 0));
}

#[tokio::test]
async fn redirects_to_forbidden_places_are_not_followed() {
    for (target, rule) in [
        ("http://169.254.169.254/latest/meta-data/", "address"),
        ("http://10.0.0.1/", "address"),
        ("http://[fe80::1]/", "address"),
        ("http://2852039166/", "address"),
        ("ftp://example.com/", "scheme"),
        ("file:///etc/shadow", "scheme"),
        ("http://user:pw@example.com/", "userinfo"),
        ("http://example.com:22/", "port"),
    ] {
        let origin = Origin::saying(answer("302 Found", &format!("Location: {target}\r\n"), b"")).await;
        let error = Rig::new(&origin).expect_error(&origin.url("/")).await;
        assert_eq!(refusal(&error), rule, "{target}");
        assert_eq!(origin.seen().len(), 1, "{target}: refused for good");
    }
}

#[tokio::test]
async fn five_redirects_are_followed_and_six_are_not() {
    let bytes = Arc::new(file(10));
    for (hops, arrives) in [(MAX_REDIRECTS, true), (MAX_REDIRECTS + 1, false)] {
        let body = Arc::clone(&bytes);
        let origin = Origin::start(move |number, _, mut stream| {
            let body = Arc::clone(&body);
            async move {
                let said = if number < hops {
                    answer("307 Temporary Redirect", "Location: /next\r\n", b"")
                } else {
                    answer("200 OK", "", &body)
                };
                say(&mut stream, &said).await;
            }
        })
        .await;
        let rig = Rig::new(&origin);
        if arrives {
            rig.expect(&origin.url("/"), &bytes).await;
        } else {
            let error = rig.expect_error(&origin.url("/")).await;
            assert!(
                matches!(error, FetchError::Policy { refusal: PolicyRefusal::Redirects(5), .. }),
                "{error}"
            );
        }
    }
}

#[tokio::test]
async fn a_redirect_to_nowhere_is_an_error() {
    let origin = Origin::saying(answer("302 Found", "", b"")).await;
    assert!(matches!(Rig::new(&origin).expect_error(&origin.url("/")).await, FetchError::Answer { .. }));
}

#[tokio::test]
async fn too_many_headers_are_refused() {
    let headers: String = (0..90).map(|n| format!("X-{n}: {}\r\n", "x".repeat(1000))).collect();
    let origin = Origin::saying(answer("200 OK", &headers, b"x")).await;
    let error = Rig::new(&origin).expect_error(&origin.url("/")).await;
    assert!(matches!(error, FetchError::Answer { .. }), "{error}");
}

#[tokio::test]
async fn a_name_that_cannot_be_resolved_is_tried_again() {
    let origin = Origin::saying(Vec::new()).await;
    let attacker = Attacker::default();
    let rig = Rig::new(&origin).with_resolver(attacker.clone());
    let error = rig.expect_error(&format!("http://nowhere.example:{}/", origin.address.port())).await;
    assert!(matches!(error, FetchError::Resolve { .. }), "{error}");
    assert_eq!(attacker.asked(), 4);
}
