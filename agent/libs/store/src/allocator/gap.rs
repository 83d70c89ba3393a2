//! Finding free values in a window: pure.

/// Free values of `first..=last`, given the taken ones in ascending order.
pub(super) fn free(first: u64, last: u64, taken: &[u64]) -> impl Iterator<Item = u64> + '_ {
    let mut taken = taken.iter().copied().peekable();
    (first..=last).filter(move |value| {
        while taken.peek().is_some_and(|t| t < value) {
            taken.next();
        }
        taken.peek() != Some(value)
    })
}

/// The windows of at most `size` values that cover `first..=last` once, beginning with the one that starts at `start`.
pub(super) fn windows(first: u64, last: u64, start: u64, size: u64) -> Vec<(u64, u64)> {
    let cut = |from: u64, to: u64| {
        let mut windows = Vec::new();
        let mut at = from;
        while at <= to {
            let end = to.min(at.saturating_add(size - 1));
            windows.push((at, end));
            at = end + 1;
        }
        windows
    };
    let mut all = cut(start, last);
    if start > first {
        all.extend(cut(first, start - 1));
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    proptest! {
        #[test]
        fn windows_cover_every_value_once(first in 0u64..50, length in 0u64..300, start in 0u64..300, size in 1u64..40) {
            let last = first + length;
            let start = first + start.min(length);
            let mut seen = BTreeSet::new();
            for (from, to) in windows(first, last, start, size) {
                prop_assert!(to - from < size);
                for value in from..=to {
                    prop_assert!(seen.insert(value));
                }
            }
            prop_assert_eq!(seen.len() as u64, length + 1);
        }

        #[test]
        fn free_is_the_complement(taken in proptest::collection::btree_set(0u64..60, 0..60)) {
            let list: Vec<u64> = taken.iter().copied().collect();
            let free: BTreeSet<u64> = free(10, 40, &list).collect();
            let expected: BTreeSet<u64> = (10..=40).filter(|v| !taken.contains(v)).collect();
            prop_assert_eq!(free, expected);
        }
    }
}
