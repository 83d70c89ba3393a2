//! Copies over real HTTP, from storage services and from sources that misbehave.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests may fail loudly"
)]

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use sf_blobs::client::{DataPlane, Peer};
use sf_blobs::hashing::HasherSet;
use sf_blobs::journal::Journal;
use sf_blobs::token::TransferKeys;
use sf_blobs::{Algorithm, Purpose, Store};
use sf_model::{BlobId, NodeId, ObjectType, TransferId};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

use super::copy::{Copying, Failure, Means, Order};
use crate::dataplane::router;
use crate::error::WorkError;
use crate::leases::Underway;
use crate::local::observer::Progress;
use crate::testing::{Rig, SEED, rig};

/// The first byte asked for by each request to a source.
type Asked = Arc<Mutex<Vec<u64>>>;

/// How a source behaves.
#[derive(Clone)]
enum Way {
    /// Sends at most so many bytes of what was asked for, then hangs up.
    Gives(Vec<u8>, usize),
    /// Answers with a status, once; then gives everything.
    Refuses(u16, Vec<u8>),
}

async fn source(blob: BlobId, way: Way) -> (Peer, Asked) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let peer = Peer { node: NodeId::random(), address: listener.local_addr().unwrap() };
    let asked = Asked::default();
    let seen = asked.clone();
    tokio::spawn(async move {
        let mut way = way;
        while let Ok((stream, _)) = listener.accept().await {
            way = answer(stream, blob, way, &seen).await;
        }
    });
    (peer, asked)
}

async fn answer(mut stream: TcpStream, blob: BlobId, way: Way, asked: &Asked) -> Way {
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        request.push(stream.read_u8().await.unwrap());
    }
    let text = String::from_utf8(request).unwrap().to_lowercase();
    let range = text.split("range: bytes=").nth(1).unwrap().split("\r\n").next().unwrap();
    let start: u64 = range.split('-').next().unwrap().parse().unwrap();
    asked.lock().push(start);
    match way {
        Way::Refuses(status, bytes) => {
            let head = format!(
                "HTTP/1.1 {status} No\r\nRetry-After: 0\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
            );
            stream.write_all(head.as_bytes()).await.unwrap();
            Way::Gives(bytes, usize::MAX)
        }
        Way::Gives(bytes, most) => {
            let (from, size) = (usize::try_from(start).unwrap(), bytes.len());
            let head = format!(
                "HTTP/1.1 206 Part\r\nContent-Length: {}\r\nContent-Range: bytes {from}-{}/{size}\r\nETag: \"{blob}\"\r\n\
                 Connection: close\r\n\r\n",
                size - from,
                size - 1
            );
            stream.write_all(head.as_bytes()).await.unwrap();
            let end = from.saturating_add(most).min(size);
            stream.write_all(&bytes[from..end]).await.unwrap();
            Way::Gives(bytes, most)
        }
    }
}

/// A place to copy to.
struct Place {
    rig: Rig,
    blob: BlobId,
    bytes: Vec<u8>,
}

impl Place {
    fn new() -> Self {
        let bytes = (0..3_000_000u32).map(|at| (at % 251) as u8).collect();
        Self { rig: rig(&[]), blob: BlobId::random(), bytes }
    }

    fn store(&self) -> &Store {
        &self.rig.service.store
    }

    async fn copy(&self, peers: &[Peer]) -> Result<Vec<u8>, Failure> {
        let service = &self.rig.service;
        let plane =
            DataPlane::new(Arc::new(TransferKeys::derive([SEED.as_bytes()])), service.node()).unwrap();
        let mut hashes = HasherSet::new(&[Algorithm::Blake3]);
        hashes.update(&self.bytes);
        let value = hashes.finish().remove(&Algorithm::Blake3).unwrap();
        let order = Order {
            blob: self.blob,
            size: self.bytes.len() as u64,
            proof: (Algorithm::Blake3, value),
            peers: peers.to_vec(),
            delays: vec![Duration::ZERO],
        };
        let (underway, cancel) = (Underway::new(TransferId::random()), CancellationToken::new());
        let subject = (ObjectType::Blob, self.blob.to_string());
        let progress = Progress::new(service.ctx.events.clone(), subject, "pull", None);
        let path = self.store().journal(Purpose::Pull, self.blob);
        let journal = Journal::load(&path).unwrap();
        let journal = journal.unwrap_or_else(|| Journal::new(Purpose::Pull, self.blob));
        let means = Means {
            store: self.store(),
            plane: &plane,
            underway: &underway,
            progress: &progress,
            cancel: &cancel,
        };
        let mut copying = Copying::new(means, &order);
        let (staged, _) = copying.run(journal).await?;
        let copied = std::fs::read(staged.path()).unwrap();
        staged.discard().unwrap();
        Ok(copied)
    }

