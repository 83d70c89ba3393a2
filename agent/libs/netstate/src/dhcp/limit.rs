//! How many packets are looked at: a count per key and second, and one for all keys together.

use std::collections::HashMap;
use std::hash::Hash;

/// Counts within the current second.
#[derive(Debug)]
pub struct Limiter<K> {
    per_key: u32,
    total: u32,
    second: u64,
    counts: HashMap<K, u32>,
    all: u32,
}

impl<K: Eq + Hash> Limiter<K> {
    /// At most `per_key` packets of one key and `total` of all keys in one second.
    pub fn new(per_key: u32, total: u32) -> Self {
        Self { per_key, total, second: 0, counts: HashMap::new(), all: 0 }
    }

    /// Counts a packet in the given second, or whatever time is counted in; false means: drop it. What one key sends beyond its own limit is not counted for all:
    /// it must not silence the others. Memory is bounded by `total` keys.
    pub fn admit(&mut self, key: K, second: u64) -> bool {
        if second != self.second {
            self.second = second;
            self.counts.clear();
            self.all = 0;
        }
        if self.all >= self.total {
            return false;
        }
        let count = self.counts.entry(key).or_insert(0);
        if *count >= self.per_key {
            return false;
        }
        *count += 1;
        self.all += 1;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::Limiter;

    #[test]
    fn keys_and_the_total_are_limited_each_second() {
        let mut limiter = Limiter::new(2, 5);
        assert_eq!(
            [1, 1, 1, 1, 1, 2, 2, 3, 3].map(|key| limiter.admit(key, 7)),
            [true, true, false, false, false, true, true, true, false]
        );
        assert!(limiter.admit(3, 8));
    }
}
