//! From what the user wrote to a URL and a checksum to hold the bytes against.

use ipnet::IpNet;
use sf_images::checksum::{ListFormat, Published, find_in_list, parse_request};
use sf_images::fetch::{FetchError, Fetcher, shown};
use sf_images::policy::UrlPolicy;
use sf_images::table::TableImage;
use std::net::IpAddr;
use std::sync::Arc;
use url::Url;

use crate::error::WorkError;
use crate::service::Service;

/// Longest list of checksums or versions that is read, in bytes.
const MAX_LIST: usize = 4 << 20;

const NO_TABLE: &str = "the image table of this node could not be read yet; sf-ctl config check says why";

/// Where to fetch from, and how to know that it is right.
#[derive(Debug)]
pub(crate) struct Source {
    pub(crate) url: Url,
    checksum: Expected,
}

#[derive(Debug)]
enum Expected {
    Nothing,
    Given(Published),
    Listed { url: String, format: ListFormat, required: bool },
}

impl Service {
    /// The client that fetches under the present policy.
    pub(crate) fn fetcher(&self) -> Fetcher {
        let cluster = self.ctx.cluster.current();
        let config = &self.ctx.config;
        let own = [Some(config.node_mesh_ip), config.node_egress_ip];
        let gateways =
            config.gateway_endpoints().into_iter().filter_map(|(host, _)| host.parse::<IpAddr>().ok());
        let deny = own
            .into_iter()
            .flatten()
            .chain(gateways)
            .chain(self.peers.addresses())
            .map(IpNet::from)
            .collect();
        let policy = UrlPolicy {
            allow: cluster.image_fetch_allow.clone(),
            deny,
            ports: cluster.image_fetch_ports.clone(),
            hosts: cluster.image_fetch_hosts.clone(),
            mirror: Url::parse(&cluster.image_download_url)
                .ok()
                .and_then(|url| url.host_str().map(str::to_owned)),
            loopback_for_tests: false,
        };
        let proxy = config.http_proxy_server.as_deref().and_then(|text| match Url::parse(text) {
            Ok(url) => Some(url),
            Err(error) => {
                tracing::error!(%error, "http_proxy_server is not a URL and is not used");
                None
            }
        });
        Fetcher {
            policy: Arc::new(policy),
            resolver: Arc::clone(&self.resolver),
            proxy,
            idle: cluster.image_fetch_idle_timeout,
        }
    }

    /// Resolves a URL or short name.
    ///
    /// # Errors
    /// The name is unknown, the URL is not permitted, or the listing of versions cannot be read.
    pub(crate) async fn find_source(
        &self,
        fetcher: &Fetcher,
        text: &str,
        checksum: Option<&str>,
    ) -> Result<Source, SourceError> {
        let given = match checksum {
            Some(text) => {
                let (algorithm, value) =
                    parse_request(text).map_err(|error| SourceError::Permanent(error.to_string()))?;
                Some(Published::Proof(algorithm, value))
            }
            None => None,
        };
        if text.contains("://") {
            let url = parse_permitted(&fetcher.policy, text)?;
            return Ok(Source { url, checksum: given.map_or(Expected::Nothing, Expected::Given) });
        }
        let table = self.table.load_full();
        let table = table
            .ok_or_else(|| SourceError::Unknown(format!("what {text} means is not known: {NO_TABLE}")))?;
        let image = table.resolve(text);
        let image =
            image.ok_or_else(|| SourceError::Permanent(format!("no image is known by the name {text}")))?;
        let image = newest(fetcher, image).await?;
        let url = parse_permitted(&fetcher.policy, &image.url)?;
        let listed = image.checksum_url.zip(image.checksum_format);
        let checksum = match (given, listed) {
            (Some(given), _) => Expected::Given(given),
            (None, Some((url, format))) => Expected::Listed { url, format, required: image.require_checksum },
            (None, None) => Expected::Nothing,
        };
        Ok(Source { url, checksum })
    }
}

impl Source {
    /// The value the bytes must have; read from the published list when there is one.
    ///
    /// # Errors
    /// A required value cannot be had now.
    pub(crate) async fn published(&self, fetcher: &Fetcher) -> Result<Option<Published>, FetchError> {
        match &self.checksum {
            Expected::Nothing => Ok(None),
            Expected::Given(published) => Ok(Some(published.clone())),
            Expected::Listed { url, format, required } => {
                match read_list(fetcher, url, *format, &self.url).await {
                    Ok(published) => Ok(Some(published)),
                    Err(error) if *required => Err(error),
                    Err(error) => {
                        tracing::info!(%error, "the published checksum is not used");
                        Ok(None)
                    }
                }
            }
        }
    }
}

/// Why there is no source.
#[derive(Debug)]
pub(crate) enum SourceError {
    /// Asking again gives the same.
    Permanent(String),
    /// Nothing is known until the operator has mended something.
    Unknown(String),
    /// The fetch of a listing failed.
    Fetch(FetchError),
}

impl From<SourceError> for WorkError {
    fn from(error: SourceError) -> Self {
        match error {
            SourceError::Permanent(text) => Self::Failed(text),
            SourceError::Unknown(text) => Self::Unavailable(text),
            SourceError::Fetch(error) => error.into(),
        }
    }
}

async fn newest(fetcher: &Fetcher, image: TableImage) -> Result<TableImage, SourceError> {
    let Some(latest) = &image.latest else { return Ok(image) };
    let listing = parse_permitted(&fetcher.policy, &latest.url)?;
    let page = fetcher.text(&listing, MAX_LIST).await.map_err(SourceError::Fetch)?;
    match latest.newest(&page) {
        Some(tag) => Ok(image.with_tag(&tag)),
        None => {
            Err(SourceError::Permanent(format!("{} names no version of {}", shown(&listing), image.name)))
        }
    }
}

fn parse_permitted(policy: &UrlPolicy, text: &str) -> Result<Url, SourceError> {
    policy.parse(text).map_err(|refusal| {
        metrics::counter!("image_fetch_policy_refusals_total", "rule" => refusal.rule()).increment(1);
        let clean = Url::parse(text).map_or_else(|_| "the source".to_owned(), |url| shown(&url));
        SourceError::Permanent(format!("{clean}: {refusal}"))
    })
}

async fn read_list(
    fetcher: &Fetcher,
    list: &str,
    format: ListFormat,
    image: &Url,
) -> Result<Published, FetchError> {
    let failed = |what: &str| FetchError::Checksum { url: list.to_owned(), what: what.to_owned() };
    let url = fetcher.policy.parse(list).map_err(|refusal| failed(&refusal.to_string()))?;
    let text = fetcher.text(&url, MAX_LIST).await?;
    let file = image.path_segments().and_then(|mut segments| segments.next_back()).unwrap_or_default();
    find_in_list(format, &text, file).ok_or_else(|| failed("the image is not in the list of checksums"))
}
