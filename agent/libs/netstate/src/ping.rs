//! Ping from inside a namespace, reported like the usual tool does.

use std::net::Ipv4Addr;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, SockaddrIn, recv, sendto, setsockopt, sockopt};
use nix::sys::time::{TimeVal, TimeValLike};

use crate::error::NetError;
use crate::packet::{EchoReply, echo_request, parse_echo_reply};

/// Pause between two requests.
const SPACING: Duration = Duration::from_millis(200);
/// How long one answer is waited for.
const PATIENCE: Duration = Duration::from_secs(1);

/// What a ping showed.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct PingReport {
    /// Lines of the usual tool's output.
    pub lines: Vec<String>,
    /// Requests sent.
    pub sent: u32,
    /// Answers received.
    pub received: u32,
}

/// Sends `count` echo requests through a raw ICMP socket and waits for each answer.
pub fn ping(socket: BorrowedFd<'_>, target: Ipv4Addr, count: u32) -> Result<PingReport, NetError> {
    let failed = |error: Errno| NetError::io(format!("ping {target}"), error);
    let identifier = (std::process::id() ^ u32::from(target)) as u16;
    let mut report = PingReport {
        lines: vec![format!("PING {target} ({target}) 56(84) bytes of data.")],
        ..PingReport::default()
    };
    let started = Instant::now();
    let mut times = Vec::new();
    for sequence in 1..=count {
        let number = u16::try_from(sequence).unwrap_or(u16::MAX);
        let begun = Instant::now();
        let octets = target.octets();
        let address = SockaddrIn::new(octets[0], octets[1], octets[2], octets[3], 0);
        report.sent += 1;
        match sendto(socket.as_raw_fd(), &echo_request(identifier, number), &address, MsgFlags::empty()) {
            Ok(_) => {}
            Err(Errno::EHOSTUNREACH | Errno::ENETUNREACH | Errno::EPERM) => {
                report.lines.push(format!("From {target} icmp_seq={number} Destination Host Unreachable"));
                std::thread::sleep(SPACING);
                continue;
            }
            Err(error) => return Err(failed(error)),
        }
        if let Some((reply, elapsed)) = wait(socket, target, identifier, number, begun).map_err(failed)? {
            report.received += 1;
            times.push(elapsed);
            report.lines.push(format!(
                "{} bytes from {target}: icmp_seq={number} ttl={} time={:.3} ms",
                reply.length,
                reply.ttl,
                millis(elapsed)
            ));
        }
        if sequence < count {
            std::thread::sleep(SPACING.saturating_sub(begun.elapsed()));
        }
    }
    report.lines.extend(summary(target, &report, &times, started.elapsed()));
    Ok(report)
}

/// The answer to a request, and how long it took; `None` when it did not come in time.
pub(crate) fn wait(
    socket: BorrowedFd<'_>,
    target: Ipv4Addr,
    identifier: u16,
    sequence: u16,
    begun: Instant,
) -> Result<Option<(EchoReply, Duration)>, Errno> {
    let mut buffer = [0; 1_500];
    loop {
        let Some(left) = PATIENCE.checked_sub(begun.elapsed()).filter(|left| !left.is_zero()) else {
            return Ok(None);
        };
        let micros = i64::try_from(left.as_micros()).unwrap_or(1).max(1);
        setsockopt(&socket, sockopt::ReceiveTimeout, &TimeVal::microseconds(micros))?;
        match recv(socket.as_raw_fd(), &mut buffer, MsgFlags::empty()) {
            Ok(length) => {
                let reply = parse_echo_reply(buffer.get(..length).unwrap_or_default(), identifier);
                if let Some(reply) =
                    reply.filter(|reply| reply.source == target && reply.sequence == sequence)
                {
                    return Ok(Some((reply, begun.elapsed())));
                }
            }
            Err(Errno::EAGAIN) => return Ok(None),
            Err(Errno::EINTR) => {}
            Err(error) => return Err(error),
        }
    }
}

fn summary(target: Ipv4Addr, report: &PingReport, times: &[Duration], elapsed: Duration) -> Vec<String> {
    let lost = report.sent - report.received;
    let percent = (lost * 100).checked_div(report.sent).unwrap_or(0);
    let mut lines = vec![
        String::new(),
        format!("--- {target} ping statistics ---"),
        format!(
            "{} packets transmitted, {} received, {percent}% packet loss, time {}ms",
            report.sent,
            report.received,
            elapsed.as_millis()
        ),
    ];
    if let (Some(least), Some(most)) = (times.iter().min(), times.iter().max()) {
        let count = times.len() as f64;
        let mean = times.iter().map(|time| millis(*time)).sum::<f64>() / count;
        let spread = times.iter().map(|time| (millis(*time) - mean).powi(2)).sum::<f64>() / count;
        lines.push(format!(
            "rtt min/avg/max/mdev = {:.3}/{mean:.3}/{:.3}/{:.3} ms",
            millis(*least),
            millis(*most),
            spread.sqrt()
        ));
    }
    lines
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1_000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_summary_is_what_test_suites_parse() {
        let target = Ipv4Addr::new(10, 0, 0, 2);
        let report = PingReport { sent: 10, received: 9, ..PingReport::default() };
        let times = [Duration::from_micros(500), Duration::from_micros(1_500)];
        let lines = summary(target, &report, &times, Duration::from_millis(1_803));
        assert_eq!(lines[2], "10 packets transmitted, 9 received, 10% packet loss, time 1803ms");
        assert_eq!(lines[3], "rtt min/avg/max/mdev = 0.500/1.000/1.500/0.500 ms");
        let nothing =
            summary(target, &PingReport { sent: 10, ..PingReport::default() }, &[], Duration::from_secs(3));
        assert_eq!(nothing.len(), 3);
        assert!(nothing[2].contains("100% packet loss"));
    }
}
