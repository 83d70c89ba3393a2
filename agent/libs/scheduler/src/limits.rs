//! The formulas of `scheduler.md` §3, one function each. The gateway, the ranking, `/admin/resources` and the tests all
//! call these, so there is one arithmetic.

use crate::amounts::Amounts;

/// GiB charged for config drive and NVRAM together.
pub const AUXILIARY_DISK_GB: i64 = 1;

const GIB: f64 = 1_073_741_824.0;

/// Threads that guests may use: all but the reserved ones, and at least one.
pub const fn cpu_schedulable(threads: u32, reserved_threads: u32) -> u32 {
    let rest = threads.saturating_sub(reserved_threads);
    if rest == 0 { 1 } else { rest }
}

/// MiB kept for the host: the configured reservation, but never more than half the machine.
pub fn memory_reserved_mb(reservation_gb: f64, memory_max_mb: u64) -> u64 {
    let reserved = ceil_to_u64(reservation_gb * 1024.0);
    reserved.min(memory_max_mb / 2)
}

/// vCPUs that may be promised, unfloored, as `/admin/resources` shows it.
pub fn cpu_hard_max(cpu_schedulable: u32, overcommit: f64) -> f64 {
    f64::from(cpu_schedulable) * sane(overcommit)
}

/// vCPUs that may be promised.
pub fn limit_cpus(cpu_schedulable: u32, overcommit: f64) -> i64 {
    floor_to_i64(cpu_hard_max(cpu_schedulable, overcommit))
}

/// MiB that may be promised. The reservation comes off before the ratio, because host memory is not shared with
/// guests; a ratio above one needs kernel same-page merging to be running.
pub fn limit_memory_mb(memory_max_mb: u64, reserved_mb: u64, ksm_active: bool, overcommit: f64) -> i64 {
    let ratio = if ksm_active { sane(overcommit) } else { sane(overcommit).min(1.0) };
    floor_to_i64(memory_max_mb.saturating_sub(reserved_mb) as f64 * ratio)
}

/// GiB of virtual disk that may be promised. It counts what instances could occupy in total, so that capacity already
/// promised is not granted again while sparse disks fill.
pub fn limit_disk_gb(free_bytes: u64, allocated_bytes: u64, reservation_gb: f64, overcommit: f64) -> i64 {
    let possible = free_bytes.saturating_add(allocated_bytes) as f64 / GIB - sane(reservation_gb);
    floor_to_i64(possible.max(0.0) * sane(overcommit))
}

/// GiB physically left above the reservation; without any, nothing is admitted. May be negative.
pub fn disk_headroom_gb(free_bytes: u64, reservation_gb: f64) -> i64 {
    floor_to_i64((free_bytes as f64 / GIB).floor() - sane(reservation_gb))
}

/// GiB charged for the disks of an instance: the sizes given, the virtual size of the base (in bytes) where no size was
/// given and the base is known, and `unsized_gb` where neither is; plus one for config drive and NVRAM together.
pub fn disk_charge_gb(
    disks: impl IntoIterator<Item = (Option<u64>, Option<u64>)>,
    unsized_gb: u64,
    has_auxiliary: bool,
) -> i64 {
    let auxiliary = if has_auxiliary { AUXILIARY_DISK_GB } else { 0 };
    disks
        .into_iter()
        .map(|(size_gb, base_bytes)| {
            size_gb.or_else(|| base_bytes.map(|bytes| bytes.div_ceil(1 << 30))).unwrap_or(unsized_gb)
        })
        .fold(auxiliary, |sum, gb| sum.saturating_add(i64::try_from(gb).unwrap_or(i64::MAX)))
}

/// The load still expected of admissions made `age_seconds` ago and earlier; it halves every `half_life_seconds`.
pub fn decayed_demand(expected: f64, age_seconds: f64, half_life_seconds: f64) -> f64 {
    let age = age_seconds.max(0.0);
    let decayed = sane(expected) * (-age / half_life_seconds.max(1e-9)).exp2();
    if decayed.is_finite() { decayed } else { 0.0 }
}

/// What the cluster can promise: the limits of open nodes and what is used on closed ones. A closed node offers no
/// headroom and its stranded usage cancels out, so its failure does not refuse creates elsewhere.
pub fn cluster_total(nodes: impl IntoIterator<Item = (bool, Amounts, Amounts)>) -> Amounts {
    nodes
        .into_iter()
        .fold(Amounts::default(), |sum, (open, limit, used)| sum.plus(if open { limit } else { used }))
}

/// A factor or reservation that is not a number counts as zero: it then promises nothing.
fn sane(value: f64) -> f64 {
    if value.is_finite() { value.max(0.0) } else { 0.0 }
}

