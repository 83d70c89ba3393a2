//! What the disk bases of an instance mean, decided once at create (`storage.md` §9.2).
//!
//! Nothing is written here: an artifact that has to be fetched first is made by the transaction that makes the
//! instance ([`super::ensure_for_fetch`]), so a refused create leaves nothing behind.

use std::collections::BTreeMap;

use sf_model::{ArtifactId, BlobId, ObjectType};
use sf_protos::artifacts::{ResolveDiskBasesReply, ResolveDiskBasesRequest, ResolvedBase};

use super::base::{self, Base};
use crate::blobs;
use crate::conn::Conn;
use crate::error::{StoreError, StoreResult, reason};
use crate::lookup::{AMBIGUOUS, NOT_READY, Viewer};
use crate::sql::{Sql, rows, sql};

/// Reason of a refusal of a malformed base: answered with 400.
const BAD_REFERENCE: &str = "bad-reference";
/// Reason of a refusal of a name that means nothing: answered with 404.
const UNKNOWN_IMAGE: &str = "unknown-image";

rows! {
    struct CandidateBase {
        uuid: ArtifactId,
        artifact_type: String,
        namespace: String,
        source_url: String,
        state: String,
        blob_uuid: Option<BlobId>,
    }

    struct Facts {
        uuid: String,
        size: u64,
        state: String,
        virtual_size: Option<u64>,
        format: Option<String>,
    }
}

const SELECT: &str = "SELECT a.uuid, a.artifact_type, a.namespace, a.source_url, a.state, \
    (SELECT v.blob_uuid FROM artifact_versions v WHERE v.artifact_uuid = a.uuid AND v.deleted_at IS NULL \
    ORDER BY v.idx DESC LIMIT 1) AS blob_uuid FROM artifacts a WHERE ";

/// Resolves all bases and the NVRAM template of an instance.
///
/// # Errors
/// [`StoreError::Missing`] and preconditions `bad-reference`, `ambiguous-reference`, `unknown-image`, `not-ready`,
/// `bad-state`, each naming the base.
pub async fn resolve_bases(
    conn: &mut Conn,
    request: &ResolveDiskBasesRequest,
) -> StoreResult<ResolveDiskBasesReply> {
    let viewer = Viewer::new(request.caller.as_ref())?;
    let mut resolver = Resolver { conn, viewer, namespace: &request.namespace, fetches: BTreeMap::new() };
    let mut bases = Vec::with_capacity(request.bases.len());
    for (position, base) in request.bases.iter().enumerate() {
        let table = request.table_urls.get(position).map(String::as_str).filter(|url| !url.is_empty());
        bases.push(resolver.base(&base.base, table).await?);
    }
    let nvram_blob_uuid = match request.nvram_template.as_deref().filter(|text| !text.is_empty()) {
        None => None,
        Some(text) => resolver.nvram(text).await?,
    };
    resolver.add_facts(&mut bases).await?;
    Ok(ResolveDiskBasesReply { bases, nvram_blob_uuid })
}

struct Resolver<'a> {
    conn: &'a mut Conn,
    viewer: Viewer,
    /// Where the instance will be.
    namespace: &'a str,
    /// Artifacts to be made, so that two disks with one new base share one.
    fetches: BTreeMap<String, ArtifactId>,
}

