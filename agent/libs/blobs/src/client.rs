//! Client of the data plane of another (or the own) node's storage service.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use chrono::Utc;
use futures::{Stream, TryStreamExt};
use http::header::{ACCEPT_RANGES, AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, ETAG, RANGE, RETRY_AFTER};
use http::{HeaderMap, Method, StatusCode};
use reqwest::{Body, Response};
use sf_model::{BlobId, NodeId, UploadId};

use crate::range::ByteRange;
use crate::token::{Claims, TokenObject, TokenPurpose, TransferKeys};
use crate::uploads::AppendOptions;
use crate::wire::{AUTH_SCHEME, PREVIOUS_UNDELIVERED, PROTOBUF, Refusal, UPLOAD_OFFSET};

/// Time to open a connection inside the mesh.
const CONNECT: Duration = Duration::from_secs(3);
/// Time to the first byte of an answer that needs no work.
const FIRST_BYTE: Duration = Duration::from_secs(10);
/// Time for a commit: it may have to read the whole upload once.
const COMMIT: Duration = Duration::from_secs(3600);
/// Largest answer that is not a blob.
const MAX_ANSWER: usize = 4 << 20;

/// A node's storage service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer {
    /// The node.
    pub node: NodeId,
    /// Address of its data plane: mesh address and `TRANSFERS_PORT`.
    pub address: SocketAddr,
}

/// Why a request to a storage service failed.
#[derive(Debug, thiserror::Error)]
pub enum PeerError {
    /// No answer: try another source, or later.
    #[error("the storage service of node {node} does not answer: {source}")]
    Unreachable {
        /// The node.
        node: NodeId,
        /// What the HTTP client said.
        #[source]
        source: reqwest::Error,
    },
    /// The service refused.
    #[error("the storage service refused: {} ({status})", .refusal.error)]
    Refused {
        /// Status of the answer.
        status: StatusCode,
        /// Its body.
        refusal: Refusal,
        /// Seconds after which to try again, when the service named them.
        retry_after: Option<u64>,
    },
    /// The service answered something this client does not understand.
    #[error("the storage service of node {node} answered {what}")]
    Unexpected {
        /// The node.
        node: NodeId,
        /// What was wrong.
        what: String,
    },
    /// No key of the cluster is known yet.
    #[error("no cluster secret is known: the cluster is not bootstrapped, or this daemon may not read it")]
    NoKey,
}

/// A blob being read from a peer.
pub struct RemoteBlob {
    /// Size of the whole blob in bytes.
    pub size: u64,
    /// Bytes that will follow.
    pub length: u64,
    /// Bytes exactly as announced, else an error: a short body is never taken for a complete one.
    pub bytes: futures::stream::BoxStream<'static, Result<Bytes, PeerError>>,
}

/// The client. Cheap to clone; clones share connections.
#[derive(Debug, Clone)]
pub struct DataPlane {
    http: reqwest::Client,
    keys: Arc<TransferKeys>,
    node: NodeId,
}

impl DataPlane {
    /// A client that acts for `node`.
    ///
    /// # Errors
    /// The HTTP client cannot be built.
    pub fn new(keys: Arc<TransferKeys>, node: NodeId) -> Result<Self, reqwest::Error> {
        let http = reqwest::Client::builder()
            .http1_only()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(CONNECT)
            .read_timeout(Duration::from_secs(60))
            .tcp_nodelay(true)
            .build()?;
        Ok(Self { http, keys, node })
    }

    /// The same client with the keys of now; connections are shared.
    #[must_use]
    pub fn with_keys(&self, keys: Arc<TransferKeys>) -> Self {
        Self { keys, ..self.clone() }
    }

