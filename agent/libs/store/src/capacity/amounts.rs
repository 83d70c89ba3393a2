//! Parts of statements that handle the three quantities together.

use sf_scheduler::{Amounts, Dimension};

use crate::error::{StoreError, StoreResult};
use crate::sql::Sql;

/// Column suffixes, in the order of [`values`].
const COLUMNS: [&str; 3] = ["cpus", "memory_mb", "disk_gb"];
/// Nothing real is larger; sums of such amounts stay far from overflow.
const ABSURD: i64 = 1 << 40;

/// The quantities in the order of the columns.
pub(super) fn values(amounts: Amounts) -> [i64; 3] {
    Dimension::ALL.map(|dimension| amounts.get(dimension))
}

/// Refuses amounts that no request can have.
pub(super) fn check(amounts: Amounts) -> StoreResult<()> {
    let sane = values(amounts).into_iter().all(|value| (0..ABSURD).contains(&value));
    if sane && amounts.cpus > 0 && amounts.memory_mb > 0 {
        Ok(())
    } else {
        Err(StoreError::invalid(
            "charge: vCPUs and memory must be at least 1, and nothing negative or absurd",
        ))
    }
}

/// Appends `prefix_cpus = prefix_cpus + ?, …`; negative amounts subtract. The tables refuse to go below zero.
pub(super) fn add_to(sql: Sql, prefix: &str, amounts: Amounts) -> Sql {
    let text: Vec<String> =
        COLUMNS.iter().map(|column| format!("{prefix}_{column} = {prefix}_{column} + ?")).collect();
    bind_all(sql.push(&text.join(", ")), amounts)
}

/// Appends `prefix_cpus = ?, …`.
pub(super) fn set(sql: Sql, prefix: &str, amounts: Amounts) -> Sql {
    let text: Vec<String> = COLUMNS.iter().map(|column| format!("{prefix}_{column} = ?")).collect();
    bind_all(sql.push(&text.join(", ")), amounts)
}

/// Appends ` AND used_cpus + ? <= room_cpus …`, where `room` makes the right side from a column suffix.
pub(super) fn fits(sql: Sql, used: &str, room: impl Fn(&str) -> String, amounts: Amounts) -> Sql {
    let text: String =
        COLUMNS.iter().map(|column| format!(" AND {used}_{column} + ? <= {}", room(column))).collect();
    bind_all(sql.push(&text), amounts)
}

fn bind_all(sql: Sql, amounts: Amounts) -> Sql {
    values(amounts).into_iter().fold(sql, Sql::bind)
}

/// The negative of each quantity.
pub(super) fn negative(amounts: Amounts) -> Amounts {
    Amounts::default().minus(amounts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn absurd_charges_are_refused() {
        let charge = |cpus, memory_mb, disk_gb| check(Amounts { cpus, memory_mb, disk_gb }).is_ok();
        assert!(charge(1, 1, 0));
        for (cpus, memory, disk) in [(0, 1, 1), (1, 0, 1), (1, 1, -1), (1, 1, i64::MAX), (-1, 1, 1)] {
            assert!(!charge(cpus, memory, disk), "{cpus} {memory} {disk}");
        }
    }
}
