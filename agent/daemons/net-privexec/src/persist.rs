//! What must survive a restart of the worker, but not of the machine: epochs, generations and the floating block.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use ipnet::Ipv4Net;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use sf_model::NetworkId;
use sf_netstate::NetError;
use sf_netstate::intent::NetworkIntent;

use crate::error::PrivexecError;

/// Most networks remembered; networks that are gone are forgotten first.
const REMEMBERED: usize = 20_000;

/// The highest numbers applied since boot.
pub(crate) struct Applied {
    path: PathBuf,
    state: Mutex<State>,
}

#[derive(Default, Serialize, Deserialize)]
struct State {
    boot_id: String,
    floating_network: Option<Ipv4Net>,
    networks: HashMap<NetworkId, Numbers>,
}

/// Numbers of one network.
#[derive(Debug, Default, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Numbers {
    /// Fencing epoch.
    pub(crate) epoch: u64,
    /// Generation.
    pub(crate) generation: u64,
    gone: bool,
}

impl Applied {
    /// Reads what an earlier worker of the same boot wrote.
    pub(crate) fn load(dir: &Path) -> Result<Self, PrivexecError> {
        let failed = |path: &Path| {
            let path = path.display().to_string();
            move |source| PrivexecError::Path { path, source }
        };
        fs::create_dir_all(dir).map_err(failed(dir))?;
        let boot_id =
            fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_owned();
        let path = dir.join("applied.json");
        let known = fs::read(&path).ok().and_then(|bytes| serde_json::from_slice::<State>(&bytes).ok());
        let state = known.filter(|state| state.boot_id == boot_id);
        let state = state.unwrap_or_else(|| State { boot_id, ..State::default() });
        Ok(Self { path, state: Mutex::new(state) })
    }

    /// The numbers of a network, zero when it was never rendered.
    pub(crate) fn numbers(&self, network: NetworkId) -> Numbers {
        self.state.lock().networks.get(&network).copied().unwrap_or_default()
    }

    /// Refuses an intent that is older than what was applied.
    pub(crate) fn check(&self, intent: &NetworkIntent) -> Result<(), NetError> {
        let applied = self.numbers(intent.network);
        if intent.generation < applied.generation {
            return Err(stale("generation", intent.generation, applied.generation));
        }
        match &intent.carrier {
            Some(carrier) if carrier.epoch < applied.epoch => {
                Err(stale("epoch", carrier.epoch, applied.epoch))
            }
            _ => Ok(()),
        }
    }

    /// Remembers an applied intent.
    pub(crate) fn record(&self, intent: &NetworkIntent) {
        let mut state = self.state.lock();
        let numbers = state.networks.entry(intent.network).or_default();
        let before = (numbers.epoch, numbers.generation, numbers.gone);
        numbers.generation = intent.generation;
        numbers.epoch = intent.carrier.as_ref().map_or(numbers.epoch, |carrier| carrier.epoch);
        numbers.gone = !intent.present;
        if before == (numbers.epoch, numbers.generation, numbers.gone) {
            return;
        }
        if state.networks.len() > REMEMBERED {
            state.networks.retain(|_, numbers| !numbers.gone);
        }
        self.write(&state);
    }

    /// Takes the floating block of the first host intent after boot, and refuses another one.
    pub(crate) fn pin_floating(&self, block: Ipv4Net) -> Result<(), NetError> {
        let mut state = self.state.lock();
        match state.floating_network {
            Some(pinned) if pinned != block => Err(NetError::InvalidIntent(format!(
                "the floating block {block} differs from {pinned}, which this node uses since boot; \
                 restart sf-net-privexec after removing its state to change it"
            ))),
            Some(_) => Ok(()),
            None => {
                state.floating_network = Some(block);
                self.write(&state);
                Ok(())
            }
        }
    }

    /// Forgets everything, when everything was removed.
    pub(crate) fn clear(&self) {
        let _ = fs::remove_file(&self.path);
    }

    fn write(&self, state: &State) {
        let scratch = self.path.with_extension("new");
        let written = serde_json::to_vec(state)
            .map_err(std::io::Error::from)
            .and_then(|bytes| fs::write(&scratch, bytes))
            .and_then(|()| fs::rename(&scratch, &self.path));
        if let Err(error) = written {
            // The numbers still stand in memory; only a restart of this process would forget them.
            tracing::error!(%error, path = %self.path.display(), "the applied epochs could not be written");
        }
    }
}

fn stale(what: &'static str, offered: u64, applied: u64) -> NetError {
    NetError::Stale { what, offered, applied }
}
