//! Makes a blob usable as a disk base on this node (`storage.md` §10).

use std::fs::File;
use std::sync::Arc;
use std::time::Instant;

use serde_json::json;
use sf_blobs::layout::CacheKind;
use sf_blobs::purpose::Purpose;
use sf_events::{Event, event};
use sf_gateway::CallClass;
use sf_images::header::{inspect, is_base_style};
use sf_model::event::EventType;
use sf_model::{BlobId, InstanceId, ObjectType};
use sf_protos::blobs::{Blob, GetBlobRequest};
use sf_protos::common::Caller;
use sf_protos::privexec::image_file::Place;
use sf_protos::privexec::{ImageFormat, StagedFile, StagingPurpose};

use crate::cache::{self, Cached};
use crate::committer::seconds_since;
use crate::error::{WorkError, blocking};
use crate::facts::tool_format;
use crate::service::Service;

/// An image that is ready.
#[derive(Debug, Clone)]
pub(crate) struct Ensured {
    pub(crate) image: Cached,
    /// Whether it was ready before.
    pub(crate) cached: bool,
}

/// Room is promised for this many times the size of an image: what honest ones become.
const PROMISE: u64 = 4;
/// An image may grow to this many times its size when it is made a disk base. Real ones do not; a small file that names one
/// piece of itself a million times would fill the store.
const GROWTH: u64 = 16;
/// What any image may grow to, bytes.
const SMALL: u64 = 1 << 30;

/// Most bytes that an image of a size may become.
fn expected(size: u64) -> u64 {
    size.saturating_mul(GROWTH).max(SMALL)
}

/// What has to be done to a replica.
enum Way {
    Link(CacheKind, u64),
    Convert(ImageFormat, u64),
}

impl Service {
    /// Returns the cache file of a blob, making it when it is not there.
    ///
    /// # Errors
    /// [`WorkError::Unsafe`] and [`WorkError::NotABase`] for blobs that can never be one; those of
    /// [`Service::ensure_local`] when its bytes cannot be brought here.
    pub(crate) async fn ensure_image(
        self: &Arc<Self>,
        blob: BlobId,
        instance: Option<InstanceId>,
    ) -> Result<Ensured, WorkError> {
        let store = self.store.clone();
        if let Some(image) = blocking(move || Ok::<_, WorkError>(cache::find(&store, blob))).await? {
            metrics::counter!("image_cache_hits_total").increment(1);
            return Ok(Ensured { image, cached: true });
        }
        metrics::counter!("image_cache_misses_total").increment(1);
        let service = Arc::clone(self);
        // It is finished when nobody waits any more: whoever asks next, most likely the same boot again, finds it.
        let ending = self.ctx.shutdown.token();
        let work = |_unwanted| async move { service.make_image(blob, instance).await };
        let made = self.images.join(blob, &ending, work);
        made.await.unwrap_or_else(|| Err(WorkError::Failed("making the image ended unexpectedly".to_owned())))
    }

    async fn make_image(
        self: &Arc<Self>,
        blob: BlobId,
        instance: Option<InstanceId>,
    ) -> Result<Ensured, WorkError> {
        let caller = Some(Caller { namespace: "system".to_owned() });
        let request = GetBlobRequest { caller, blob_uuid: blob.to_string() };
        let reply = self.ctx.gateway.call(CallClass::Background, request).await?;
        let record = reply.blob.ok_or_else(|| WorkError::Failed("the database sent no blob".to_owned()))?;
        check_record(&record)?;
        if !self.store.blob(blob).is_file() {
            self.ensure_local(blob, instance).await?;
        }
        let image = match self.choose_way(blob, &record).await? {
            Way::Link(kind, virtual_size) => {
                let store = self.store.clone();
                blocking(move || cache::link_replica(&store, blob, kind, virtual_size)).await?
            }
            Way::Convert(format, virtual_size) => {
                self.convert(blob, instance, format, virtual_size, record.size).await?
            }
        };
        Ok(Ensured { image, cached: false })
    }

    async fn choose_way(&self, blob: BlobId, record: &Blob) -> Result<Way, WorkError> {
        let facts = record.facts.clone().unwrap_or_default();
        let recorded = facts.format.unwrap_or_default();
        let virtual_size = facts.virtual_size.unwrap_or(record.size);
        if recorded == "iso" {
            return Ok(Way::Link(CacheKind::Iso, virtual_size));
        }
        let Some(format) = tool_format(&recorded) else {
            return Err(WorkError::NotABase(format!("a file of format {recorded} cannot be used as a disk")));
        };
        let path = self.store.blob(blob);
        let fits = format == ImageFormat::Qcow2
            && blocking(move || {
                let unreadable = |error| WorkError::Failed(format!("cannot inspect the replica: {error}"));
                is_base_style(&File::open(&path).map_err(unreadable)?).map_err(unreadable)
            })
            .await?;
        Ok(if fits { Way::Link(CacheKind::Qcow2, virtual_size) } else { Way::Convert(format, virtual_size) })
    }

