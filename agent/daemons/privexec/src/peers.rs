//! Who may ask for what. User names are resolved once, at start.

use std::collections::HashMap;

use nix::unistd::{Uid, User};
use sf_protos::privexec::request::Operation;

/// What a caller may ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// Everything: root itself, which could do it without the helper.
    All,
    /// Directories, disks and processes of instances.
    Instances,
    /// The image tools.
    Images,
}

/// Users with a role.
const USERS: [(&str, Role); 2] = [("shakenfist", Role::Instances), ("sf-transfers", Role::Images)];

/// Roles by uid.
#[derive(Debug)]
pub(crate) struct Peers(HashMap<u32, Role>);

impl Peers {
    /// Resolves the known users; one that does not exist here has no role.
    pub(crate) fn resolve() -> Self {
        let mut roles = HashMap::from([(0, Role::All)]);
        // In a rootless test the own user takes root's place.
        roles.insert(Uid::effective().as_raw(), Role::All);
        for (name, role) in USERS {
            match User::from_name(name) {
                Ok(Some(user)) => {
                    roles.entry(user.uid.as_raw()).or_insert(role);
                }
                Ok(None) => {}
                Err(error) => {
                    tracing::warn!(user = name, %error, "user cannot be looked up and has no access")
                }
            }
        }
        Self(roles)
    }

    /// The role of a uid; `None`: the connection is closed.
    pub(crate) fn role(&self, uid: u32) -> Option<Role> {
        self.0.get(&uid).copied()
    }
}

impl Role {
    /// Whether the role covers an operation.
    pub(crate) fn allows(self, operation: &Operation) -> bool {
        let image = matches!(operation, Operation::InspectImage(_) | Operation::ConvertImage(_));
        match self {
            Self::All => true,
            Self::Instances => !image,
            Self::Images => image,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sf_protos::privexec::{InspectImage, RemoveInstanceDir};

    #[test]
    fn who_parses_images_may_not_touch_instances() {
        let remove = Operation::RemoveInstanceDir(RemoveInstanceDir::default());
        let inspect = Operation::InspectImage(InspectImage::default());
        assert!(Role::Instances.allows(&remove) && !Role::Instances.allows(&inspect));
        assert!(Role::Images.allows(&inspect) && !Role::Images.allows(&remove));
        assert_eq!(Peers(HashMap::new()).role(1234), None);
    }
}