impl Resolver<'_> {
    async fn base(&mut self, text: &str, table: Option<&str>) -> StoreResult<ResolvedBase> {
        let parsed = base::parse(text).map_err(|problem| {
            StoreError::precondition(BAD_REFERENCE, format!("disk base {text:?}: {problem}"))
        })?;
        match parsed {
            Base::Blank => Ok(ResolvedBase::default()),
            Base::Blob(blob) => {
                blobs::require_reachable(self.conn, &self.viewer, blob).await?;
                Ok(ready(format!("sf://blob/{blob}"), blob))
            }
            Base::Artifact(uuid, index) => self.artifact(text, uuid, index).await,
            Base::Source(source) => {
                let found = self.seen(sql("a.source_url = ?").bind(source)).await?;
                self.usable(text, found)
            }
            Base::Label(name) => {
                let label = sql("a.artifact_type = 'label' AND a.name = ? AND a.namespace = ?")
                    .bind(name)
                    .bind(self.namespace);
                let found = self.seen(label).await?;
                self.usable(text, found)
            }
            Base::Table(name) => match table {
                Some(url) => self.fetch(name, url).await,
                None => Err(self.unknown(name).await?),
            },
            Base::Url(url) => self.url(url).await,
            Base::Name(name) => self.name(name, table).await,
        }
    }

    /// NVRAM templates are never fetched: a label, a reference or a bare blob UUID.
    async fn nvram(&mut self, text: &str) -> StoreResult<Option<String>> {
        let spelled = match sf_model::id::parse_hyphenated(text) {
            Some(uuid) => format!("sf://blob/{uuid}"),
            None => text.to_owned(),
        };
        let resolved = self.base(&spelled, None).await?;
        let unusable = || StoreError::missing(ObjectType::Blob, text);
        resolved.blob_uuid.map(Some).ok_or_else(unusable)
    }

    async fn artifact(
        &mut self,
        text: &str,
        uuid: ArtifactId,
        index: Option<u32>,
    ) -> StoreResult<ResolvedBase> {
        let found = self.seen(sql("a.uuid = ?").bind(uuid)).await?;
        let Some(index) = index else { return self.usable(text, found) };
        if found.is_empty() {
            return Err(StoreError::missing(ObjectType::Artifact, text));
        }
        let blob: Option<BlobId> = sql("SELECT blob_uuid AS value FROM artifact_versions \
             WHERE artifact_uuid = ? AND idx = ? AND deleted_at IS NULL")
        .bind(uuid)
        .bind(index)
        .value(self.conn)
        .await?;
        let blob = blob.ok_or_else(|| StoreError::missing(ObjectType::Artifact, text))?;
        Ok(ready(text.to_owned(), blob))
    }

    /// An address: fetched into an own artifact, unless a visible foreign one has it already.
    async fn url(&mut self, url: &str) -> StoreResult<ResolvedBase> {
        let found = self.seen(sql("a.artifact_type = 'image' AND a.source_url = ?").bind(url)).await?;
        let foreign = found
            .iter()
            .find(|c| c.namespace != self.namespace && c.state == "created" && c.blob_uuid.is_some());
        let own = found.iter().any(|c| c.namespace == self.namespace);
        match foreign {
            Some(candidate) if !own => self.current(url, candidate),
            _ => self.fetch(url, url).await,
        }
    }

    /// A bare name: own artifacts decide first; only if there are none, foreign ones together with the image table.
    async fn name(&mut self, name: &str, table: Option<&str>) -> StoreResult<ResolvedBase> {
        let mut own = self.named(sql("a.namespace = ?").bind(self.namespace), name, None).await?;
        if own.len() > 1 {
            return Err(ambiguous(name, own.iter().map(spelling).collect()));
        }
        if let Some(candidate) = own.pop() {
            return if is_fetched(&candidate) {
                Ok(refresh(&candidate))
            } else {
                self.current(name, &candidate)
            };
        }
        let foreign = self.named(sql("a.namespace <> ?").bind(self.namespace), name, table).await?;
        let same = |c: &&CandidateBase| {
            table.is_some()
                && c.artifact_type == "image"
                && (c.source_url == name || Some(c.source_url.as_str()) == table)
        };
        let mut meanings: Vec<&CandidateBase> = foreign.iter().filter(|c| !same(c)).collect();
        let equal = foreign.iter().find(same);
        meanings.extend(equal);
        match (meanings.as_slice(), table) {
            ([candidate], Some(_)) if equal.is_none() => {
                Err(ambiguous(name, vec![spelling(candidate), format!("image:{name}")]))
            }
            ([candidate], _) => self.current(name, candidate),
            ([], Some(url)) => self.fetch(name, url).await,
            ([], None) => Err(self.unknown(name).await?),
            (several, _) => Err(ambiguous(name, several.iter().map(|c| spelling(c)).collect())),
        }
    }

    /// The artifact of the target namespace that a source is fetched into, existing or to be made.
    async fn fetch(&mut self, source: &str, url: &str) -> StoreResult<ResolvedBase> {
        let known: Option<ArtifactId> = sql("SELECT uuid AS value FROM artifacts WHERE live_key = ?")
            .bind(super::live_key(self.namespace, "image", source))
            .value(self.conn)
            .await?;
        let artifact = match known {
            Some(artifact) => artifact,
            None => *self.fetches.entry(source.to_owned()).or_insert_with(ArtifactId::random),
        };
        Ok(ResolvedBase {
            resolved: format!("image fetched from {url}"),
            artifact_uuid: Some(artifact.to_string()),
            fetch_url: Some(source.to_owned()),
            ..ResolvedBase::default()
        })
    }

    fn usable(&self, text: &str, found: Vec<CandidateBase>) -> StoreResult<ResolvedBase> {
        let own: Vec<&CandidateBase> = found.iter().filter(|c| c.namespace == self.namespace).collect();
        match (own.as_slice(), found.as_slice()) {
            ([one], _) => self.current(text, one),
            ([], [one]) => self.current(text, one),
            ([], []) => Err(StoreError::missing(ObjectType::Artifact, text)),
            _ => Err(ambiguous(text, found.iter().map(spelling).collect())),
        }
    }

    /// The current version of a candidate, used as it is.
    fn current(&self, text: &str, candidate: &CandidateBase) -> StoreResult<ResolvedBase> {
        match (candidate.state.as_str(), candidate.blob_uuid) {
            (_, Some(blob)) => {
                let CandidateBase { artifact_type, uuid, namespace, .. } = candidate;
                Ok(ready(format!("{artifact_type} {uuid} of namespace {namespace}"), blob))
            }
            ("initial", None) => {
                Err(StoreError::precondition(NOT_READY, format!("artifact {text} is not ready yet")))
            }
            ("error", None) => {
                let message = format!("artifact {text} could not be fetched");
                Err(StoreError::precondition(reason::BAD_STATE, message))
            }
            _ => Err(StoreError::missing(ObjectType::Artifact, text)),
        }
    }

    async fn seen(&mut self, condition: Sql) -> StoreResult<Vec<CandidateBase>> {
        sql(SELECT)
            .append(condition)
            .push(" AND a.state <> 'deleted' AND ")
            .append(self.viewer.readable_artifact("a"))
            .push(" ORDER BY a.created_at, a.uuid LIMIT 20")
            .all(self.conn)
            .await
    }

    async fn named(
        &mut self,
        place: Sql,
        name: &str,
        table: Option<&str>,
    ) -> StoreResult<Vec<CandidateBase>> {
        let condition = sql(
            "(a.name = ? OR a.source_url = ? OR a.source_url = ?) AND a.state IN ('initial', 'created') AND ",
        )
        .bind(name)
        .bind(name)
        .bind(table)
        .append(place);
        self.seen(condition).await
    }

    async fn unknown(&mut self, name: &str) -> StoreResult<StoreError> {
        let known: Vec<String> =
            sql("SELECT DISTINCT a.name AS value FROM artifacts a WHERE a.state = 'created' AND ")
                .append(self.viewer.readable_artifact("a"))
                .push(" ORDER BY 1 LIMIT 500")
                .values(self.conn)
                .await?;
        let nearest = base::nearest(name, known).join(", ");
        let message = format!("no image has the name {name:?}");
        Ok(StoreError::precondition(UNKNOWN_IMAGE, message).with("nearest", nearest))
    }

    async fn add_facts(&mut self, bases: &mut [ResolvedBase]) -> StoreResult<()> {
        let ids: Vec<String> = bases.iter().filter_map(|base| base.blob_uuid.clone()).collect();
        if ids.is_empty() {
            return Ok(());
        }
        let facts: Vec<Facts> =
            sql("SELECT uuid, size, state, virtual_size, format FROM blobs WHERE uuid IN ")
                .list(&ids)
                .all(self.conn)
                .await?;
        for base in bases {
            let Some(blob) = base.blob_uuid.as_deref() else { continue };
            let known = facts.iter().find(|f| f.uuid == blob).filter(|f| f.state != "deleted");
            let fact = known.ok_or_else(|| StoreError::missing(ObjectType::Blob, blob))?;
            match (fact.state.as_str(), fact.size) {
                ("initial", _) => {
                    let message = format!("blob {blob} is not ready yet");
                    return Err(StoreError::precondition(NOT_READY, message));
                }
                ("created", 1..) => {}
                _ => {
                    let message = format!("blob {blob} cannot be the base of a disk");
                    return Err(StoreError::precondition(reason::BAD_STATE, message));
                }
            }
            base.virtual_size = fact.virtual_size;
            base.format = fact.format.clone();
        }
        Ok(())
    }
}

