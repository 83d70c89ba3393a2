//! Origins that answer well and badly.

use std::sync::Arc;
use std::time::Duration;

use sf_blobs::Algorithm;
use sf_blobs::commit::Staged;
use sf_blobs::journal::Validators;
use sf_images::checksum::Published;
use sf_images::fetch::{Class, FetchError};
use tokio::io::AsyncWriteExt;

use crate::origin::{Origin, answer, part, say};
use crate::rig::{Rig, file};

const TAGGED: &str = "ETag: \"one\"\r\nAccept-Ranges: bytes\r\n";
const DATE: &str = "Wed, 21 Oct 2015 07:28:00 GMT";

#[tokio::test]
async fn a_file_arrives_with_its_facts() {
    let bytes = file(3 << 20);
    let origin =
        Origin::saying(answer("200 OK", &format!("{TAGGED}Last-Modified: {DATE}\r\n"), &bytes)).await;
    let rig = Rig::new(&origin);
    let download = rig.expect(&origin.url("/image.qcow2?signature=x"), &bytes).await;
    assert_eq!(download.validators.etag.as_deref(), Some("\"one\""));
    assert_eq!(download.validators.content_length, Some(3 << 20));
    assert_eq!(download.modified.unwrap().timestamp(), 1_445_412_480);
    assert_eq!(rig.reports.received(), 3 << 20);
    assert_eq!(origin.seen()[0].header("accept-encoding").as_deref(), Some("identity"));
    download.staged.discard().unwrap();
    assert!(rig.staging_is_empty());
}

#[tokio::test]
async fn an_empty_file_is_a_file() {
    let origin = Origin::saying(answer("200 OK", "", b"")).await;
    Rig::new(&origin).expect(&origin.url("/"), b"").await;
}

#[tokio::test]
async fn an_unchanged_file_moves_no_bytes() {
    let origin = Origin::saying(answer("304 Not Modified", "", b"")).await;
    Rig::new(&origin).knowing(Some("\"one\""), Some(DATE), None).expect_not_modified(&origin.url("/")).await;
    Rig::new(&origin).knowing(None, Some(DATE), None).expect_not_modified(&origin.url("/")).await;
    let seen = origin.seen();
    assert_eq!(seen[0].header("if-none-match").as_deref(), Some("\"one\""));
    assert_eq!(seen[0].header("if-modified-since"), None);
    assert_eq!(seen[1].header("if-modified-since").as_deref(), Some(DATE));
}

#[tokio::test]
async fn a_server_that_ignores_conditions_is_seen_through() {
    let bytes = file(1000);
    let headers = format!("ETag: \"one\"\r\nLast-Modified: {DATE}\r\n");
    let origin = Origin::saying(answer("200 OK", &headers, &bytes)).await;
    Rig::new(&origin).knowing(Some("\"one\""), None, None).expect_not_modified(&origin.url("/")).await;
    let changed = Rig::new(&origin).knowing(Some("\"zero\""), Some(DATE), Some(1000));
    changed.expect(&origin.url("/"), &bytes).await;

    let dated = Origin::saying(answer("200 OK", &format!("Last-Modified: {DATE}\r\n"), &bytes)).await;
    Rig::new(&dated).knowing(None, Some(DATE), Some(1000)).expect_not_modified(&dated.url("/")).await;
    Rig::new(&dated).knowing(None, Some(DATE), Some(999)).expect(&dated.url("/"), &bytes).await;
}

#[tokio::test]
async fn an_unasked_304_is_an_error() {
    let origin = Origin::saying(answer("304 Not Modified", "", b"")).await;
    let error = Rig::new(&origin).expect_error(&origin.url("/")).await;
    assert_eq!(error.class(), Class::Permanent);
}

