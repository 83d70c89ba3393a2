//! Looking at this host: whether acceleration works, and whether the host is fit for what it is meant to run.

mod facts;
mod virt;

use std::io::{self, Read};
use std::net::Ipv4Addr;
use std::path::Path;

use anyhow::Context;
use serde_json::json;
use sf_config::NodeConfig;
use sf_netstate::netlink::NftSocket;
use sf_netstate::nft::observe;
use sf_preflight::system::RealSystem;
use sf_preflight::{Finding, Input, Level, Probes, Subject, VirtState};
use sf_units::Role;

use crate::answer::{Answer, table};
use crate::failure::{Exit, Failure};
pub(crate) use virt::run as virt;

/// `probe`: the input is one JSON object on standard input.
pub(crate) fn host() -> Result<Answer, Failure> {
    let mut text = String::new();
    std::io::stdin().read_to_string(&mut text).context("standard input cannot be read")?;
    let input = Input::parse(&text).map_err(|error| Failure::new(Exit::Config, error))?;
    // Before any thread exists: it starts a process of its own.
    let networks = input.is(Role::Hypervisor) || input.is(Role::Network);
    let kernel = if networks { kernel(&input.node) } else { Ok(()) };
    let cluster = crate::run::runtime()?.block_on(facts::gather(&input));
    let probes =
        HostProbes { node: input.node.clone(), allow_emulation: input.settings.allow_emulation, kernel };
    let subject = Subject { input, system: Box::new(RealSystem), probes: Box::new(probes), cluster };
    report(&sf_preflight::run(subject))
}

fn report(found: &[Finding]) -> Result<Answer, Failure> {
    let count = |level| found.iter().filter(|finding| finding.level == level).count();
    let fields = json!({
        "checks": found,
        "summary": { "pass": count(Level::Pass), "warn": count(Level::Warn), "fail": count(Level::Fail), "skip": count(Level::Skip) },
    });
    let shown = found.iter().filter(|finding| finding.level >= Level::Warn);
    let rows = shown.map(|finding| {
        let word = if finding.level == Level::Fail { "fail" } else { "warn" };
        [finding.id, word, &finding.got, &finding.fix].map(str::to_owned).to_vec()
    });
    let answer = Answer::new(fields, table(&["check", "level", "found", "what to do"], rows));
    match count(Level::Fail) {
        0 => Ok(answer),
        failed => {
            let why = format!("{failed} checks failed\n{}", answer.text);
            Err(Failure::say(Exit::Refused, why).showing(answer))
        }
    }
}

struct HostProbes {
    node: NodeConfig,
    allow_emulation: bool,
    kernel: Result<(), String>,
}

impl Probes for HostProbes {
    fn is_ours(&self, device: &str) -> bool {
        sf_netstate::names::is_ours(device)
    }

    fn virt(&self) -> VirtState {
        let report = virt::probe_host(Some(&self.node), self.allow_emulation, true);
        let lacks_emulator = report.only_the_canary_failed() && !Path::new(virt::QEMU).exists();
        VirtState { failure: report.failure(), virt_type: report.virt_type, lacks_emulator }
    }

    fn passes(&self, member: Ipv4Addr, bytes: u32) -> io::Result<bool> {
        sf_netstate::path::passes(member, bytes)
    }

    fn forward_drops(&self) -> Result<Vec<String>, String> {
        let read = || observe::foreign_forward_drops(&mut NftSocket::open()?);
        read().map_err(|error| error.to_string())
    }

    fn libvirt(&self) -> Result<String, String> {
        sf_hypervisor::libvirt::version(&self.node.libvirt_uri)
    }

    fn kernel(&self) -> Result<(), String> {
        self.kernel.clone()
    }
}

fn kernel(node: &NodeConfig) -> Result<(), String> {
    let options = sf_daemon_net_privexec::Options::from_config(node);
    sf_daemon_net_privexec::kernel(&options).map_err(|error| error.to_string())
}
