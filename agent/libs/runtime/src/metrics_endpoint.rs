//! Prometheus: one recorder per process, one endpoint per daemon.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::Router;
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use axum::routing::get;
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use tokio::net::TcpListener;

use crate::shutdown::Shutdown;

/// Bucket bounds of what takes time, seconds: from a query to the transfer of a large image.
const SECONDS: [f64; 18] = [
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1_800.0,
    7_200.0,
];
/// Bucket bounds of sizes, bytes: up to the largest message of the mesh.
const BYTES: [f64; 8] = [256.0, 1_024.0, 4_096.0, 16_384.0, 65_536.0, 262_144.0, 1_048_576.0, 4_194_304.0];
/// Bucket bounds of how many steps something took.
const STEPS: [f64; 9] = [1.0, 2.0, 3.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0];
/// How often the recorder folds samples into buckets; without it histograms grow between scrapes.
const UPKEEP: Duration = Duration::from_secs(5);

/// Why metrics cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum MetricsError {
    /// The recorder cannot be built or installed.
    #[error("metrics cannot be recorded: {0}")]
    Recorder(String),
    /// The port cannot be used.
    #[error("metrics cannot be served on {address}: {source}; is another process using the port?")]
    Listen {
        /// Where.
        address: SocketAddr,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// The recorder of the process. Cheap to clone.
#[derive(Clone)]
pub struct Metrics {
    handle: PrometheusHandle,
}

impl Metrics {
    /// Makes the recorder of this process. To be called once, before anything is counted.
    ///
    /// # Errors
    /// Another recorder is installed.
    pub fn install() -> Result<Self, MetricsError> {
        let metrics = Self::build()?;
        let (recorder, metrics) = metrics;
        metrics::set_global_recorder(recorder).map_err(|e| MetricsError::Recorder(e.to_string()))?;
        Ok(metrics)
    }

    fn build() -> Result<(metrics_exporter_prometheus::PrometheusRecorder, Self), MetricsError> {
        let builder = PrometheusBuilder::new()
            .set_buckets(&SECONDS)
            .and_then(|b| b.set_buckets_for_metric(Matcher::Suffix("_bytes".to_owned()), &BYTES))
            .and_then(|b| b.set_buckets_for_metric(Matcher::Suffix("_length".to_owned()), &STEPS))
            .map_err(|e| MetricsError::Recorder(e.to_string()))?;
        let recorder = builder.build_recorder();
        let handle = recorder.handle();
        Ok((recorder, Self { handle }))
    }

    /// The text of a scrape.
    pub fn render(&self) -> String {
        self.handle.render()
    }

    /// Declares what every daemon exposes.
    pub fn announce(daemon: &str, version: &'static str) {
        metrics::gauge!("sf_build_info", "version" => version, "daemon" => daemon.to_owned()).set(1.0);
        let started = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
        metrics::gauge!("sf_start_time_seconds", "daemon" => daemon.to_owned()).set(started);
        metrics::gauge!("config_restart_required").set(0.0);
    }

    /// Listens on `address`:`port` and serves `GET /metrics` until shutdown; any other path is 404.
    ///
    /// # Errors
    /// The port cannot be used.
    pub async fn serve(&self, address: IpAddr, port: u16, shutdown: &Shutdown) -> Result<(), MetricsError> {
        let address = SocketAddr::new(address, port);
        let listener =
            TcpListener::bind(address).await.map_err(|source| MetricsError::Listen { address, source })?;
        let upkeep = self.handle.clone();
        let ending = shutdown.clone();
        tokio::spawn(async move {
            while ending.unless(tokio::time::sleep(UPKEEP)).await.is_some() {
                upkeep.run_upkeep();
            }
        });
        let router = self.router();
        let ending = shutdown.clone();
        tokio::spawn(async move {
            let served =
                axum::serve(listener, router).with_graceful_shutdown(async move { ending.requested().await });
            if let Err(error) = served.await {
                tracing::error!(%error, "the metrics endpoint ended");
            }
        });
        Ok(())
    }

    fn router(&self) -> Router {
        Router::new().route("/metrics", get(scrape)).with_state(self.clone())
    }
}

async fn scrape(State(metrics): State<Metrics>) -> impl IntoResponse {
    ([(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], metrics.render())
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use axum::http::{Request, StatusCode};
    use http_body_util::BodyExt;
    use tower::ServiceExt;

    use super::*;

    #[test]
    fn a_histogram_has_the_buckets_of_what_it_measures() {
        let (recorder, metrics) = Metrics::build().unwrap();
        metrics::with_local_recorder(&recorder, || {
            metrics::histogram!("some_seconds").record(900.0);
            metrics::histogram!("some_bytes").record(900.0);
            metrics::histogram!("some_length").record(4.0);
        });
        let text = metrics.render();
        for (line, count) in [
            ("some_seconds_bucket{le=\"300\"}", 0),
            ("some_seconds_bucket{le=\"1800\"}", 1),
            ("some_bytes_bucket{le=\"256\"}", 0),
            ("some_bytes_bucket{le=\"1024\"}", 1),
            ("some_length_bucket{le=\"3\"}", 0),
            ("some_length_bucket{le=\"5\"}", 1),
        ] {
            assert!(text.contains(&format!("{line} {count}\n")), "{line}: {text}");
        }
    }

    #[tokio::test]
    async fn only_the_metrics_path_answers() {
        let (recorder, metrics) = Metrics::build().unwrap();
        metrics::with_local_recorder(&recorder, || Metrics::announce("sf-test", "1.2.3"));
        let ask = |path: &str| Request::builder().uri(path).body(Body::empty()).unwrap();
        let reply = metrics.router().oneshot(ask("/metrics")).await.unwrap();
        assert_eq!(reply.status(), StatusCode::OK);
        let text = String::from_utf8(reply.into_body().collect().await.unwrap().to_bytes().to_vec()).unwrap();
        assert!(text.contains("sf_build_info{version=\"1.2.3\",daemon=\"sf-test\"} 1"), "{text}");
        for path in ["/", "/metrics/x", "/debug"] {
            assert_eq!(
                metrics.router().oneshot(ask(path)).await.unwrap().status(),
                StatusCode::NOT_FOUND,
                "{path}"
            );
        }
    }
}
