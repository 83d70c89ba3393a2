//! What hashing costs while bytes arrive: each algorithm alone, and the set a transfer computes in one pass, as a ratio to
//! reading the same bytes once with BLAKE3 alone.
//!
//! Prints one JSON object per figure, which `make bench` turns into a table. Nothing is asserted: figures depend on the
//! machine, and a busy machine must not fail a build.
#![allow(clippy::print_stdout, reason = "a benchmark prints its figures")]

use std::hint::black_box;
use std::time::{Duration, Instant};

use sf_blobs::Algorithm;
use sf_blobs::hashing::HasherSet;

/// Bytes of one round: larger than any cache of the machines this runs on.
const BYTES: usize = 128 << 20;
/// The unit in which a transfer hands bytes to the hashers.
const CHUNK: usize = 1 << 20;
/// Rounds of which the fastest counts; the others had company.
const ROUNDS: usize = 3;

fn fastest(data: &[u8], algorithms: &[Algorithm]) -> Duration {
    let round = || {
        let started = Instant::now();
        let mut hashers = HasherSet::new(algorithms);
        data.chunks(CHUNK).for_each(|chunk| hashers.update(chunk));
        black_box(hashers.finish());
        started.elapsed()
    };
    (0..ROUNDS).map(|_| round()).min().unwrap_or_default()
}

fn main() {
    let data: Vec<u8> = (0..BYTES).map(|i| (i.wrapping_mul(2_654_435_761) >> 7) as u8).collect();
    let reference = fastest(&data, &[Algorithm::Blake3]).as_secs_f64();
    let figure = |name: &str, taken: Duration| {
        let (seconds, mib) = (taken.as_secs_f64(), (BYTES >> 20) as f64);
        let ratio = seconds / reference;
        println!(
            r#"{{"benchmark":"hashing","name":"{name}","mib_per_second":{:.0},"ratio_to_blake3":{ratio:.2}}}"#,
            mib / seconds
        );
    };
    for algorithm in Algorithm::ALL {
        figure(algorithm.as_str(), fastest(&data, &[algorithm]));
    }
    figure("transfer (blake3, sha512, sha256)", fastest(&data, &Algorithm::INLINE));
}