    /// Opens a range of a blob, for a client or for a copy. Nothing may be sent to a client before this has returned: status, length and tag have
    /// then been checked.
    ///
    /// # Errors
    /// [`PeerError::Refused`] with 404 when the peer has no replica, 429 when it has no free stream.
    pub async fn read_blob(
        &self,
        peer: Peer,
        blob: BlobId,
        range: ByteRange,
        purpose: TokenPurpose,
    ) -> Result<RemoteBlob, PeerError> {
        let mut headers = HeaderMap::new();
        if range.length == 0 {
            let size = self.blob_size(peer, blob).await?;
            return Ok(RemoteBlob { size, length: 0, bytes: Box::pin(futures::stream::empty()) });
        }
        let last = range.start.saturating_add(range.length - 1);
        insert(&mut headers, RANGE.as_str(), &format!("bytes={}-{last}", range.start));
        let path = format!("v1/blobs/{blob}");
        let object = TokenObject::Blob(blob);
        let request = self.request(Method::GET, peer, &path, object, purpose)?.headers(headers);
        let answer = self.send(peer, request, FIRST_BYTE).await?;
        let unexpected = |what: &str| PeerError::Unexpected { node: peer.node, what: what.to_owned() };
        if answer.status() != StatusCode::PARTIAL_CONTENT {
            return Err(unexpected("without the range that was asked for"));
        }
        if header(&answer, ETAG.as_str()) != Some(format!("\"{blob}\"").as_str()) {
            return Err(unexpected("with another blob"));
        }
        let size = header(&answer, "content-range")
            .and_then(|value| value.rsplit_once('/')?.1.parse().ok())
            .ok_or_else(|| unexpected("without the size of the blob"))?;
        let length = answer.content_length().ok_or_else(|| unexpected("without a length"))?;
        let expected = range.length.min(range.start_to_end(size));
        if length != expected {
            return Err(unexpected("with another length than was asked for"));
        }
        let node = peer.node;
        let bytes = answer.bytes_stream().map_err(move |source| PeerError::Unreachable { node, source });
        Ok(RemoteBlob { size, length, bytes: Box::pin(bytes) })
    }

    /// Size of a blob at a peer.
    ///
    /// # Errors
    /// As [`DataPlane::read_blob`].
    pub async fn blob_size(&self, peer: Peer, blob: BlobId) -> Result<u64, PeerError> {
        let path = format!("v1/blobs/{blob}");
        let request = self.request(Method::HEAD, peer, &path, TokenObject::Blob(blob), TokenPurpose::Read)?;
        let answer = self.send(peer, request, FIRST_BYTE).await?;
        // The client library hides the length of a body that is not there.
        header(&answer, CONTENT_LENGTH.as_str())
            .filter(|_| header(&answer, ACCEPT_RANGES.as_str()) == Some("bytes"))
            .and_then(|value| value.parse().ok())
            .ok_or(PeerError::Unexpected { node: peer.node, what: "without a length".to_owned() })
    }

    /// Makes the empty file of a new upload on its owner.
    ///
    /// # Errors
    /// 507 when the owner has no room.
    pub async fn create_upload(&self, peer: Peer, upload: UploadId) -> Result<(), PeerError> {
        self.upload_call(Method::PUT, peer, upload, "", Body::from(""), HeaderMap::new(), FIRST_BYTE)
            .await
            .map(drop)
    }

    /// Appends a chunk by streaming it; returns the new size. `Upload-Offset` and length of `options` are passed on.
    ///
    /// # Errors
    /// 409 `upload_busy`, `upload_lost` or `offset_mismatch`; 413; 507. After a refusal the upload is as before.
    pub async fn append<S, E>(
        &self,
        peer: Peer,
        upload: UploadId,
        options: AppendOptions,
        body: S,
    ) -> Result<u64, PeerError>
    where
        S: Stream<Item = Result<Bytes, E>> + Send + 'static,
        E: Into<Box<dyn std::error::Error + Send + Sync>> + 'static,
    {
        let mut headers = HeaderMap::new();
        if let Some(offset) = options.offset {
            insert(&mut headers, UPLOAD_OFFSET, &offset.to_string());
        }
        if options.previous_undelivered {
            insert(&mut headers, PREVIOUS_UNDELIVERED, "1");
        }
        if let Some(length) = options.length {
            insert(&mut headers, CONTENT_LENGTH.as_str(), &length.to_string());
        }
        let body = Body::wrap_stream(body);
        let answer = self.upload_call(Method::POST, peer, upload, "", body, headers, COMMIT).await?;
        number(peer, &answer)
    }

    /// Bytes in an upload.
    ///
    /// # Errors
    /// 409 `upload_lost` when its bytes are gone.
    pub async fn upload_size(&self, peer: Peer, upload: UploadId) -> Result<u64, PeerError> {
        let answer = self
            .upload_call(Method::GET, peer, upload, "", Body::from(""), HeaderMap::new(), FIRST_BYTE)
            .await?;
        number(peer, &answer)
    }

    /// Cuts an upload back.
    ///
    /// # Errors
    /// 400 beyond its end.
    pub async fn truncate(&self, peer: Peer, upload: UploadId, length: u64) -> Result<(), PeerError> {
        let path = format!("/truncate/{length}");
        self.upload_call(Method::POST, peer, upload, &path, Body::from(""), HeaderMap::new(), FIRST_BYTE)
            .await
            .map(drop)
    }

