//! Remembers the cards that were seen, so that one that vanishes stays listed, with its name and its index, as faulty.
//! In: what a probe found now. Out: the same, with the lost ones put back and indexes that last.

use super::{DriverState, Found, Gpu, GpuHealth};

/// The cards of one probe that have been healthy since the program started.
#[derive(Default)]
pub(super) struct Baseline {
    known: Vec<Gpu>,
}

impl Baseline {
    /// Completes what was found and learns from it.
    pub(super) fn complete(&mut self, mut found: Found) -> Found {
        let mut missing: Vec<Gpu> =
            self.known.iter().filter(|known| !found.gpus.iter().any(|gpu| same(gpu, known))).cloned().collect();
        let mut taken: Vec<u32> = self.known.iter().map(|gpu| gpu.index).collect();
        for gpu in &mut found.gpus {
            if let Some(known) = self.known.iter().find(|known| same(gpu, known)) {
                gpu.index = known.index;
            } else if let Some(place) =
                missing.iter().position(|known| identity(gpu).is_none() && known.index == gpu.index)
            {
                let known = missing.remove(place);
                *gpu = Gpu { health: gpu.health.clone(), metrics: Default::default(), ..known };
            } else {
                if taken.contains(&gpu.index) {
                    gpu.index = (0..).find(|index| !taken.contains(index)).unwrap_or(gpu.index);
                }
                taken.push(gpu.index);
                if identity(gpu).is_some() {
                    self.known.push(gpu.clone());
                }
            }
        }
        let health = if found.driver.is_fault() { GpuHealth::DriverFault } else { GpuHealth::Missing };
        found.gpus.extend(missing.into_iter().map(|gpu| Gpu {
            health: health.clone(),
            metrics: Default::default(),
            ..gpu
        }));
        found.gpus.sort_by_key(|gpu| gpu.index);
        found
    }

    /// What to tell when the probe gave no answer.
    pub(super) fn without_answer(&mut self, waited: std::time::Duration) -> Found {
        let driver = DriverState::NotAnswering { waited_ms: waited.as_millis() as u64 };
        self.complete(Found { driver, gpus: Vec::new(), notes: Vec::new() })
    }
}

fn same(one: &Gpu, other: &Gpu) -> bool {
    identity(one).is_some() && identity(one) == identity(other)
}

/// Older AMD cards have no id of their own; their place on the bus serves.
fn identity(gpu: &Gpu) -> Option<&str> {
    gpu.uuid.as_deref().or(gpu.pci_bus_id.as_deref())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hardware::{Source, Vendor};
    use std::time::Duration;

    fn card(index: u32, uuid: &str) -> Gpu {
        Gpu { uuid: Some(uuid.into()), ..Gpu::at(index, Vendor::Nvidia, Source::Detected, GpuHealth::Healthy) }
    }

    fn found(gpus: Vec<Gpu>) -> Found {
        Found { driver: DriverState::Ready { name: "nvidia".into(), version: None }, gpus, notes: Vec::new() }
    }

    fn summary(found: &Found) -> Vec<(u32, Option<&str>, GpuHealth)> {
        found.gpus.iter().map(|gpu| (gpu.index, gpu.uuid.as_deref(), gpu.health.clone())).collect()
    }

    #[test]
    fn a_lost_card_keeps_its_name_and_place() {
        let mut baseline = Baseline::default();
        baseline.complete(found(vec![card(0, "a"), card(1, "b")]));
        let lost = Gpu::at(1, Vendor::Nvidia, Source::Detected, GpuHealth::Lost);
        let now = baseline.complete(found(vec![card(0, "a"), lost]));
        assert_eq!(summary(&now), [(0, Some("a"), GpuHealth::Healthy), (1, Some("b"), GpuHealth::Lost)]);
    }

    #[test]
    fn a_card_that_is_not_counted_any_more_does_not_move_the_others() {
        let mut baseline = Baseline::default();
        baseline.complete(found(vec![card(0, "a"), card(1, "b"), card(2, "c")]));
        let now = baseline.complete(found(vec![card(0, "a"), card(1, "c")]));
        assert_eq!(
            summary(&now),
            [
                (0, Some("a"), GpuHealth::Healthy),
                (1, Some("b"), GpuHealth::Missing),
                (2, Some("c"), GpuHealth::Healthy)
            ]
        );
        let back = baseline.complete(found(vec![card(0, "a"), card(1, "b"), card(2, "c"), card(3, "d")]));
        assert!(back.gpus.iter().all(|gpu| gpu.health.is_usable()) && back.gpus.len() == 4);
    }

    #[test]
    fn without_an_answer_the_known_cards_are_listed_as_unavailable() {
        let mut baseline = Baseline::default();
        assert_eq!(baseline.without_answer(Duration::from_secs(1)).gpus.len(), 0);
        baseline.complete(found(vec![card(0, "a")]));
        let now = baseline.without_answer(Duration::from_secs(1));
        assert_eq!(summary(&now), [(0, Some("a"), GpuHealth::DriverFault)]);
        assert_eq!(now.driver, DriverState::NotAnswering { waited_ms: 1000 });
    }

    #[test]
    fn a_card_that_was_lost_from_the_start_is_listed_and_recovers() {
        let mut baseline = Baseline::default();
        let lost = Gpu::at(0, Vendor::Nvidia, Source::Detected, GpuHealth::Lost);
        assert_eq!(
            summary(&baseline.complete(found(vec![lost, card(1, "b")]))),
            [(0, None, GpuHealth::Lost), (1, Some("b"), GpuHealth::Healthy)]
        );
        let now = baseline.complete(found(vec![card(0, "a"), card(1, "b")]));
        assert_eq!(summary(&now), [(0, Some("a"), GpuHealth::Healthy), (1, Some("b"), GpuHealth::Healthy)]);
    }
}
