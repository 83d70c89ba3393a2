//! What every daemon's process needs, whatever it does: signals and drain, progress-based liveness, readiness for the
//! service manager, JSON logs, the Prometheus endpoint, the context of the request being served, and the one way to run
//! a periodic loop.

pub mod context;
mod liveness;
pub mod log;
mod metrics_endpoint;
pub mod notify;
mod periodic;
mod shutdown;
mod status;
mod tasks;

pub use context::{RequestContext, TraceParent};
pub use liveness::{DEFAULT_SILENCE, Late, Liveness, LoopTick};
pub use metrics_endpoint::{Metrics, MetricsError};
pub use periodic::{Loop, Pass};
pub use shutdown::Shutdown;
pub use status::StatusLine;
pub use tasks::Tasks;
