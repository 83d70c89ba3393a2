//! One request: policy, resolution, conditions, redirects, and the checks of the answer before its first byte counts.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use http::header::{
    ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_RANGE, ETAG, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE,
    LAST_MODIFIED, LOCATION, RANGE, RETRY_AFTER,
};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use sf_blobs::journal::Validators;
use url::{Host, Url};

use super::error::{FetchError, host, shown, transport};
use super::resolver::Resolver;
use crate::policy::{PolicyRefusal, UrlPolicy};

/// Redirects that are followed.
pub const MAX_REDIRECTS: usize = 5;
const MAX_HEADER_BYTES: usize = 64 << 10;
const CONNECT: Duration = Duration::from_secs(10);

/// Fetches files under a policy. Cheap to clone.
#[derive(Clone)]
pub struct Fetcher {
    /// Where files may come from.
    pub policy: Arc<UrlPolicy>,
    /// How names are resolved.
    pub resolver: Arc<dyn Resolver>,
    /// A proxy that resolves names instead of us (`HTTP_PROXY_SERVER`).
    pub proxy: Option<Url>,
    /// How long no byte may arrive (`IMAGE_FETCH_IDLE_TIMEOUT`).
    pub idle: Duration,
}

/// What is already known about a file.
#[derive(Debug, Clone, Default)]
pub struct Conditions {
    /// Skip the download when the file is still the one these describe.
    pub known: Option<Validators>,
    /// Go on at this byte if the file is still the one these describe.
    pub resume: Option<(u64, Validators)>,
}

/// The origin's answer.
pub enum Opened {
    /// The file is still the known one.
    NotModified,
    /// The file follows.
    Body(Box<Body>),
}

/// A file on its way.
pub struct Body {
    response: reqwest::Response,
    url: Url,
    /// What the origin says about this version of the file. `url` is the one that was asked for.
    pub validators: Validators,
    /// When it was last changed.
    pub modified: Option<DateTime<Utc>>,
    /// Where in the file the body starts: 0, or where a resumption was asked for.
    pub offset: u64,
    /// Size of the whole file when the origin announced it.
    pub size: Option<u64>,
    /// Whether the origin answers ranges, so that a broken download can go on.
    pub resumable: bool,
    idle: Duration,
}

impl Fetcher {
    /// Sends the request and follows redirects, checking every hop.
    ///
    /// # Errors
    /// See [`FetchError`].
    pub async fn open(&self, url: &Url, conditions: &Conditions) -> Result<Opened, FetchError> {
        let mut current = url.clone();
        let mut previous: Option<Url> = None;
        for _ in 0..=MAX_REDIRECTS {
            let response = self.request(&current, previous.as_ref(), conditions).await?;
            if !matches!(response.status().as_u16(), 301 | 302 | 303 | 307 | 308) {
                return self.judge(url, current, response, conditions);
            }
            let target = text(response.headers(), LOCATION).and_then(|target| current.join(target).ok());
            let Some(target) = target else {
                return Err(answer(&current, "a redirect to nowhere"));
            };
            previous = Some(std::mem::replace(&mut current, target));
        }
        Err(refused(&current, PolicyRefusal::Redirects(MAX_REDIRECTS)))
    }

    /// Reads a small text file, for example a list of checksums.
    ///
    /// # Errors
    /// As [`Fetcher::open`]; more than `limit` bytes are an error as well.
    pub async fn text(&self, url: &Url, limit: usize) -> Result<String, FetchError> {
        let Opened::Body(mut body) = self.open(url, &Conditions::default()).await? else {
            return Err(answer(url, "304 without being asked"));
        };
        let mut text = Vec::new();
        while let Some(bytes) = body.next().await? {
            text.extend_from_slice(&bytes);
            if text.len() > limit {
                return Err(FetchError::TooLarge { url: shown(url), limit: limit as u64 });
            }
        }
        Ok(String::from_utf8_lossy(&text).into_owned())
    }

    async fn request(
        &self,
        url: &Url,
        previous: Option<&Url>,
        conditions: &Conditions,
    ) -> Result<reqwest::Response, FetchError> {
        self.policy.check(url, previous).map_err(|refusal| refused(url, refusal))?;
        let client = self.client(url).await?;
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        if let Some((offset, validators)) = &conditions.resume {
            insert(&mut headers, RANGE, &format!("bytes={offset}-"));
            insert(&mut headers, IF_RANGE, validators.if_range().unwrap_or_default());
        } else if let Some(known) = &conditions.known {
            match (&known.etag, &known.last_modified) {
                (Some(tag), _) => insert(&mut headers, IF_NONE_MATCH, tag),
                (None, Some(date)) => insert(&mut headers, IF_MODIFIED_SINCE, date),
                (None, None) => {}
            }
        }
        let sent = client.get(url.clone()).headers(headers).send();
        match tokio::time::timeout(CONNECT + self.idle, sent).await {
            Ok(response) => response.map_err(|error| transport(url, &error)),
            Err(_) => Err(idle_timeout(url)),
        }
    }

