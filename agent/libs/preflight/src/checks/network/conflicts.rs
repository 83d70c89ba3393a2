//! Other programs that rule over packets and devices on this host.

use std::io;
use std::path::Path;

use sf_units::Role;

use crate::finding::Finding;
use crate::subject::Subject;

const UFW: &str = "/etc/ufw/ufw.conf";
const FIREWALLD: &str = "/run/firewalld";
/// Tables of the older packet filter, which nftables does not show; there while its kernel module is loaded.
const LEGACY_TABLES: &str = "/proc/net/ip_tables_names";
const DNS: u16 = 53;

/// PF-CONFLICT.
pub(in crate::checks) fn conflicts(subject: &Subject) -> Vec<Finding> {
    let mut found = forward_drop(subject);
    found.extend(legacy_forward_drop(subject));
    found.extend(firewalls(subject));
    found.extend(name_server(subject));
    found.extend(network_manager(subject));
    if found.is_empty() {
        found.push(Finding::pass("nothing else rules over packets here"));
    }
    found
}

/// A chain that drops what it does not know drops the traffic of guests, whatever our own rules say.
fn forward_drop(subject: &Subject) -> Vec<Finding> {
    match subject.probes.forward_drops() {
        Ok(chains) => chains.iter().map(|chain| drops(subject, chain)).collect(),
        Err(error) => vec![Finding::skip(format!("the chains of nftables cannot be read: {error}"))],
    }
}

fn legacy_forward_drop(subject: &Subject) -> Option<Finding> {
    let tables = match subject.system.read(Path::new(LEGACY_TABLES)) {
        Ok(tables) => tables,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
        Err(error) => return Some(Finding::skip(format!("{LEGACY_TABLES}: {error}"))),
    };
    if !tables.lines().any(|table| table == "filter") {
        return None;
    }
    // All chains: a rule of the operator is where the owner of the policy wants it, for Docker in DOCKER-USER.
    match subject.system.output("iptables-legacy", &["--list-rules"]) {
        Ok(rules) if rules.contains("-P FORWARD DROP") && !rules.contains("egr-br-") => {
            Some(drops(subject, "FORWARD of iptables-legacy"))
        }
        Ok(_) => None,
        Err(error) => Some(Finding::skip(format!("the rules of iptables-legacy cannot be read: {error}"))),
    }
}

fn drops(subject: &Subject, chain: &str) -> Finding {
    Finding::fail(format!("chain {chain} drops what it does not know"))
        .want("forwarded traffic of guests passes")
        .why("Docker and some firewalls set this policy")
        .fix("accept what comes from and what goes to devices egr-br-* there (Docker: iptables -I DOCKER-USER -i egr-br-+ -j ACCEPT, and the same with -o)")
        .unless(!subject.input.is(Role::Network))
}

fn firewalls(subject: &Subject) -> Option<Finding> {
    let ufw = match subject.system.read(Path::new(UFW)) {
        Ok(text) => text.lines().any(|line| line.trim() == "ENABLED=yes"),
        Err(error) if error.kind() == io::ErrorKind::NotFound => false,
        Err(error) => return Some(Finding::skip(format!("{UFW}: {error}"))),
    };
    let firewalld = subject.system.exists(Path::new(FIREWALLD));
    let name = if ufw { "ufw" } else { "firewalld" };
    (ufw || firewalld).then(|| {
        Finding::warn(format!("{name} is active"))
            .want("the ports of docs/reference/ports.md are open between the nodes")
            .why("it may close ports of the daemons and drop traffic of guests")
            .fix("open them, or turn it off")
    })
}

fn name_server(subject: &Subject) -> Option<Finding> {
    let listeners = match subject.system.listeners() {
        Ok(listeners) => listeners,
        Err(error) => return Some(Finding::skip(format!("listening sockets cannot be listed: {error}"))),
    };
    let everywhere = listeners.iter().find(|listener| {
        listener.port == DNS && listener.address.is_unspecified() && listener.program == "dnsmasq"
    })?;
    Some(
        Finding::warn(format!("dnsmasq listens on {}:{DNS}", everywhere.address))
            .want("dnsmasq on named devices only")
            .why("it would answer on the devices of networks")
            .fix("set bind-interfaces and interface= in its configuration"),
    )
}