fn ready(resolved: String, blob: BlobId) -> ResolvedBase {
    ResolvedBase { resolved, blob_uuid: Some(blob.to_string()), ..ResolvedBase::default() }
}

/// An own image is asked for again by conditional request; its fetch joins one that is under way.
fn refresh(candidate: &CandidateBase) -> ResolvedBase {
    ResolvedBase {
        resolved: format!("image {} of namespace {}", candidate.uuid, candidate.namespace),
        artifact_uuid: Some(candidate.uuid.to_string()),
        fetch_url: Some(candidate.source_url.clone()),
        ..ResolvedBase::default()
    }
}

fn is_fetched(candidate: &CandidateBase) -> bool {
    candidate.artifact_type == "image" && !candidate.source_url.starts_with("sf://")
}

/// The spelling that means this candidate and nothing else.
fn spelling(candidate: &CandidateBase) -> String {
    if candidate.source_url.starts_with("sf://") {
        candidate.source_url.clone()
    } else {
        format!("sf://artifact/{}", candidate.uuid)
    }
}

fn ambiguous(name: &str, candidates: Vec<String>) -> StoreError {
    let message = format!("{name:?} means several images: use one of {}", candidates.join(", "));
    StoreError::precondition(AMBIGUOUS, message).with("candidates", candidates.join("\n"))
}
