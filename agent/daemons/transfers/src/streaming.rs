//! Streams between nodes, counted while they live.

/// One stream; dropping it takes it off the gauge.
pub(crate) struct Active(metrics::Gauge);

impl Active {
    /// `direction` is `in` or `out`.
    pub(crate) fn new(direction: &'static str, purpose: &'static str) -> Self {
        let gauge = metrics::gauge!("transfer_active", "direction" => direction, "purpose" => purpose);
        gauge.increment(1.0);
        Self(gauge)
    }
}

impl Drop for Active {
    fn drop(&mut self) {
        self.0.decrement(1.0);
    }
}
