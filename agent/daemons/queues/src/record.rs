//! How events of instances are worded.

use sf_events::{Event, event};
use sf_model::event::EventType;
use sf_model::object::ObjectType;
use sf_model::{InstanceId, NodeId};

/// Something a user or the system did to an instance.
pub(crate) fn audit(instance: InstanceId, message: &str) -> Event {
    event(EventType::Audit, message).object(ObjectType::Instance, instance)
}

/// Progress.
pub(crate) fn status(instance: InstanceId, message: &str) -> Event {
    event(EventType::Status, message).object(ObjectType::Instance, instance)
}

/// A changed attribute.
pub(crate) fn mutate(instance: InstanceId, message: &str) -> Event {
    event(EventType::Mutate, message).object(ObjectType::Instance, instance)
}

/// A diagnosis about the node.
pub(crate) fn health(node: NodeId, message: &str) -> Event {
    event(EventType::Health, message).object(ObjectType::Node, node)
}
