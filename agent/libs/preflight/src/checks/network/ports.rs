//! Ports that somebody else has.

use sf_units::unit;

use crate::finding::Finding;
use crate::subject::Subject;
use crate::system::Listener;

/// How our programs are called: every thread keeps the name of its executable until it is given its own.
const OURS: [&str; 2] = ["sf-node", "sf-ctl"];

/// PF-PORT.
pub(in crate::checks) fn ports(subject: &Subject) -> Vec<Finding> {
    let listeners = match subject.system.listeners() {
        Ok(listeners) => listeners,
        Err(error) => return vec![Finding::skip(format!("listening sockets cannot be listed: {error}"))],
    };
    let configured = subject.input.node.ports();
    let mut found = Vec::new();
    for daemon in &subject.input.daemons {
        for port in unit(*daemon).map(|unit| unit.port_list()).unwrap_or_default() {
            let number =
                configured.iter().find(|(key, _)| *key == port.key).map_or(port.port, |(_, number)| *number);
            let taken = listeners.iter().find(|listener| {
                listener.port == number && port.protocol.contains(listener.protocol) && !is_ours(listener)
            });
            if let Some(listener) = taken {
                found.push(conflict(number, &daemon.program(), port.key, listener));
            }
        }
    }
    if found.is_empty() {
        found.push(Finding::pass("no port of this host's daemons is taken"));
    }
    found
}

fn is_ours(listener: &Listener) -> bool {
    OURS.contains(&listener.program.as_str()) || listener.program.starts_with("sf-")
}

fn conflict(number: u16, program: &str, key: &str, listener: &Listener) -> Finding {
    let who = match listener.pid {
        Some(pid) => format!("{} (pid {pid})", listener.program),
        None => "a process that cannot be seen".to_owned(),
    };
    Finding::fail(format!("{}/{number} on {} is taken by {who}", listener.protocol, listener.address))
        .want(format!("a free port for {program}"))
        .why("the daemon could not listen")
        .fix(format!("stop {who}, or choose another {key} in sf_ports"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::finding::Level;
    use crate::system::fake::{FakeSystem, subject_of};

    fn with(protocol: &'static str, port: u16, program: &str) -> Vec<Finding> {
        let address = "0.0.0.0".parse().unwrap();
        let listener = Listener { protocol, address, port, pid: Some(9), program: program.into() };
        ports(&subject_of(FakeSystem { listeners: vec![listener], ..FakeSystem::default() }, &[]))
    }

    #[test]
    fn a_port_of_the_set_that_somebody_else_has_is_named() {
        let taken = with("tcp", 13000, "nginx");
        assert!(taken[0].level == Level::Fail && taken[0].got.contains("nginx (pid 9)"));
        assert_eq!(with("udp", 13015, "other")[0].level, Level::Fail, "the mesh probe");
        for (protocol, port, program) in
            [("tcp", 13000, "sf-node"), ("udp", 13000, "other"), ("tcp", 13014, "other")]
        {
            assert_eq!(with(protocol, port, program)[0].level, Level::Pass, "{protocol} {port} {program}");
        }
    }
}