    /// A client that can only connect to addresses that have been checked: names are overridden with them, so there
    /// is no second look-up that could give another answer.
    async fn client(&self, url: &Url) -> Result<reqwest::Client, FetchError> {
        let mut builder = reqwest::Client::builder()
            .http1_only()
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(CONNECT)
            .referer(false)
            .user_agent(concat!("sf-node/", env!("CARGO_PKG_VERSION")));
        builder = match &self.proxy {
            // The proxy resolves the name; what it may reach is its policy.
            Some(proxy) => {
                builder.proxy(reqwest::Proxy::all(proxy.clone()).map_err(|error| transport(url, &error))?)
            }
            None => builder.no_proxy(),
        };
        if let (None, Some(Host::Domain(name))) = (&self.proxy, url.host()) {
            let port = url.port_or_known_default().unwrap_or(0);
            let unresolved = |source| FetchError::Resolve { url: shown(url), host: name.to_owned(), source };
            let addresses = self.resolver.resolve(name, port).await.map_err(unresolved)?;
            if addresses.is_empty() {
                return Err(unresolved(std::io::Error::other("it has no address")));
            }
            for address in &addresses {
                self.policy.check_address(name, address.ip()).map_err(|refusal| refused(url, refusal))?;
            }
            builder = builder.resolve_to_addrs(name, &addresses);
        }
        builder.build().map_err(|error| transport(url, &error))
    }

    fn judge(
        &self,
        asked: &Url,
        url: Url,
        response: reqwest::Response,
        conditions: &Conditions,
    ) -> Result<Opened, FetchError> {
        let headers = response.headers();
        if headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum::<usize>()
            > MAX_HEADER_BYTES
        {
            return Err(answer(&url, "more than 64 KiB of headers"));
        }
        let status = response.status();
        if status == StatusCode::NOT_MODIFIED && conditions.known.is_some() && conditions.resume.is_none() {
            return Ok(Opened::NotModified);
        }
        if status == StatusCode::RANGE_NOT_SATISFIABLE && conditions.resume.is_some() {
            return Err(FetchError::Mismatch {
                url: shown(&url),
                what: "the file became shorter while it was fetched".to_owned(),
            });
        }
        if status != StatusCode::OK && status != StatusCode::PARTIAL_CONTENT {
            let retry_after = text(headers, RETRY_AFTER).and_then(parse_retry_after);
            return Err(FetchError::Status { url: shown(&url), host: host(&url), status, retry_after });
        }
        if text(headers, CONTENT_ENCODING).is_some_and(|encoding| !encoding.eq_ignore_ascii_case("identity"))
        {
            return Err(answer(&url, "with an encoding that was not asked for"));
        }
        let length = response.content_length();
        let (offset, size) = match (status, &conditions.resume) {
            (StatusCode::OK, _) => (0, length),
            (_, Some((offset, _))) => match text(headers, CONTENT_RANGE).and_then(parse_content_range) {
                Some((start, size)) if start == *offset => (start, size),
                _ => return Err(answer(&url, "another range than was asked for")),
            },
            _ => return Err(answer(&url, "a range that was not asked for")),
        };
        let own = |name| text(headers, name).map(str::to_owned);
        let validators = Validators {
            url: asked.to_string(),
            etag: own(ETAG),
            last_modified: own(LAST_MODIFIED),
            content_length: size,
        };
        if conditions.resume.is_none()
            && conditions.known.as_ref().is_some_and(|known| same_file(known, &validators))
        {
            return Ok(Opened::NotModified);
        }
        let modified = validators.last_modified.as_deref().and_then(parse_http_date);
        let ranges =
            text(headers, http::header::ACCEPT_RANGES).is_some_and(|unit| unit.eq_ignore_ascii_case("bytes"));
        let resumable = validators.if_range().is_some() && (ranges || offset > 0);
        Ok(Opened::Body(Box::new(Body {
            response,
            url,
            validators,
            modified,
            offset,
            size,
            resumable,
            idle: self.idle,
        })))
    }
}

impl Body {
    /// The next bytes; `None` at the end. An end before the announced one is an error.
    ///
    /// # Errors
    /// The connection broke, or nothing arrived for too long.
    pub async fn next(&mut self) -> Result<Option<bytes::Bytes>, FetchError> {
        match tokio::time::timeout(self.idle, self.response.chunk()).await {
            Ok(Ok(chunk)) => Ok(chunk),
            Ok(Err(error)) => Err(transport(&self.url, &error)),
            Err(_) => Err(idle_timeout(&self.url)),
        }
    }
}

/// A server that ignores conditions still tells that its file is the known one.
fn same_file(known: &Validators, now: &Validators) -> bool {
    match (&known.etag, &now.etag) {
        (Some(known), Some(now)) => known == now,
        _ => {
            known.last_modified.is_some()
                && known.last_modified == now.last_modified
                && known.content_length.is_some()
                && known.content_length == now.content_length
        }
    }
}

fn parse_content_range(value: &str) -> Option<(u64, Option<u64>)> {
    let (range, size) = value.trim().strip_prefix("bytes ")?.split_once('/')?;
    let start = range.split_once('-')?.0.trim().parse().ok()?;
    Some((start, size.trim().parse().ok()))
}

fn parse_retry_after(value: &str) -> Option<Duration> {
    match value.trim().parse::<u64>() {
        Ok(seconds) => Some(Duration::from_secs(seconds)),
        Err(_) => (parse_http_date(value)? - Utc::now()).to_std().ok(),
    }
}

fn parse_http_date(value: &str) -> Option<DateTime<Utc>> {
    DateTime::parse_from_rfc2822(value.trim()).ok().map(|date| date.to_utc())
}

fn text(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    headers.get(name)?.to_str().ok()
}

/// Values that came from an origin may hold anything; one that is not a header value is not sent.
fn insert(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}

fn refused(url: &Url, refusal: PolicyRefusal) -> FetchError {
    FetchError::Policy { url: shown(url), refusal }
}

fn answer(url: &Url, what: &str) -> FetchError {
    FetchError::Answer { url: shown(url), host: host(url), what: what.to_owned() }
}

fn idle_timeout(url: &Url) -> FetchError {
    FetchError::Transport {
        url: shown(url),
        host: host(url),
        cause: "no data for too long".to_owned(),
        permanent: false,
    }
}
