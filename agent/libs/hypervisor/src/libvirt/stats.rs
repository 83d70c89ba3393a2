//! From libvirt's flat statistics to typed counters.

use crate::api::{DiskStats, DomainStats, InterfaceStats};
use crate::ffi::libvirt::{StatRecord, StatValue};

use super::events::instance_of;

/// Counters of one record. `None`: not an instance.
pub(super) fn counters(record: &StatRecord) -> Option<DomainStats> {
    let instance = instance_of(&record.domain.name, record.domain.uuid)?;
    let number = |field: &str| match record.fields.get(field) {
        Some(StatValue::Number(value)) => u64::try_from(*value).unwrap_or(0),
        _ => 0,
    };
    let text = |field: String| match record.fields.get(&field) {
        Some(StatValue::Text(value)) => value.clone(),
        _ => String::new(),
    };
    let disks = (0..number("block.count"))
        .map(|index| {
            let field = |name: &str| number(&format!("block.{index}.{name}"));
            DiskStats {
                device: text(format!("block.{index}.name")),
                read_requests: field("rd.reqs"),
                read_bytes: field("rd.bytes"),
                write_requests: field("wr.reqs"),
                write_bytes: field("wr.bytes"),
                errors: field("errors"),
            }
        })
        .collect();
    let interfaces = (0..number("net.count"))
        .map(|index| {
            let direction = |way: &str| {
                ["bytes", "pkts", "errs", "drop"].map(|what| number(&format!("net.{index}.{way}.{what}")))
            };
            InterfaceStats {
                tap: text(format!("net.{index}.name")),
                rx: direction("rx"),
                tx: direction("tx"),
            }
        })
        .collect();
    Some(DomainStats {
        instance,
        raw_state: i64::try_from(number("state.state")).unwrap_or(0),
        cpu_time_ns: number("cpu.time"),
        cpu_user_ns: number("cpu.user"),
        cpu_system_ns: number("cpu.system"),
        disks,
        interfaces,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ffi::libvirt::RawDomain;
    use sf_model::InstanceId;

    #[test]
    fn flat_fields_become_devices() {
        let instance = InstanceId::random();
        let fields = [
            ("block.count", StatValue::Number(1)),
            ("block.0.name", StatValue::Text("vda".into())),
            ("block.0.wr.bytes", StatValue::Number(512)),
            ("net.count", StatValue::Number(1)),
            ("net.0.name", StatValue::Text("tap1".into())),
            ("net.0.rx.pkts", StatValue::Number(3)),
            ("net.0.tx.drop", StatValue::Number(9)),
            ("cpu.time", StatValue::Number(77)),
        ];
        let domain = RawDomain { name: format!("sf:{instance}"), uuid: instance.as_uuid() };
        let record = StatRecord {
            domain,
            fields: fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect(),
        };
        let stats = counters(&record).unwrap();
        assert_eq!((stats.cpu_time_ns, stats.disks.len(), stats.interfaces.len()), (77, 1, 1));
        assert_eq!((stats.disks[0].device.as_str(), stats.disks[0].write_bytes), ("vda", 512));
        assert_eq!((stats.interfaces[0].rx[1], stats.interfaces[0].tx[3]), (3, 9));
    }
}
