//! The data plane over real HTTP, with the client that the API uses.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "helpers of tests may fail loudly"
)]

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use chrono::{TimeDelta, Utc};
use futures::{StreamExt, TryStreamExt, stream};
use http::StatusCode;
use serde_json::json;
use sf_blobs::ByteRange;
use sf_blobs::client::{DataPlane, Peer, PeerError};
use sf_blobs::token::{Claims, TokenObject, TokenPurpose, TransferKeys};
use sf_blobs::uploads::AppendOptions;
use sf_config::ClusterConfig;
use sf_model::{BlobId, NodeId, UploadId};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::router;
use crate::testing::{Rig, SEED, rig};

struct Plane {
    rig: Rig,
    peer: Peer,
    client: DataPlane,
    keys: Arc<TransferKeys>,
}

async fn plane(cluster: &[(&str, &str)]) -> Plane {
    let rig = rig(cluster);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let peer = Peer { node: rig.service.node(), address: listener.local_addr().unwrap() };
    let app = router(Arc::clone(&rig.service)).into_make_service_with_connect_info::<SocketAddr>();
    tokio::spawn(async move { axum::serve(listener, app).await });
    let keys = Arc::new(TransferKeys::derive([SEED.as_bytes()]));
    let client = DataPlane::new(Arc::clone(&keys), peer.node).unwrap();
    Plane { rig, peer, client, keys }
}

impl Plane {
    fn put_blob(&self, bytes: &[u8]) -> BlobId {
        let blob = BlobId::random();
        self.rig.service.store.make_fan_directory(blob).unwrap();
        std::fs::write(self.rig.service.store.blob(blob), bytes).unwrap();
        blob
    }

    async fn read(&self, blob: BlobId, start: u64, length: u64) -> Result<Vec<u8>, PeerError> {
        let remote =
            self.client.read_blob(self.peer, blob, ByteRange { start, length }, TokenPurpose::Read).await?;
        let pieces: Vec<Bytes> = remote.bytes.try_collect().await?;
        Ok(pieces.concat())
    }

    async fn append(&self, upload: UploadId, bytes: &[u8], options: AppendOptions) -> Result<u64, PeerError> {
        let body = stream::iter([Ok::<_, std::io::Error>(Bytes::copy_from_slice(bytes))]);
        self.client.append(self.peer, upload, options, body).await
    }

    async fn upload(&self) -> UploadId {
        let upload = UploadId::random();
        self.client.create_upload(self.peer, upload).await.unwrap();
        upload
    }

    fn token(&self, object: TokenObject, purpose: TokenPurpose) -> String {
        self.keys.sign(&Claims::new(object, purpose, None, self.peer.node, Utc::now())).unwrap()
    }