#[tokio::test]
async fn a_busy_server_is_asked_again() {
    let bytes = Arc::new(file(5000));
    let body = Arc::clone(&bytes);
    let origin = Origin::start(move |number, _, mut stream| {
        let body = Arc::clone(&body);
        async move {
            let said = if number < 2 {
                answer("503 Service Unavailable", "Retry-After: 0\r\n", b"secret")
            } else {
                answer("200 OK", "", &body)
            };
            say(&mut stream, &said).await;
        }
    })
    .await;
    let rig = Rig::new(&origin);
    rig.expect(&origin.url("/"), &bytes).await;
    let retries = rig.reports.retries();
    assert_eq!(retries.len(), 2);
    assert!(retries.iter().all(|cause| cause.contains("503") && !cause.contains("secret")), "{retries:?}");
}

#[tokio::test]
async fn a_server_that_stays_busy_is_given_up_after_four_attempts() {
    let origin = Origin::saying(answer("503 Service Unavailable", "", b"")).await;
    let rig = Rig::new(&origin);
    let error = rig.expect_error(&origin.url("/x?token=secret")).await;
    assert_eq!(origin.seen().len(), 4);
    let text = error.to_string();
    assert!(text.contains("127.0.0.1") && text.contains("503") && !text.contains("secret"), "{text}");
    assert!(rig.staging_is_empty());
}

#[tokio::test]
async fn a_missing_file_is_not_asked_for_again() {
    let origin = Origin::saying(answer("404 Not Found", "", b"")).await;
    Rig::new(&origin).expect_error(&origin.url("/")).await;
    assert_eq!(origin.seen().len(), 1);
}

/// Serves 60 % of the file, then breaks the connection; later requests are served from where they ask.
async fn breaking(bytes: Arc<Vec<u8>>, headers: &'static str) -> Origin {
    Origin::start(move |number, head, mut stream| {
        let bytes = Arc::clone(&bytes);
        async move {
            let whole = answer("200 OK", headers, &bytes);
            match (number, head.range_start()) {
                (0, _) => {
                    let _ = stream.write_all(&whole[..whole.len() * 6 / 10]).await;
                    let _ = stream.shutdown().await;
                }
                (_, Some(start)) => say(&mut stream, &part(&bytes, start, headers)).await,
                (_, None) => say(&mut stream, &whole).await,
            }
        }
    })
    .await
}

#[tokio::test]
async fn a_download_that_breaks_goes_on_where_it_broke() {
    let bytes = Arc::new(file(2 << 20));
    let origin = breaking(Arc::clone(&bytes), TAGGED).await;
    let rig = Rig::new(&origin);
    rig.expect(&origin.url("/"), &bytes).await;
    let seen = origin.seen();
    assert_eq!(seen.len(), 2);
    assert!(seen[1].range_start().unwrap() > 1 << 20, "{seen:?}");
    assert_eq!(seen[1].header("if-range").as_deref(), Some("\"one\""));
}

#[tokio::test]
async fn a_download_that_breaks_without_ranges_starts_again() {
    let bytes = Arc::new(file(2 << 20));
    let origin = breaking(Arc::clone(&bytes), "").await;
    Rig::new(&origin).expect(&origin.url("/"), &bytes).await;
    assert_eq!(origin.seen()[1].range_start(), None);
    let weak = breaking(Arc::clone(&bytes), "ETag: W/\"one\"\r\nAccept-Ranges: bytes\r\n").await;
    Rig::new(&weak).expect(&weak.url("/"), &bytes).await;
    assert_eq!(weak.seen()[1].range_start(), None);
}

#[tokio::test]
async fn a_file_that_changes_while_it_is_fetched_is_fetched_anew() {
    let (old, new) = (Arc::new(file(2 << 20)), Arc::new(vec![7; 1 << 20]));
    let (first, second) = (Arc::clone(&old), Arc::clone(&new));
    let origin = Origin::start(move |number, _, mut stream| {
        let (old, new) = (Arc::clone(&first), Arc::clone(&second));
        async move {
            if number == 0 {
                let whole = answer("200 OK", TAGGED, &old);
                let _ = stream.write_all(&whole[..whole.len() / 2]).await;
                let _ = stream.shutdown().await;
            } else {
                say(&mut stream, &answer("200 OK", "ETag: \"two\"\r\n", &new)).await;
            }
        }
    })
    .await;
    let download = Rig::new(&origin).expect(&origin.url("/"), &new).await;
    assert_eq!(download.validators.etag.as_deref(), Some("\"two\""));
}