    fn staged(&self) -> usize {
        std::fs::read_dir(self.store().staging()).unwrap().count()
    }
}

#[tokio::test]
async fn a_storage_service_gives_its_copy() {
    let (place, other) = (Place::new(), rig(&[]));
    other.service.store.make_fan_directory(place.blob).unwrap();
    std::fs::write(other.service.store.blob(place.blob), &place.bytes).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let peer = Peer { node: other.service.node(), address: listener.local_addr().unwrap() };
    let app = router(Arc::clone(&other.service)).into_make_service_with_connect_info::<SocketAddr>();
    tokio::spawn(async move { axum::serve(listener, app).await });
    assert!(place.copy(&[peer]).await.unwrap() == place.bytes);
    assert_eq!(place.staged(), 0);
}

#[tokio::test]
async fn a_source_that_dies_is_followed_by_another_at_the_same_byte() {
    let place = Place::new();
    let (dying, first) = source(place.blob, Way::Gives(place.bytes.clone(), 1_000_000)).await;
    let (second, rest) = source(place.blob, Way::Gives(place.bytes.clone(), usize::MAX)).await;
    assert!(place.copy(&[dying, second]).await.unwrap() == place.bytes);
    // Two attempts at the first source, each a third of the blob.
    assert_eq!(*first.lock(), [0, 1_000_000]);
    assert_eq!(*rest.lock(), [2_000_000]);
}

#[tokio::test]
async fn wrong_bytes_are_dropped_and_their_source_is_suspect() {
    let place = Place::new();
    let mut wrong = place.bytes.clone();
    wrong[7] ^= 1;
    let (liar, _) = source(place.blob, Way::Gives(wrong.clone(), usize::MAX)).await;
    let (honest, asked) = source(place.blob, Way::Gives(place.bytes.clone(), usize::MAX)).await;
    assert!(place.copy(&[liar, honest]).await.unwrap() == place.bytes);
    assert_eq!(*asked.lock(), [0], "nothing of the wrong bytes is kept");

    let failure = place.copy(&[liar]).await.unwrap_err();
    assert_eq!(failure.suspects, [liar.node]);
    assert!(matches!(failure.error, WorkError::Failed(_)), "{}", failure.error);
    let (short, _) = source(place.blob, Way::Gives(place.bytes[1..].to_vec(), usize::MAX)).await;
    assert_eq!(place.copy(&[short]).await.unwrap_err().suspects, [short.node]);
}

#[tokio::test]
async fn a_busy_source_is_waited_for_and_an_empty_one_is_left() {
    let place = Place::new();
    let (busy, asked) = source(place.blob, Way::Refuses(429, place.bytes.clone())).await;
    assert!(place.copy(&[busy]).await.unwrap() == place.bytes);
    assert_eq!(asked.lock().len(), 2);
    let (empty, once) = source(place.blob, Way::Refuses(404, place.bytes.clone())).await;
    let (full, _) = source(place.blob, Way::Gives(place.bytes.clone(), usize::MAX)).await;
    assert!(place.copy(&[empty, full]).await.unwrap() == place.bytes);
    assert_eq!(once.lock().len(), 1);
}

#[tokio::test]
async fn without_a_source_that_answers_it_is_a_matter_of_time() {
    let place = Place::new();
    let nobody = Peer { node: NodeId::random(), address: "127.0.0.1:1".parse().unwrap() };
    let failure = place.copy(&[nobody]).await.unwrap_err();
    assert!(matches!(failure.error, WorkError::Unavailable(_)), "{}", failure.error);
    assert!(failure.suspects.is_empty());
    let (source, _) = source(place.blob, Way::Gives(place.bytes.clone(), usize::MAX)).await;
    assert!(place.copy(&[source]).await.unwrap() == place.bytes);
    assert_eq!(place.staged(), 0);
}
