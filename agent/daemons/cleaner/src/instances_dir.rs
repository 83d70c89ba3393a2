//! What is in the directory of instances.

use std::collections::BTreeSet;
use std::io;
use std::path::Path;

use sf_model::InstanceId;

/// Prefix of a directory whose removal began.
const DOOMED: &str = ".deleting-";

/// Directories by what their names say. Other names are not ours and not looked at.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Directories {
    /// Directories of instances.
    pub(crate) whole: BTreeSet<InstanceId>,
    /// Directories whose removal began.
    pub(crate) doomed: BTreeSet<InstanceId>,
}

impl Directories {
    /// Reads the names. A directory that does not exist is a store that is not there, which says nothing of instances.
    pub(crate) fn read(path: &Path) -> io::Result<Self> {
        let mut found = Self::default();
        for entry in std::fs::read_dir(path)? {
            let name = entry?.file_name();
            let Some(name) = name.to_str() else { continue };
            if let Some(rest) = name.strip_prefix(DOOMED) {
                found.doomed.extend(rest.parse::<InstanceId>().ok());
            } else {
                found.whole.extend(name.parse::<InstanceId>().ok());
            }
        }
        Ok(found)
    }

    /// Whether anything of the instance is here.
    pub(crate) fn has(&self, instance: InstanceId) -> bool {
        self.whole.contains(&instance) || self.doomed.contains(&instance)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_sorted_by_meaning() {
        let dir = tempfile::tempdir().unwrap();
        let (live, doomed) = (InstanceId::random(), InstanceId::random());
        std::fs::create_dir(dir.path().join(live.to_string())).unwrap();
        std::fs::create_dir(dir.path().join(format!(".deleting-{doomed}"))).unwrap();
        std::fs::write(dir.path().join("_heartbeat"), "").unwrap();
        let found = Directories::read(dir.path()).unwrap();
        assert_eq!((found.whole.len(), found.doomed.len()), (1, 1));
        assert!(found.has(live) && found.has(doomed) && !found.has(InstanceId::random()));
        assert!(
            Directories::read(&dir.path().join("absent")).is_err(),
            "a store that is not mounted holds no proof"
        );
    }
}