#[tokio::test]
async fn a_server_that_lies_about_the_length_never_makes_a_blob() {
    let origin = Origin::saying(b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\nshort".to_vec()).await;
    let rig = Rig::new(&origin);
    let error = rig.expect_error(&origin.url("/")).await;
    assert!(matches!(error, FetchError::Transport { permanent: false, .. }), "{error}");
    assert_eq!(origin.seen().len(), 4);
    assert!(rig.staging_is_empty());
}

#[tokio::test]
async fn an_endless_body_is_cut_at_the_limit() {
    let origin = Origin::start(|_, _, mut stream| async move {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await;
        while stream.write_all(&[0; 65536]).await.is_ok() {}
    })
    .await;
    let mut rig = Rig::new(&origin);
    rig.limits.max_bytes = 3 << 20;
    assert!(matches!(
        rig.expect_error(&origin.url("/")).await,
        FetchError::TooLarge { limit: 3_145_728, .. }
    ));
    assert_eq!(origin.seen().len(), 1);
    assert!(rig.staging_is_empty());
}

#[tokio::test]
async fn an_announced_size_beyond_the_limit_is_refused_at_once() {
    let origin = Origin::saying(b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n".to_vec()).await;
    assert!(matches!(Rig::new(&origin).expect_error(&origin.url("/")).await, FetchError::TooLarge { .. }));
}

#[tokio::test]
async fn wrong_bytes_are_fetched_once_more_and_then_refused() {
    let bytes = file(4096);
    let origin = Origin::saying(answer("200 OK", TAGGED, &bytes)).await;
    let mut rig = Rig::new(&origin);
    rig.published = Some(Published::Proof(Algorithm::Sha256, "00".repeat(32)));
    let error = rig.expect_error(&origin.url("/")).await;
    assert!(matches!(&error, FetchError::Mismatch { what, .. } if what.contains("sha256")), "{error}");
    assert_eq!(origin.seen().len(), 2);
    assert!(rig.staging_is_empty());
    rig.published = Some(Published::Md5Hint("00".repeat(16)));
    assert!(matches!(rig.expect_error(&origin.url("/")).await, FetchError::Mismatch { .. }));
    rig.published = Some(Published::Md5Hint("0f343b0931126a20f133d67c2b018a3b".into()));
    let zeros = Origin::saying(answer("200 OK", "", &[0; 1024])).await;
    let mut good = Rig::new(&zeros);
    good.published = rig.published.clone();
    good.expect(&zeros.url("/"), &[0; 1024]).await;
}

#[tokio::test]
async fn an_encoded_body_is_refused() {
    let origin = Origin::saying(answer("200 OK", "Content-Encoding: gzip\r\n", b"x")).await;
    assert!(matches!(Rig::new(&origin).expect_error(&origin.url("/")).await, FetchError::Answer { .. }));
}

#[tokio::test]
async fn a_range_that_was_not_asked_for_is_refused() {
    let origin = Origin::saying(part(&file(100), 10, "")).await;
    assert!(matches!(Rig::new(&origin).expect_error(&origin.url("/")).await, FetchError::Answer { .. }));
}

#[tokio::test]
async fn silence_is_a_passing_failure() {
    let bytes = Arc::new(file(1000));
    let body = Arc::clone(&bytes);
    let origin = Origin::start(move |number, _, mut stream| {
        let body = Arc::clone(&body);
        async move {
            let whole = answer("200 OK", "", &body);
            if number == 0 {
                let _ = stream.write_all(&whole[..whole.len() - 1]).await;
                std::future::pending::<()>().await;
            }
            say(&mut stream, &whole).await;
        }
    })
    .await;
    let mut rig = Rig::new(&origin);
    rig.fetcher.idle = Duration::from_millis(300);
    rig.expect(&origin.url("/"), &bytes).await;
    assert!(rig.reports.retries()[0].contains("no data"), "{:?}", rig.reports.retries());
}

#[tokio::test]
async fn a_refused_connection_is_a_passing_failure() {
    let origin = Origin::saying(Vec::new()).await;
    let closed = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = closed.local_addr().unwrap().port();
    drop(closed);
    let mut rig = Rig::new(&origin);
    let mut policy = (*rig.fetcher.policy).clone();
    policy.ports.push(port);
    rig.fetcher.policy = Arc::new(policy);
    let error = rig.expect_error(&format!("http://127.0.0.1:{port}/")).await;
    assert!(matches!(error, FetchError::Transport { permanent: false, .. }), "{error}");
    assert_eq!(rig.reports.retries().len(), 3);
}

#[tokio::test]
async fn a_restart_goes_on_from_what_reached_the_disk() {
    let bytes = Arc::new(file(2 << 20));
    let origin = breaking(Arc::clone(&bytes), TAGGED).await;
    let mut rig = Rig::new(&origin);
    // What an earlier life left: a journal that vouches for 1 MiB, and a torn tail behind it.
    rig.journal.validators = Some(Validators { etag: Some("\"one\"".into()), ..Validators::default() });
    rig.journal.verified_offset = 0;
    let (mut staged, mut partial) = Staged::begin(&rig.store, rig.journal.clone()).unwrap();
    std::io::Write::write_all(&mut partial, &bytes[..1 << 20]).unwrap();
    std::io::Write::write_all(&mut partial, b"torn").unwrap();
    staged.record_progress(1 << 20).unwrap();
    rig.journal = staged.journal().clone();
    // The first request of this origin is the one it breaks, so spend it.
    let first = reqwest::get(origin.url("/")).await.unwrap().bytes().await;
    assert!(first.is_err());
    rig.expect(&origin.url("/"), &bytes).await;
    assert_eq!(origin.seen().last().unwrap().range_start(), Some(1 << 20));
}

#[tokio::test]
async fn a_stop_keeps_what_can_go_on() {
    let origin = Origin::start(|_, _, mut stream| async move {
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n{TAGGED}\r\n");
        let _ = stream.write_all(head.as_bytes()).await;
        let _ = stream.write_all(&[1; 5000]).await;
        std::future::pending::<()>().await;
    })
    .await;
    let rig = Rig::new(&origin);
    let url = origin.url("/");
    let stop = async {
        while rig.reports.received() == 0 {
            tokio::task::yield_now().await;
        }
        rig.cancel.cancel();
    };
    let (outcome, ()) = tokio::join!(rig.fetch(&url), stop);
    assert!(matches!(outcome, Err(FetchError::Cancelled { .. })));
    assert!(!rig.staging_is_empty());
}

#[tokio::test]
async fn a_full_disk_is_found_before_the_first_byte() {
    let origin = Origin::saying(answer("200 OK", "", &file(1000))).await;
    let mut rig = Rig::new(&origin);
    rig.limits.room.reservation = u64::MAX;
    let error = rig.expect_error(&origin.url("/")).await;
    assert!(matches!(&error, FetchError::Store(error) if error.is_disk_full()), "{error}");
    assert!(rig.staging_is_empty());
    assert_eq!(rig.limits.room.ledger.reserved(), 0);
}

#[tokio::test]
async fn a_file_without_an_announced_end_holds_room_while_it_comes() {
    let origin = Origin::start(|_, _, mut stream| async move {
        let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nbytes\r\n";
        let _ = stream.write_all(head.as_bytes()).await;
        std::future::pending::<()>().await;
    })
    .await;
    let rig = Rig::new(&origin);
    let url = origin.url("/");
    let look = async {
        while rig.reports.received() == 0 {
            tokio::task::yield_now().await;
        }
        let held = rig.limits.room.ledger.reserved();
        rig.cancel.cancel();
        held
    };
    let (_, held) = tokio::join!(rig.fetch(&url), look);
    assert!(held > 0);
    assert_eq!(rig.limits.room.ledger.reserved(), 0);
}
