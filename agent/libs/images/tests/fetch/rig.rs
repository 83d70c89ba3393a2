//! What every test needs: a store, a client that may reach loopback, and a record of what was reported.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use sf_blobs::Store;
use sf_blobs::hashing::{Algorithm, HasherSet};
use sf_blobs::journal::{Journal, Validators};
use sf_blobs::purpose::Purpose;
use sf_images::UrlPolicy;
use sf_images::checksum::Published;
use sf_images::fetch::{
    Download, DownloadLimits, FetchError, Fetcher, Observer, Outcome, Plan, Resolver, Room, SystemResolver,
    download,
};
use sf_model::BlobId;
use tokio_util::sync::CancellationToken;

use crate::origin::Origin;

/// A test's surroundings.
pub(crate) struct Rig {
    _root: tempfile::TempDir,
    pub(crate) store: Store,
    pub(crate) fetcher: Fetcher,
    pub(crate) limits: DownloadLimits,
    pub(crate) known: Option<Validators>,
    pub(crate) published: Option<Published>,
    pub(crate) journal: Journal,
    pub(crate) cancel: CancellationToken,
    pub(crate) reports: Reports,
}

#[derive(Default, Clone)]
pub(crate) struct Reports(Arc<Mutex<(u64, Vec<String>)>>);

impl Reports {
    pub(crate) fn received(&self) -> u64 {
        self.0.lock().unwrap().0
    }

    pub(crate) fn retries(&self) -> Vec<String> {
        self.0.lock().unwrap().1.clone()
    }
}

impl Observer for Reports {
    fn progress(&self, received: u64, _total: Option<u64>) {
        self.0.lock().unwrap().0 = received;
    }

    fn retrying(&self, _delay: Duration, cause: &FetchError) {
        self.0.lock().unwrap().1.push(cause.to_string());
    }
}

impl Rig {
    pub(crate) fn new(origin: &Origin) -> Self {
        let root = tempfile::tempdir().unwrap();
        let store = Store::open(root.path()).unwrap();
        let policy = UrlPolicy {
            ports: vec![origin.address.port()],
            loopback_for_tests: true,
            ..UrlPolicy::default()
        };
        Self {
            _root: root,
            store,
            fetcher: Fetcher {
                policy: Arc::new(policy),
                resolver: Arc::new(SystemResolver),
                proxy: None,
                idle: Duration::from_secs(20),
            },
            limits: DownloadLimits {
                max_bytes: 64 << 20,
                slow_limit: Duration::from_secs(600),
                delays: vec![Duration::ZERO; 3],
                room: Room::default(),
            },
            known: None,
            published: None,
            journal: Journal::new(Purpose::Fetch, BlobId::random()),
            cancel: CancellationToken::new(),
            reports: Reports::default(),
        }
    }

    pub(crate) fn with_resolver(mut self, resolver: impl Resolver + 'static) -> Self {
        self.fetcher.resolver = Arc::new(resolver);
        self
    }

    pub(crate) fn knowing(
        mut self,
        etag: Option<&str>,
        last_modified: Option<&str>,
        length: Option<u64>,
    ) -> Self {
        self.known = Some(Validators {
            url: String::new(),
            etag: etag.map(str::to_owned),
            last_modified: last_modified.map(str::to_owned),
            content_length: length,
        });
        self
    }

    pub(crate) async fn fetch(&self, url: &str) -> Result<Outcome, FetchError> {
        let plan =
            Plan { url: url.parse().unwrap(), known: self.known.clone(), published: self.published.clone() };
        download(
            &self.fetcher,
            &self.store,
            self.journal.clone(),
            &plan,
            &self.limits,
            &self.reports,
            &self.cancel,
        )
        .await
    }

    /// Fetches and checks that exactly `expected` is in staging, with the right hashes.
    pub(crate) async fn expect(&self, url: &str, expected: &[u8]) -> Download {
        let outcome = self.fetch(url).await.unwrap_or_else(|error| panic!("{error}"));
        let Outcome::Downloaded(download) = outcome else { panic!("nothing was downloaded") };
        assert!(std::fs::read(download.staged.path()).unwrap() == expected, "other bytes");
        let mut hashers = HasherSet::new(&Algorithm::INLINE);
        hashers.update(expected);
        assert_eq!(download.ingested.digests, hashers.finish());
        assert_eq!(download.ingested.size, expected.len() as u64);
        *download
    }

    pub(crate) async fn expect_error(&self, url: &str) -> FetchError {
        match self.fetch(url).await {
            Err(error) => error,
            Ok(_) => panic!("the fetch succeeded"),
        }
    }

    pub(crate) async fn expect_not_modified(&self, url: &str) {
        assert!(matches!(self.fetch(url).await, Ok(Outcome::NotModified)));
        assert!(self.staging_is_empty());
    }

    pub(crate) fn staging_is_empty(&self) -> bool {
        std::fs::read_dir(self.store.staging()).unwrap().count() == 0
    }
}

/// Bytes of which no two parts are alike.
pub(crate) fn file(length: usize) -> Vec<u8> {
    (0..length).map(|at| ((at * 2_654_435_761) >> 13) as u8).collect()
}
