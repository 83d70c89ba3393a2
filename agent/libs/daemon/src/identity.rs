//! Which node this is.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use sf_config::NodeConfig;
use sf_model::NodeId;
use uuid::Uuid;

use crate::error::DaemonError;

/// Name and UUID of this node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeIdentity {
    /// Identity for ever.
    pub uuid: NodeId,
    /// Name, unique in the cluster.
    pub name: String,
}

impl NodeIdentity {
    /// The identity as far as it exists; nothing is made.
    ///
    /// # Errors
    /// The file cannot be read or understood.
    pub fn known(config: &NodeConfig) -> Result<Option<Self>, DaemonError> {
        let path = config.storage_path.join("node_uuid");
        if config.node_uuid.is_none() {
            match fs::exists(&path) {
                Ok(false) => return Ok(None),
                Ok(true) => {}
                Err(source) => return Err(DaemonError::Identity { path, source }),
            }
        }
        Self::load(config).map(Some)
    }

    /// The configured identity, or the one in `{storage_path}/node_uuid`, which is made on first use.
    ///
    /// # Errors
    /// The file cannot be read, written or understood.
    pub fn load(config: &NodeConfig) -> Result<Self, DaemonError> {
        let path = config.storage_path.join("node_uuid");
        let uuid = match config.node_uuid {
            Some(uuid) => uuid,
            None => read_or_create(&path).map_err(|source| DaemonError::Identity { path, source })?,
        };
        Ok(Self { uuid: NodeId::from_uuid(uuid), name: config.node_name.clone() })
    }
}

/// Several daemons may start at once: the first link wins, and all read what it holds.
fn read_or_create(path: &Path) -> io::Result<Uuid> {
    if !path.try_exists()? {
        let draft = path.with_extension(format!("{}", Uuid::new_v4()));
        if let Some(directory) = path.parent() {
            fs::create_dir_all(directory)?;
        }
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o644).open(&draft)?;
        writeln!(file, "{}", Uuid::new_v4())?;
        file.sync_all()?;
        let linked = fs::hard_link(&draft, path);
        fs::remove_file(&draft)?;
        match linked {
            Err(e) if e.kind() != io::ErrorKind::AlreadyExists => return Err(e),
            _ => {}
        }
    }
    let text = fs::read_to_string(path)?;
    text.trim().parse().map_err(|e| io::Error::new(io::ErrorKind::InvalidData, format!("not a UUID: {e}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_identity_is_made_once_even_by_many_at_once() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("store/node_uuid");
        let made: Vec<Uuid> = std::thread::scope(|scope| {
            let makers: Vec<_> = (0..8).map(|_| scope.spawn(|| read_or_create(&path).unwrap())).collect();
            makers.into_iter().map(|maker| maker.join().unwrap()).collect()
        });
        assert!(made.windows(2).all(|pair| pair[0] == pair[1]));
        assert_eq!(fs::read_dir(dir.path().join("store")).unwrap().count(), 1, "no draft is left");
    }
}
