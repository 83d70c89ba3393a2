//! Other programs that rule over packets on this host.

use std::path::Path;

use serde_json::Value;
use sf_units::Role;

use crate::finding::Finding;
use crate::subject::Subject;

const UFW: &str = "/etc/ufw/ufw.conf";
const FIREWALLD: &str = "/run/firewalld";
const DNS: u16 = 53;

/// PF-CONFLICT.
pub(in crate::checks) fn conflicts(subject: &Subject) -> Vec<Finding> {
    let mut found = forward_drop(subject);
    found.extend(firewalls(subject));
    found.extend(name_server(subject));
    if found.is_empty() {
        found.push(Finding::pass("nothing else rules over packets here"));
    }
    found
}

/// A chain that drops what it does not know drops the traffic of guests, whatever our own rules say.
fn forward_drop(subject: &Subject) -> Vec<Finding> {
    let carrier = subject.input.is(Role::Network);
    let text = match subject.system.output("nft", &["--json", "list", "chains"]) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Vec::new(),
        Err(error) => return vec![Finding::skip(format!("nft: {error}"))],
    };
    let chains = match serde_json::from_str::<Value>(&text) {
        Ok(answer) => answer.get("nftables").and_then(Value::as_array).cloned().unwrap_or_default(),
        Err(error) => return vec![Finding::skip(format!("nft was not understood: {error}"))],
    };
    let dropping = chains.iter().filter_map(|entry| {
        let chain = entry.get("chain")?;
        let text = |field: &str| chain.get(field).and_then(Value::as_str).unwrap_or_default().to_owned();
        let foreign = !text("table").starts_with("sf_");
        let drops = text("hook") == "forward" && text("policy") == "drop" && text("family") != "bridge";
        (foreign && drops).then(|| format!("{} {} {}", text("family"), text("table"), text("name")))
    });
    let finding = |chain: String| {
        Finding::fail(format!("chain {chain} drops what it does not know"))
            .want("forwarded traffic of guests passes")
            .why("Docker and some firewalls set this policy")
            .fix("accept what comes from and goes to devices egr* and br-* in that chain (Docker: in DOCKER-USER)")
            .unless(!carrier)
    };
    dropping.map(finding).collect()
}

fn firewalls(subject: &Subject) -> Option<Finding> {
    let ufw = subject
        .system
        .read(Path::new(UFW))
        .is_ok_and(|text| text.lines().any(|line| line.trim() == "ENABLED=yes"));
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
    let listeners = subject.system.listeners().ok()?;
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::finding::Level;
    use crate::system::Listener;
    use crate::system::fake::changed;

    #[test]
    fn a_foreign_chain_that_drops_stops_a_carrier_and_warns_others() {
        let chain = |table: &str, policy: &str| {
            let text = serde_json::json!({ "nftables": [{ "chain": { "family": "ip", "table": table, "name": "FORWARD",
                "hook": "forward", "policy": policy } }] });
            changed(|system| drop(system.programs.insert("nft".into(), text.to_string())))
        };
        let mut docker = chain("filter", "drop");
        assert_eq!(conflicts(&docker)[0].level, Level::Fail);
        docker.input.roles = vec![Role::Hypervisor];
        assert_eq!(conflicts(&docker)[0].level, Level::Warn);
        assert_eq!(conflicts(&chain("filter", "accept"))[0].level, Level::Pass);
        assert_eq!(conflicts(&chain("sf_host", "drop"))[0].level, Level::Pass);
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
}
