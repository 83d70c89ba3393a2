//! Whether the mesh carries what its devices promise.

use std::net::{IpAddr, Ipv4Addr};

use crate::finding::Finding;
use crate::subject::Subject;

/// Bytes that get through every Ethernet, tunnels included.
const SMALL: u32 = 1400;

/// PF-PMTU.
pub(in crate::checks) fn path(subject: &Subject) -> Vec<Finding> {
    let wanted = subject.input.settings.min_mesh_mtu;
    let found = subject.input.settings.members.iter().filter_map(ipv4).find_map(|member| {
        match subject.probes.passes(member, wanted.min(SMALL)) {
            Ok(true) => Some(through(subject, member, wanted)),
            Ok(false) => None,
            Err(error) => Some(unknown(&error)),
        }
    });
    vec![found.unwrap_or_else(|| Finding::skip("no other member of the mesh answers echo requests"))]
}

fn through(subject: &Subject, member: Ipv4Addr, wanted: u32) -> Finding {
    match subject.probes.passes(member, wanted) {
        Ok(true) => Finding::pass(format!("packets of {wanted} bytes reach {member} in one piece")),
        Ok(false) => Finding::fail(format!("{member} answers packets of {SMALL} bytes, but not of {wanted}"))
            .want(format!("a mesh that carries {wanted} bytes in one piece"))
            .why("large frames between guests would be lost without a word")
            .fix("raise the MTU of every switch port and device between the two hosts (jumbo frames), or lower sf_min_mesh_mtu for all hosts"),
        Err(error) => unknown(&error),
    }
}

fn unknown(error: &std::io::Error) -> Finding {
    Finding::skip(format!("echo requests cannot be sent: {error}"))
}

fn ipv4(address: &IpAddr) -> Option<Ipv4Addr> {
    match address {
        IpAddr::V4(address) => Some(*address),
        IpAddr::V6(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::finding::Level;
    use crate::system::fake::{FakeProbes, probes, subject};

    /// What is said of a mesh whose members take packets up to these sizes.
    fn found(wanted: u32, members: &[(&str, u32)]) -> Finding {
        let mut subject = subject(&[]);
        subject.input.settings.min_mesh_mtu = wanted;
        subject.input.settings.members = members.iter().map(|(member, _)| member.parse().unwrap()).collect();
        let paths = members.iter().filter_map(|(member, most)| Some((member.parse().ok()?, *most))).collect();
        subject.probes = Box::new(FakeProbes { paths, ..probes() });
        path(&subject).remove(0)
    }

    #[test]
    fn the_first_member_that_answers_tells_what_the_mesh_carries() {
        assert_eq!(found(9000, &[("10.0.0.2", 0), ("10.0.0.3", 9000)]).level, Level::Pass);
        let small = found(9000, &[("10.0.0.2", 0), ("10.0.0.3", 1500)]);
        assert_eq!((small.level, small.got.contains("10.0.0.3")), (Level::Fail, true));
        assert_eq!(found(1280, &[("10.0.0.2", 1300)]).level, Level::Pass, "a mesh of tunnels");
    }

    #[test]
    fn a_mesh_in_which_nobody_answers_is_not_judged() {
        assert_eq!(found(1500, &[("10.0.0.2", 0), ("fd00::1", 9000)]).level, Level::Skip);
        let mut subject = subject(&[]);
        subject.input.settings.members = vec!["10.0.0.9".parse().unwrap()];
        assert_eq!(path(&subject)[0].level, Level::Skip, "the socket is refused");
    }
}