    /// A request written by hand; the answer as text.
    async fn raw(&self, request: &str) -> String {
        let mut stream = TcpStream::connect(self.peer.address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
        String::from_utf8_lossy(&answer).into_owned()
    }
}

fn refused(error: &PeerError) -> (StatusCode, &str) {
    match error {
        PeerError::Refused { status, refusal, .. } => (*status, refusal.code.as_str()),
        other => panic!("not refused: {other}"),
    }
}

#[tokio::test]
async fn a_blob_is_read_in_ranges_and_whole() {
    let plane = plane(&[]).await;
    let bytes: Vec<u8> = (0..3_000_000u32).map(|at| (at % 251) as u8).collect();
    let blob = plane.put_blob(&bytes);
    assert_eq!(plane.client.blob_size(plane.peer, blob).await.unwrap(), 3_000_000);
    assert!(plane.read(blob, 0, 3_000_000).await.unwrap() == bytes);
    assert!(plane.read(blob, 2_000_000, 5).await.unwrap() == bytes[2_000_000..2_000_005]);
    assert!(plane.read(blob, 2_999_999, 500).await.unwrap() == bytes[2_999_999..]);
    assert!(plane.read(blob, 3_000_000, 0).await.unwrap().is_empty());
    assert_eq!(
        refused(&plane.read(blob, 3_000_000, 5).await.unwrap_err()).0,
        StatusCode::RANGE_NOT_SATISFIABLE
    );
    assert_eq!(
        refused(&plane.read(BlobId::random(), 0, 5).await.unwrap_err()),
        (StatusCode::NOT_FOUND, "not_here")
    );
}

#[tokio::test]
async fn streams_are_limited_and_given_back_when_the_reader_leaves() {
    let plane = plane(&[]).await;
    let blob = plane.put_blob(&vec![1; 64 << 20]);
    let free = plane.rig.service.streams.available_permits();
    let mut open = Vec::new();
    for _ in 0..free {
        let whole = ByteRange::whole(64 << 20);
        open.push(plane.client.read_blob(plane.peer, blob, whole, TokenPurpose::Read).await.unwrap());
    }
    let error = plane.read(blob, 0, 5).await.unwrap_err();
    assert_eq!(refused(&error), (StatusCode::TOO_MANY_REQUESTS, "no_slot"));
    assert!(matches!(error, PeerError::Refused { retry_after: Some(1), .. }));
    let mut first = open.pop().unwrap();
    first.bytes.next().await.unwrap().unwrap();
    drop((first, open));
    while plane.rig.service.streams.available_permits() < free {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn an_upload_is_made_filled_cut_and_discarded() {
    let plane = plane(&[("API_MAX_UPLOAD_CHUNK_BYTES", "4096"), ("UPLOAD_MAX_BYTES", "10000")]).await;
    let upload = plane.upload().await;
    let plain = AppendOptions::default();
    assert_eq!(plane.append(upload, b"hello", plain).await.unwrap(), 5);
    assert_eq!(
        plane.append(upload, b"hello", plain).await.unwrap(),
        10,
        "the first answer arrived, so this is new"
    );
    let told = AppendOptions { previous_undelivered: true, ..plain };
    assert_eq!(
        plane.append(upload, b"hello", told).await.unwrap(),
        10,
        "the proxy says that the answer was lost"
    );
    let offset = AppendOptions { offset: Some(5), ..plain };
    assert_eq!(plane.append(upload, b"hello", offset).await.unwrap(), 10);
    let wrong = plane.append(upload, b"other", offset).await.unwrap_err();
    assert_eq!(refused(&wrong), (StatusCode::CONFLICT, "offset_mismatch"));
    assert!(matches!(wrong, PeerError::Refused { refusal, .. } if refusal.size == Some(10)));
    plane.client.truncate(plane.peer, upload, 3).await.unwrap();
    assert_eq!(plane.client.upload_size(plane.peer, upload).await.unwrap(), 3);
    let beyond = plane.client.truncate(plane.peer, upload, 4).await.unwrap_err();
    assert_eq!(refused(&beyond), (StatusCode::BAD_REQUEST, "beyond_end"));
    let large =
        plane.append(upload, &[0; 4097], AppendOptions { length: Some(4097), ..plain }).await.unwrap_err();
    assert_eq!(refused(&large).0, StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(std::fs::read(plane.rig.service.store.upload(upload)).unwrap(), b"hel");
    plane.client.discard(plane.peer, upload).await.unwrap();
    let lost = plane.append(upload, b"x", plain).await.unwrap_err();
    assert_eq!(refused(&lost), (StatusCode::CONFLICT, "upload_lost"));
}

#[tokio::test]
async fn a_chunk_that_breaks_off_leaves_the_upload_as_it_was() {
    let plane = plane(&[]).await;
    let upload = plane.upload().await;
    plane.append(upload, b"kept", AppendOptions::default()).await.unwrap();
    let body = stream::iter([Ok(Bytes::from_static(b"half")), Err(std::io::Error::other("cable pulled"))]);
    let options = AppendOptions { length: Some(8), ..AppendOptions::default() };
    assert!(plane.client.append(plane.peer, upload, options, body).await.is_err());
    // The next request waits until the broken one has been taken down.
    assert_eq!(plane.append(upload, b"!", AppendOptions::default()).await.unwrap(), 5);
    assert_eq!(std::fs::read(plane.rig.service.store.upload(upload)).unwrap(), b"kept!");
}

#[tokio::test]
async fn an_answer_that_cannot_be_written_makes_the_next_equal_chunk_a_replay() {
    let plane = plane(&[]).await;
    let upload = plane.upload().await;
    let token = plane.token(TokenObject::Upload(upload), TokenPurpose::Upload);
    let request = format!(
        "POST /v1/uploads/{upload} HTTP/1.1\r\nHost: x\r\nAuthorization: SF-Transfer {token}\r\nContent-Length: 5\r\n\r\nhello"
    );
    let mut stream = TcpStream::connect(plane.peer.address).await.unwrap();
    stream.set_zero_linger().unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    drop(stream);
    // Whether the server met the reset before or after the chunk counted, sending it again makes it count once.
    assert_eq!(plane.append(upload, b"hello", AppendOptions::default()).await.unwrap(), 5);
}

#[tokio::test]
async fn a_token_of_before_a_rotation_opens_until_its_secret_retires() {
    let plane = plane(&[]).await;
    let blob = plane.put_blob(b"bytes");
    let rotate = |retire: TimeDelta| {
        let retires = (Utc::now() + retire).to_rfc3339();
        let window = json!([{ "seed": SEED, "retire_at": retires }, { "seed": "new" }]).to_string();
        let (cluster, _) = ClusterConfig::from_texts([("TRANSFER_SECRET", window.as_str())]).unwrap();
        plane.rig.service.ctx.cluster.replace(cluster);
    };
    // The plane's client signs with the secret of before, as a node that has not heard of the rotation does.
    assert_eq!(plane.read(blob, 0, 5).await.unwrap(), b"bytes");
    rotate(TimeDelta::minutes(20));
    assert_eq!(plane.read(blob, 0, 5).await.unwrap(), b"bytes");
    let new = plane.client.with_keys(Arc::new(plane.rig.service.keys()));
    let range = ByteRange { start: 0, length: 5 };
    assert!(new.read_blob(plane.peer, blob, range, TokenPurpose::Read).await.is_ok());
    rotate(TimeDelta::zero());
    let refused = plane.read(blob, 0, 5).await.unwrap_err();
    assert!(matches!(refused, PeerError::Refused { status: StatusCode::UNAUTHORIZED, .. }), "{refused}");
    assert!(new.read_blob(plane.peer, blob, range, TokenPurpose::Read).await.is_ok());
}

#[tokio::test]
async fn nothing_opens_without_the_right_token() {
    let plane = plane(&[]).await;
    let blob = plane.put_blob(b"secret");
    let object = TokenObject::Blob(blob);
    let here = plane.peer.node;
    let sign = |keys: &TransferKeys, claims: Claims| keys.sign(&claims).unwrap();
    let claims =
        |object, purpose, source, destination| Claims::new(object, purpose, source, destination, Utc::now());
    let old = Claims::new(object, TokenPurpose::Read, None, here, Utc::now() - TimeDelta::minutes(5));
    let foreign = TransferKeys::derive([b"another seed".as_slice()]);
    let tokens = [
        ("none", String::new()),
        ("nonsense", "SF-Transfer nonsense".to_owned()),
        ("bearer", format!("Bearer {}", plane.token(object, TokenPurpose::Read))),
        ("expired", format!("SF-Transfer {}", sign(&plane.keys, old))),
        (
            "foreign",
            format!("SF-Transfer {}", sign(&foreign, claims(object, TokenPurpose::Read, None, here))),
        ),
        ("other purpose", format!("SF-Transfer {}", plane.token(object, TokenPurpose::Upload))),
        (
            "other blob",
            format!("SF-Transfer {}", plane.token(TokenObject::Blob(BlobId::random()), TokenPurpose::Read)),
        ),
        (
            "other node",
            format!(
                "SF-Transfer {}",
                sign(&plane.keys, claims(object, TokenPurpose::Read, Some(NodeId::random()), here))
            ),
        ),
    ];
    for (what, token) in tokens {
        let answer = plane.raw(&format!("GET /v1/blobs/{blob} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: {token}\r\n\r\n")).await;
        assert!(answer.starts_with("HTTP/1.1 401 "), "{what}: {answer}");
        assert!(!answer.contains("secret"), "{what}");
    }
    let good = plane.token(object, TokenPurpose::Read);
    let answer = plane.raw(&format!("GET /v1/blobs/{blob} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: SF-Transfer {good}\r\n\r\n")).await;
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("secret"), "{answer}");
}

#[tokio::test]
async fn without_a_database_a_commit_says_so_and_the_upload_goes_on() {
    let plane = plane(&[]).await;
    let upload = plane.upload().await;
    plane.append(upload, b"bytes", AppendOptions::default()).await.unwrap();
    let error = plane.client.commit_upload(plane.peer, upload, Vec::new()).await.unwrap_err();
    assert_eq!(refused(&error), (StatusCode::SERVICE_UNAVAILABLE, "unavailable"));
    assert_eq!(plane.append(upload, b"!", AppendOptions::default()).await.unwrap(), 6);
}