    /// Removes an upload's bytes.
    ///
    /// # Errors
    /// 409 `upload_busy` while it is being written.
    pub async fn discard(&self, peer: Peer, upload: UploadId) -> Result<(), PeerError> {
        self.upload_call(Method::DELETE, peer, upload, "", Body::from(""), HeaderMap::new(), FIRST_BYTE)
            .await
            .map(drop)
    }

    /// Turns an upload into a blob and a version. `target` is an encoded `shakenfist.blobs.v1.UploadTarget`, the answer an
    /// encoded `shakenfist.artifacts.v1.Artifact`.
    ///
    /// # Errors
    /// 400 `unsafe_image`, 409, 507; the upload then goes on to exist.
    pub async fn commit_upload(
        &self,
        peer: Peer,
        upload: UploadId,
        target: Vec<u8>,
    ) -> Result<Bytes, PeerError> {
        let mut headers = HeaderMap::new();
        insert(&mut headers, CONTENT_TYPE.as_str(), PROTOBUF);
        self.upload_call(Method::POST, peer, upload, "/commit", Body::from(target), headers, COMMIT).await
    }

    #[expect(clippy::too_many_arguments, reason = "one private place where all upload requests meet")]
    async fn upload_call(
        &self,
        method: Method,
        peer: Peer,
        upload: UploadId,
        rest: &str,
        body: Body,
        headers: HeaderMap,
        patience: Duration,
    ) -> Result<Bytes, PeerError> {
        let path = format!("v1/uploads/{upload}{rest}");
        let request = self.request(method, peer, &path, TokenObject::Upload(upload), TokenPurpose::Upload)?;
        let answer = self.send(peer, request.headers(headers).body(body), patience).await?;
        read_small(answer).await.map_err(|source| PeerError::Unreachable { node: peer.node, source })
    }

    fn request(
        &self,
        method: Method,
        peer: Peer,
        path: &str,
        object: TokenObject,
        purpose: TokenPurpose,
    ) -> Result<reqwest::RequestBuilder, PeerError> {
        let claims = Claims::new(object, purpose, Some(peer.node), self.node, Utc::now());
        let token = self.keys.sign(&claims).ok_or(PeerError::NoKey)?;
        let url = format!("http://{}/{path}", peer.address);
        Ok(self.http.request(method, url).header(AUTHORIZATION, format!("{AUTH_SCHEME} {token}")))
    }

    async fn send(
        &self,
        peer: Peer,
        request: reqwest::RequestBuilder,
        patience: Duration,
    ) -> Result<Response, PeerError> {
        let unreachable = |source| PeerError::Unreachable { node: peer.node, source };
        let answer = match tokio::time::timeout(patience, request.send()).await {
            Ok(answer) => answer.map_err(unreachable)?,
            Err(_) => {
                return Err(PeerError::Unexpected {
                    node: peer.node,
                    what: format!("nothing within {patience:?}"),
                });
            }
        };
        let status = answer.status();
        if status.is_success() {
            return Ok(answer);
        }
        let retry_after = header(&answer, RETRY_AFTER.as_str()).and_then(|value| value.parse().ok());
        let body = read_small(answer).await.map_err(unreachable)?;
        let refusal = serde_json::from_slice(&body).unwrap_or_else(|_| Refusal {
            error: status.canonical_reason().unwrap_or("refused").to_owned(),
            code: "unknown".to_owned(),
            size: None,
        });
        Err(PeerError::Refused { status, refusal, retry_after })
    }
}

async fn read_small(mut answer: Response) -> Result<Bytes, reqwest::Error> {
    let mut body = Vec::new();
    while let Some(bytes) = answer.chunk().await? {
        let room = MAX_ANSWER.saturating_sub(body.len());
        body.extend_from_slice(bytes.get(..bytes.len().min(room)).unwrap_or_default());
    }
    Ok(body.into())
}

fn number(peer: Peer, body: &[u8]) -> Result<u64, PeerError> {
    std::str::from_utf8(body)
        .ok()
        .and_then(|text| text.trim().parse().ok())
        .ok_or(PeerError::Unexpected { node: peer.node, what: "without a size".to_owned() })
}

fn header<'a>(answer: &'a Response, name: &str) -> Option<&'a str> {
    answer.headers().get(name)?.to_str().ok()
}

/// Adds a header of ours; its values are always of legal characters.
fn insert(headers: &mut HeaderMap, name: &'static str, value: &str) {
    if let Ok(value) = http::HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}
