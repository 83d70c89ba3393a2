//! The socket, who may use it, and the mapping between messages and use cases.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;

use nix::unistd::{Group, Uid, User, chown};
use sf_blobs::Algorithm;
use sf_blobs::layout::CacheKind;
use sf_model::BlobId;
use sf_protos::storage_local as pb;
use sf_protos::storage_local::storage_local_server::{StorageLocal, StorageLocalServer};
use sf_runtime::{RequestContext, context};
use tokio::net::UnixListener;
use tokio_stream::wrappers::UnixListenerStream;
use tonic::transport::Server;
use tonic::transport::server::UdsConnectInfo;
use tonic::{Request, Response, Status};

use super::fetch::FetchOrder;
use crate::cache;
use crate::error::{TransfersError, WorkError, blocking};
use crate::service::Service;

/// The user that queue worker and cleaner run as.
const WORKER_USER: &str = "shakenfist";
/// Group whose members may open the socket; this daemon's user is one of them.
const SOCKET_GROUP: &str = "sf-store";
/// Most blobs of one `TouchCache`.
const MAX_TOUCHED: usize = 10_000;

/// Serves the socket until shutdown, then lets calls in flight end.
///
/// # Errors
/// The socket cannot be made.
pub(crate) async fn serve(service: Arc<Service>) -> Result<(), TransfersError> {
    let path = service.ctx.config.transfers_socket();
    let listener =
        listen(&path).map_err(|source| TransfersError::Serve { what: path.display().to_string(), source })?;
    let shutdown = service.ctx.shutdown.clone();
    let local = StorageLocalServer::new(Local { service, users: allowed_users() });
    let served = Server::builder()
        .add_service(local)
        .serve_with_incoming_shutdown(
            UnixListenerStream::new(listener),
            async move { shutdown.requested().await },
        )
        .await;
    let _ = std::fs::remove_file(&path);
    served.map_err(|error| TransfersError::Serve {
        what: path.display().to_string(),
        source: std::io::Error::other(error),
    })
}

fn listen(path: &Path) -> std::io::Result<UnixListener> {
    if let Some(directory) = path.parent() {
        std::fs::create_dir_all(directory)?;
    }
    // The lock on the store says that no other service lives here, so what is left is from an earlier life.
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(path)?;
    if let Some(group) = Group::from_name(SOCKET_GROUP)? {
        chown(path, None, Some(group.gid))?;
    }
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o660))?;
    Ok(listener)
}

fn allowed_users() -> Vec<u32> {
    let worker = User::from_name(WORKER_USER).ok().flatten().map(|user| user.uid.as_raw());
    [Some(0), Some(Uid::effective().as_raw()), worker].into_iter().flatten().collect()
}

struct Local {
    service: Arc<Service>,
    users: Vec<u32>,
}

impl Local {
    /// Lets a caller of this node in and takes over its request context.
    fn admit<T>(&self, request: &Request<T>) -> Result<RequestContext, Status> {
        let peer = request.extensions().get::<UdsConnectInfo>().and_then(|info| info.peer_cred);
        match peer {
            Some(peer) if self.users.contains(&peer.uid()) => {}
            _ => return Err(Status::permission_denied("this user may not use the node's storage service")),
        }
        let text = |name| request.metadata().get(name).and_then(|value| value.to_str().ok());
        let request_id = text("x-request-id").filter(|id| context::is_request_id(id)).map(str::to_owned);
        Ok(RequestContext::new(request_id, text("traceparent")))
    }
}

