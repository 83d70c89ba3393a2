//! The libvirt calls themselves. They run on a pool thread; every handle they make is dropped there.

use parking_lot::Mutex;
use sf_model::InstanceId;
use sf_model::disk::MachineType;
use virt::connect::Connect;
use virt::domain::Domain;
use virt::error::{Error, ErrorNumber};
use virt_sys as sys;

use super::events::{instance_of, state};
use crate::api::{DomainState, DomainSummary};
use crate::domain::{METADATA_NAMESPACE, parse_identity};

/// An action on one domain.
pub(super) type Action = fn(&Connect, InstanceId) -> Result<(), Error>;

/// Everything libvirt keeps for a domain goes with its definition.
const UNDEFINE_ALL: u32 = sys::VIR_DOMAIN_UNDEFINE_MANAGED_SAVE
    | sys::VIR_DOMAIN_UNDEFINE_SNAPSHOTS_METADATA
    | sys::VIR_DOMAIN_UNDEFINE_NVRAM
    | sys::VIR_DOMAIN_UNDEFINE_CHECKPOINTS_METADATA;

pub(super) fn capabilities(connection: &Connect, family: MachineType, virt: &str) -> Result<String, Error> {
    let machine = family.to_string();
    connection.get_domain_capabilities(None, Some(std::env::consts::ARCH), Some(&machine), Some(virt), 0)
}

pub(super) fn list(connection: &Connect) -> Result<Vec<DomainSummary>, Error> {
    let mut found = Vec::new();
    for domain in connection.list_all_domains(0)? {
        let name = domain.get_name()?;
        if let Some(instance) = instance_of(&name, domain.get_uuid()?) {
            // A domain that vanished while the list was read is not in the list.
            match summary(&domain, instance) {
                Err(error) if error.code() == virt::error::ErrorNumber::NoDomain => {}
                summary => found.push(summary?),
            }
        }
    }
    Ok(found)
}

pub(super) fn lookup(connection: &Connect, instance: InstanceId) -> Result<DomainSummary, Error> {
    summary(&by_id(connection, instance)?, instance)
}

/// One definition at a time. The validator fills tables of its types when it is first used, and two that do so at the same time
/// may find them half filled: a good document is refused then.
static DEFINING: Mutex<()> = Mutex::new(());

/// Defines with schema validation and answers the document as libvirt keeps it.
pub(super) fn define(connection: &Connect, _instance: InstanceId, xml: &str) -> Result<String, Error> {
    let _alone = DEFINING.lock();
    let domain = Domain::define_xml_flags(connection, xml, sys::VIR_DOMAIN_DEFINE_VALIDATE)?;
    domain.get_xml_desc(sys::VIR_DOMAIN_XML_INACTIVE)
}

pub(super) fn start(connection: &Connect, instance: InstanceId) -> Result<(), Error> {
    by_id(connection, instance)?.create().map(drop)
}

pub(super) fn destroy(connection: &Connect, instance: InstanceId) -> Result<(), Error> {
    by_id(connection, instance)?.destroy()
}

/// A driver that does not know the flags gets a plain call.
pub(super) fn undefine(connection: &Connect, instance: InstanceId) -> Result<(), Error> {
    let domain = by_id(connection, instance)?;
    domain.undefine_flags(UNDEFINE_ALL).or_else(|_| domain.undefine())
}

pub(super) fn request_reboot(connection: &Connect, instance: InstanceId) -> Result<(), Error> {
    by_id(connection, instance)?.reboot(sys::VIR_DOMAIN_REBOOT_ACPI_POWER_BTN)
}

pub(super) fn reset(connection: &Connect, instance: InstanceId) -> Result<(), Error> {
    by_id(connection, instance)?.reset().map(drop)
}

pub(super) fn suspend(connection: &Connect, instance: InstanceId) -> Result<(), Error> {
    by_id(connection, instance)?.suspend().map(drop)
}

pub(super) fn resume(connection: &Connect, instance: InstanceId) -> Result<(), Error> {
    by_id(connection, instance)?.resume().map(drop)
}

pub(super) fn document(connection: &Connect, instance: InstanceId) -> Result<String, Error> {
    by_id(connection, instance)?.get_xml_desc(sys::VIR_DOMAIN_XML_SECURE)
}

pub(super) fn is_paused(summary: Option<&DomainSummary>) -> bool {
    summary.is_some_and(|summary| summary.state == DomainState::Paused)
}

pub(super) fn is_running(summary: Option<&DomainSummary>) -> bool {
    summary.is_some_and(|summary| summary.state == DomainState::Running)
}

fn by_id(connection: &Connect, instance: InstanceId) -> Result<Domain, Error> {
    Domain::lookup_by_uuid(connection, instance.as_uuid())
}

fn summary(domain: &Domain, instance: InstanceId) -> Result<DomainSummary, Error> {
    let (number, reason) = domain.get_state()?;
    let active = domain.is_active()?;
    // That there is none is libvirt's own answer; any other failure says nothing about whose the domain is.
    let metadata = |impact: u32| {
        let kind = i32::try_from(sys::VIR_DOMAIN_METADATA_ELEMENT).unwrap_or(2);
        match domain.get_metadata(kind, Some(METADATA_NAMESPACE), impact) {
            Ok(xml) => Ok(parse_identity(&xml)),
            Err(error) if error.code() == ErrorNumber::NoDomainMetadata => Ok(None),
            Err(error) => Err(error),
        }
    };
    let defined = match metadata(sys::VIR_DOMAIN_AFFECT_CONFIG) {
        // It runs, and somebody took its definition away: it has none to read.
        Err(error) if error.code() == ErrorNumber::OperationInvalid => None,
        defined => defined?,
    };
    let defined_spec = defined.as_ref().map(|identity| identity.spec.clone());
    let io_error =
        number == sys::VIR_DOMAIN_PAUSED && u32::try_from(reason) == Ok(sys::VIR_DOMAIN_PAUSED_IOERROR);
    let identity = match active.then(|| metadata(sys::VIR_DOMAIN_AFFECT_LIVE)) {
        None => defined,
        Some(Ok(running)) => running,
        // It stopped in between.
        Some(Err(error)) if error.code() == ErrorNumber::OperationInvalid => defined,
        Some(Err(error)) => return Err(error),
    };
    Ok(DomainSummary { instance, state: state(number), io_error, active, identity, defined_spec })
}
