//! Sends announcements at once and again after 1, 3 and 10 seconds (`networking.md` §7.5).

use std::net::Ipv4Addr;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use sf_model::NetworkId;
use sf_netstate::NetError;
use sf_netstate::announce::announce;
use sf_netstate::render::Namespaces;

use crate::error::PrivexecError;
use crate::helper::OpenKind;
use crate::spaces::Spaces;

/// When an announcement is repeated, counted from the first.
const REPEATS: [Duration; 3] = [Duration::from_secs(1), Duration::from_secs(3), Duration::from_secs(10)];
/// Pause per frame: at most 200 frames per second leave a node.
const PER_FRAME: Duration = Duration::from_millis(5);

/// A network whose addresses are announced.
struct Job {
    due: Instant,
    network: NetworkId,
}

/// Hands networks to the announcing thread.
pub(crate) struct Announcer {
    jobs: Sender<Job>,
}

impl Announcer {
    /// Starts the thread. It ends when the announcer is dropped.
    pub(crate) fn start(spaces: Arc<Spaces>) -> Result<Self, PrivexecError> {
        let (jobs, receiver) = channel();
        std::thread::Builder::new()
            .name("announcer".into())
            .spawn(move || run(&receiver, &spaces))
            .map_err(|error| PrivexecError::Thread(error.to_string()))?;
        Ok(Self { jobs })
    }

    /// Announces every address of the network, now and three times more.
    pub(crate) fn announce(&self, network: NetworkId) {
        let now = Instant::now();
        for delay in [Duration::ZERO].into_iter().chain(REPEATS) {
            // A closed channel means the daemon is ending.
            let _ = self.jobs.send(Job { due: now + delay, network });
        }
    }
}

/// Announces once, at the caller's pace. Returns how many were sent and how many could not be.
pub(crate) fn send_now(
    spaces: &Spaces,
    network: NetworkId,
    only: &[Ipv4Addr],
) -> Result<(u32, u32), NetError> {
    let open = |index: u32| -> Result<OwnedFd, NetError> { spaces.open(network, OpenKind::Packet(index)) };
    announce(spaces, network, &open, only)
}

fn run(jobs: &Receiver<Job>, spaces: &Spaces) {
    let mut waiting: Vec<Job> = Vec::new();
    loop {
        let next = waiting.iter().map(|job| job.due).min();
        let patience =
            next.map_or(Duration::from_secs(3_600), |due| due.saturating_duration_since(Instant::now()));
        match jobs.recv_timeout(patience) {
            Ok(job) => {
                waiting.push(job);
                continue;
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
        let now = Instant::now();
        let (mut due, later): (Vec<Job>, Vec<Job>) = waiting.into_iter().partition(|job| job.due <= now);
        waiting = later;
        due.sort_by_key(|job| job.network);
        due.dedup_by_key(|job| job.network);
        for job in due {
            let frames = once(spaces, job.network);
            std::thread::sleep(PER_FRAME * frames);
        }
    }
}

fn once(spaces: &Spaces, network: NetworkId) -> u32 {
    // The network may be gone by the time of a repeat.
    if !matches!(spaces.exists(network), Ok(true)) {
        return 0;
    }
    match send_now(spaces, network, &[]) {
        Ok((sent, failed)) => {
            metrics::counter!("sf_net_announcements_total", "outcome" => "sent").increment(sent.into());
            metrics::counter!("sf_net_announcements_total", "outcome" => "failed").increment(failed.into());
            sent + failed
        }
        Err(error) => {
            metrics::counter!("sf_net_announcements_total", "outcome" => "failed").increment(1);
            tracing::debug!(%network, %error, "announcements could not be sent");
            0
        }
    }
}