#[tonic::async_trait]
impl StorageLocal for Local {
    async fn ensure_image(
        &self,
        request: Request<pb::EnsureImageRequest>,
    ) -> Result<Response<pb::EnsureImageReply>, Status> {
        let context = self.admit(&request)?;
        let asked = request.into_inner();
        let blob = parse(&asked.blob_uuid)?;
        let instance = optional(&asked.instance_uuid)?;
        let ensured =
            context::scope(context, self.service.ensure_image(blob, instance)).await.map_err(to_status)?;
        let format = match ensured.image.kind {
            CacheKind::Qcow2 => pb::CacheFormat::Qcow2,
            CacheKind::Iso => pb::CacheFormat::Iso,
        };
        let image = pb::CachedImage {
            blob_uuid: blob.to_string(),
            path: ensured.image.path.display().to_string(),
            format: format.into(),
            virtual_size: ensured.image.virtual_size,
        };
        Ok(Response::new(pb::EnsureImageReply { chain: vec![image], cached: ensured.cached }))
    }

    async fn fetch_artifact(
        &self,
        request: Request<pb::FetchArtifactRequest>,
    ) -> Result<Response<pb::FetchArtifactReply>, Status> {
        let context = self.admit(&request)?;
        let asked = request.into_inner();
        let order = FetchOrder {
            operation: parse(&asked.operation_uuid)?,
            artifact: parse(&asked.artifact_uuid)?,
            source: asked.source_url,
            checksum: Some(asked.checksum).filter(|text| !text.is_empty()),
            instance: optional(&asked.instance_uuid)?,
        };
        let fetched = context::scope(context, self.service.fetch_artifact(order)).await.map_err(to_status)?;
        Ok(Response::new(fetched.into_wire()))
    }

    async fn touch_cache(
        &self,
        request: Request<pb::TouchCacheRequest>,
    ) -> Result<Response<pb::TouchCacheReply>, Status> {
        self.admit(&request)?;
        let blobs: Vec<BlobId> = request
            .into_inner()
            .blob_uuids
            .iter()
            .take(MAX_TOUCHED)
            .filter_map(|text| text.parse().ok())
            .collect();
        let store = self.service.store.clone();
        let count = blocking(move || {
            Ok::<_, WorkError>(blobs.into_iter().filter(|blob| cache::touch(&store, *blob)).count())
        });
        let touched = count.await.map_err(to_status)?;
        Ok(Response::new(pb::TouchCacheReply { touched: u32::try_from(touched).unwrap_or(u32::MAX) }))
    }

    async fn request_hash(
        &self,
        request: Request<pb::RequestHashRequest>,
    ) -> Result<Response<pb::RequestHashReply>, Status> {
        self.admit(&request)?;
        let asked = request.into_inner();
        let blob: BlobId = parse(&asked.blob_uuid)?;
        let algorithm: Algorithm =
            asked.algorithm.parse().map_err(|_| Status::invalid_argument("unknown hash algorithm"))?;
        let here = self.service.store.blob(blob).is_file();
        Ok(Response::new(pb::RequestHashReply {
            scheduled: here && self.service.hashes.ask(blob, algorithm),
        }))
    }
}

fn parse<T: std::str::FromStr>(text: &str) -> Result<T, Status> {
    text.parse().map_err(|_| Status::invalid_argument("expected a hyphenated UUID"))
}

fn optional<T: std::str::FromStr>(text: &str) -> Result<Option<T>, Status> {
    if text.is_empty() { Ok(None) } else { parse(text).map(Some) }
}

/// Callers tell outcomes apart by the code: `FailedPrecondition` and `ResourceExhausted` are final, `Unavailable` is
/// worth another attempt.
fn to_status(error: WorkError) -> Status {
    let message = error.to_string();
    match error {
        WorkError::Unsafe(_) | WorkError::NotABase(_) | WorkError::Refused { .. } => {
            Status::failed_precondition(message)
        }
        WorkError::NotHere(_) | WorkError::Missing(_) => Status::not_found(message),
        WorkError::Forbidden(_) => Status::permission_denied(message),
        WorkError::NoSpace(_) => Status::resource_exhausted(message),
        WorkError::Unavailable(_) | WorkError::TierFailed(_) => Status::unavailable(message),
        WorkError::Failed(_) => Status::internal(message),
    }
}