fn floor_to_i64(value: f64) -> i64 {
    // `as` saturates and maps NaN to zero.
    value.floor() as i64
}

fn ceil_to_u64(value: f64) -> u64 {
    sane(value).ceil() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    const GB: u64 = 1 << 30;

    #[test]
    fn threads_and_vcpus() {
        for (threads, reserved, expected) in [(8, 2, 6), (2, 2, 1), (1, 0, 1), (1, 5, 1), (0, 0, 1)] {
            assert_eq!(cpu_schedulable(threads, reserved), expected, "{threads}-{reserved}");
        }
        for (threads, ratio, expected) in
            [(6, 3.0, 18), (1, 0.1, 0), (3, 1.5, 4), (u32::MAX, 64.0, 274_877_906_880), (4, f64::NAN, 0)]
        {
            assert_eq!(limit_cpus(threads, ratio), expected, "{threads}x{ratio}");
        }
    }

    #[test]
    fn memory() {
        for (gb, max, expected) in
            [(2.0, 16_384, 2048), (2.0, 2048, 1024), (0.0, 100, 0), (0.0001, 100, 1), (1e300, 10, 5)]
        {
            assert_eq!(memory_reserved_mb(gb, max), expected, "{gb} of {max}");
        }
        for (max, reserved, ksm, ratio, expected) in [
            (16_384, 2048, false, 1.0, 14_336),
            (16_384, 2048, false, 3.0, 14_336),
            (16_384, 2048, true, 3.0, 43_008),
            (16_384, 2048, true, 0.5, 7168),
            (16_384, 2048, false, 0.5, 7168),
            (1024, 4096, true, 3.0, 0),
            (u64::MAX, 0, true, 8.0, i64::MAX),
        ] {
            assert_eq!(
                limit_memory_mb(max, reserved, ksm, ratio),
                expected,
                "{max}-{reserved} {ksm} {ratio}"
            );
        }
    }

    #[test]
    fn disk() {
        for (free, allocated, reservation, ratio, expected) in [
            (120 * GB, 0, 20.0, 5.0, 500),
            (0, 120 * GB, 20.0, 5.0, 500),
            (0, 0, 20.0, 5.0, 0),
            (20 * GB, 0, 20.0, 5.0, 0),
            (20 * GB + GB / 2, 0, 20.0, 5.0, 2),
            (u64::MAX, u64::MAX, 0.0, 100.0, 1_717_986_918_400),
        ] {
            assert_eq!(limit_disk_gb(free, allocated, reservation, ratio), expected, "{free} {allocated}");
        }
        for (free, reservation, expected) in [
            (120 * GB, 20.0, 100),
            (20 * GB, 20.0, 0),
            (0, 20.0, -20),
            (21 * GB - 1, 20.0, 0),
            (5 * GB, 0.5, 4),
        ] {
            assert_eq!(disk_headroom_gb(free, reservation), expected, "{free} {reservation}");
        }
    }

    #[test]
    fn the_disk_limit_does_not_grow_when_sparse_disks_fill() {
        let before = limit_disk_gb(100 * GB, 0, 20.0, 5.0);
        let after = limit_disk_gb(60 * GB, 40 * GB, 20.0, 5.0);
        assert_eq!(before, after);
    }

    #[test]
    fn disk_charge() {
        type Case<'a> = (&'a [(Option<u64>, Option<u64>)], bool, i64);
        let cases: [Case<'_>; 6] = [
            (&[], false, 0),
            (&[], true, 1),
            (&[(Some(8), Some(2 * GB))], true, 9),
            (&[(None, Some(2 * GB + 1))], false, 3),
            (&[(None, None), (Some(1), None)], true, 12),
            (&[(Some(u64::MAX), None), (Some(u64::MAX), None)], true, i64::MAX),
        ];
        for (disks, auxiliary, expected) in cases {
            assert_eq!(disk_charge_gb(disks.iter().copied(), 10, auxiliary), expected, "{disks:?}");
        }
    }

    #[test]
    fn demand_halves() {
        assert_eq!(decayed_demand(8.0, 180.0, 180.0), 4.0);
        assert_eq!(decayed_demand(8.0, -5.0, 180.0), 8.0);
        assert_eq!(decayed_demand(f64::NAN, 1.0, 180.0), 0.0);
        assert!(decayed_demand(8.0, 1e9, 10.0) < 1e-9);
    }

    #[test]
    fn closed_nodes_cancel_out() {
        let limit = Amounts { cpus: 10, memory_mb: 100, disk_gb: 50 };
        let used = Amounts { cpus: 4, memory_mb: 40, disk_gb: 20 };
        assert_eq!(cluster_total([(true, limit, used), (false, limit, used)]), limit.plus(used));
        assert_eq!(cluster_total([]), Amounts::default());
    }
}