/// A network manager that takes a device of ours takes its addresses off, and starts DHCP on it.
fn network_manager(subject: &Subject) -> Option<Finding> {
    let asked = subject.system.output("nmcli", &["--terse", "--fields", "DEVICE,STATE", "device"]);
    let devices = match asked {
        Ok(devices) => devices,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
        Err(error) if error.to_string().contains("is not running") => return None,
        Err(error) => return Some(Finding::skip(format!("the devices of NetworkManager: {error}"))),
    };
    let managed: Vec<&str> = devices
        .lines()
        .filter_map(|line| line.split_once(':'))
        .filter(|(device, state)| subject.probes.is_ours(device) && *state != "unmanaged")
        .map(|(device, _)| device)
        .collect();
    (!managed.is_empty()).then(|| {
        Finding::warn(format!("NetworkManager manages {}", managed.join(", ")))
            .want("the agent alone configures its devices")
            .why("it takes addresses off them and starts DHCP there")
            .fix("look for a file in /etc/NetworkManager/conf.d that overrides unmanaged-devices of shakenfist.conf, then `nmcli general reload`")
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::finding::Level;
    use crate::system::Listener;
    use crate::system::fake::{FakeProbes, FakeSystem, changed, probes, subject};

    #[test]
    fn a_foreign_chain_that_drops_stops_a_carrier_and_warns_others() {
        let mut docker = subject(&[]);
        let chains = || Ok(vec!["ip filter FORWARD".to_owned()]);
        docker.probes = Box::new(FakeProbes { forward_drops: chains(), ..probes() });
        assert_eq!(conflicts(&docker)[0].level, Level::Fail);
        docker.input.roles = vec![Role::Hypervisor];
        assert_eq!(conflicts(&docker)[0].level, Level::Warn);
    }

    #[test]
    fn what_cannot_be_read_is_not_taken_for_nothing() {
        let mut blind = subject(&[]);
        blind.probes = Box::new(FakeProbes { forward_drops: Err("not permitted".into()), ..probes() });
        let found = conflicts(&blind);
        assert!(found.len() == 1 && found[0].level == Level::Skip, "{found:?}");
        let deaf = changed(|system| system.blind_to_listeners = true);
        assert_eq!(conflicts(&deaf)[0].level, Level::Skip);
    }

    #[test]
    fn the_older_filter_is_asked_where_it_is_in_use() {
        let with = |rules: Option<&str>| {
            changed(|system| {
                system.files.insert(LEGACY_TABLES.into(), "nat\nfilter\n".into());
                system.programs.extend(rules.map(|rules| ("iptables-legacy".to_owned(), rules.to_owned())));
            })
        };
        assert_eq!(conflicts(&with(Some("-P FORWARD DROP\n")))[0].level, Level::Fail);
        assert_eq!(conflicts(&with(Some("-P FORWARD ACCEPT\n")))[0].level, Level::Pass);
        let decided = "-P INPUT ACCEPT\n-P FORWARD DROP\n-N DOCKER-USER\n-A FORWARD -j DOCKER-USER\n\
            -A DOCKER-USER -i egr-br-+ -j ACCEPT\n-A DOCKER-USER -o egr-br-+ -j ACCEPT\n";
        assert_eq!(conflicts(&with(Some(decided)))[0].level, Level::Pass);
        assert_eq!(conflicts(&with(None))[0].level, Level::Skip, "the program is missing");
    }

    #[test]
    fn firewalls_and_name_servers_are_pointed_out() {
        let ufw = changed(|system| drop(system.files.insert(UFW.into(), "ENABLED=yes\n".into())));
        assert_eq!(conflicts(&ufw)[0].level, Level::Warn);
        let off = changed(|system| drop(system.files.insert(UFW.into(), "ENABLED=no\n".into())));
        assert_eq!(conflicts(&off)[0].level, Level::Pass);
        let address = "0.0.0.0".parse().unwrap();
        let dns = Listener { protocol: "udp", address, port: 53, pid: Some(1), program: "dnsmasq".into() };
        assert_eq!(conflicts(&changed(|system| system.listeners.push(dns)))[0].level, Level::Warn);
    }

    #[test]
    fn a_device_of_ours_in_the_hands_of_network_manager_is_pointed_out() {
        let with = |devices: &str| {
            let say = |system: &mut FakeSystem| drop(system.programs.insert("nmcli".into(), devices.into()));
            conflicts(&changed(say))[0].level
        };
        assert_eq!(with("eth0:connected\negr-br-eth0:connected\n"), Level::Warn);
        assert_eq!(with("eth0:connected\negr-br-eth0:unmanaged\n"), Level::Pass);
    }
}
