//! Interfaces of instances. They are made and removed inside the transactions of instances, all or none.

mod create;
mod delete;
mod view;

pub use create::{NewInterfaces, create};
pub use delete::{delete_of_instance, delete_these};
pub use view::{get, list, load_of_instances};

use sf_model::{InterfaceId, ObjectRef, ObjectType};

/// Schema version of the view.
const VERSION: u32 = 1;
/// Reason of a refusal of a network description: answered with 400.
pub const BAD_INTERFACE: &str = "bad-interface";

pub(super) fn object(interface: InterfaceId) -> ObjectRef {
    ObjectRef::new(ObjectType::Interface, interface)
}