    async fn convert(
        &self,
        blob: BlobId,
        instance: Option<InstanceId>,
        format: ImageFormat,
        virtual_size: u64,
        size: u64,
    ) -> Result<Cached, WorkError> {
        // A boot may use half of what other writers must leave alone.
        let needed = size.saturating_mul(PROMISE).min(virtual_size);
        let limit = expected(size).min(virtual_size);
        let _promise = self.ledger.promise(self.store.root(), self.reservation() / 2, needed)?;
        let started = Instant::now();
        self.tell(blob, instance, "transcode started").await;
        let converted = self.run_conversion(blob, format, virtual_size, limit).await;
        let result = if converted.is_ok() { "ok" } else { "error" };
        metrics::counter!("transcode_total", "result" => result).increment(1);
        metrics::histogram!("transcode_seconds").record(seconds_since(started));
        match &converted {
            Ok(_) => self.tell(blob, instance, "transcode finished").await,
            Err(error) => self.tell(blob, instance, &format!("transcode failed: {error}")).await,
        }
        converted
    }

    async fn run_conversion(
        &self,
        blob: BlobId,
        format: ImageFormat,
        virtual_size: u64,
        output_limit: u64,
    ) -> Result<Cached, WorkError> {
        let partial = self.store.partial(Purpose::Xcode, blob);
        let leftover = partial.clone();
        blocking(move || sf_blobs::durable::remove_if_present(&leftover).map(drop)).await?;
        let target = StagedFile { purpose: StagingPurpose::Xcode.into(), uuid: blob.to_string() };
        let helper = match sf_runtime::context::current().request_id {
            Some(id) => self.privexec.for_request(&id),
            None => self.privexec.clone(),
        };
        helper
            .convert_image(
                Place::BlobUuid(blob.to_string()),
                format,
                target,
                virtual_size.max(512),
                output_limit,
            )
            .await?;
        let (store, rules) = (self.store.clone(), self.image_rules());
        blocking(move || {
            // What the tool wrote is held against the same rules as what anyone sends.
            let unreadable =
                |error| WorkError::Failed(format!("cannot inspect the converted image: {error}"));
            let found = inspect(&File::open(&partial).map_err(unreadable)?, &rules).map_err(unreadable)?;
            match (found.refusal(), found.virtual_size) {
                (None, Some(virtual_size)) if found.format == sf_images::Format::Qcow2 => {
                    Ok(cache::install(&store, blob, &partial, virtual_size)?)
                }
                (refusal, _) => {
                    let why = refusal.map_or("it is not qcow2", |refusal| refusal.text.as_str());
                    Err(WorkError::Failed(format!("the converted image cannot be used: {why}")))
                }
            }
        })
        .await
    }

    async fn tell(&self, blob: BlobId, instance: Option<InstanceId>, message: &str) {
        let progress = event(EventType::Status, message).object(ObjectType::Blob, blob);
        self.ctx.events.record(with_instance(progress, instance)).await;
    }

    /// Records that an image was refused.
    pub(crate) async fn tell_unsafe(
        &self,
        format: &str,
        reason: &'static str,
        text: &str,
        objects: Vec<(ObjectType, String)>,
    ) {
        metrics::counter!("image_unsafe_total", "format" => format.to_owned(), "reason" => reason)
            .increment(1);
        let told = event(EventType::Audit, "unsafe image").objects(objects);
        if let Some(told) = told {
            self.ctx.events.record(told.extra(json!({ "format": format, "reason": text }))).await;
        }
    }
}

/// Adds the instance that waits, so that its owner sees the progress.
pub(crate) fn with_instance(event: Event, instance: Option<InstanceId>) -> Event {
    match instance {
        Some(instance) => event.object(ObjectType::Instance, instance),
        None => event,
    }
}

fn check_record(record: &Blob) -> Result<(), WorkError> {
    let state = record.state.as_ref().map(|state| state.state.as_str()).unwrap_or_default();
    if state != "created" {
        return Err(WorkError::NotABase(format!("blob {} is {state} and cannot be used", record.uuid)));
    }
    let facts = record.facts.clone().unwrap_or_default();
    if facts.safety == "unsafe" {
        return Err(WorkError::Unsafe(
            facts.safety_reason.unwrap_or_else(|| "it was refused when it arrived".to_owned()),
        ));
    }
    if record.size == 0 {
        return Err(WorkError::NotABase("an empty blob cannot be used as a disk".to_owned()));
    }
    if record.depends_on.is_some() {
        return Err(WorkError::NotABase("images with a parent cannot be used on this release".to_owned()));
    }
    Ok(())
}
