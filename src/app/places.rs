//! Which GPUs the slots are planned on: all that are known, fit or not, so that a sick one shifts no engine to another GPU.
//! In: the first look at the hardware, the engines. Out: what planning needs to know of each, and how to find it again later.

use crate::capabilities::{EngineSites, GpuFacts};
use crate::hardware::{Gpu, Inventory, Unit};

/// A card, or an instance of a divided one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    /// The card's number.
    pub(super) gpu: u32,
    mig: Option<u32>,
}

impl Place {
    /// What can work there now.
    pub(super) fn find<'a>(&self, inventory: &'a Inventory) -> Option<Unit<'a>> {
        let is_it = |unit: &Unit<'_>| unit.gpu.index == self.gpu && unit.mig.map(|instance| instance.index) == self.mig;
        inventory.units().into_iter().find(is_it)
    }
}

/// The places of this machine. Where the driver fails as a whole and not even the number of cards is known, there is one for each
/// URL of an engine that needs a GPU: its worker registers, says why it does nothing, and goes on when the driver is mended.
pub(super) fn places(inventory: &Inventory, engines: &[EngineSites]) -> Vec<(GpuFacts, Place)> {
    if inventory.gpus.is_empty() && inventory.gpu_driver.is_fault() {
        let needing = engines.iter().filter(|engine| engine.needs_gpu);
        let count = |engine: &EngineSites| {
            let listed = engine.gpus.iter().flatten().map(|index| index + 1).max().unwrap_or(0);
            if engine.gpus.is_some() { listed } else { engine.urls as u32 }
        };
        return (0..needing.map(count).max().unwrap_or(0)).map(unknown).collect();
    }
    inventory.gpus.iter().flat_map(of_card).collect()
}

fn of_card(gpu: &Gpu) -> Vec<(GpuFacts, Place)> {
    let facts = |unit: &Unit<'_>| GpuFacts {
        index: gpu.index,
        memory_gb: unit.memory_gb().unwrap_or(0.0),
        model: gpu.name.clone().unwrap_or_default(),
        uuid: unit.uuid().unwrap_or_default().to_owned(),
    };
    let place = |unit: Unit<'_>| (facts(&unit), Place { gpu: gpu.index, mig: unit.mig.map(|instance| instance.index) });
    match gpu.health.is_usable() && gpu.mig_enabled {
        true => gpu.mig.iter().map(|instance| place(Unit { gpu, mig: Some(instance) })).collect(),
        false => vec![place(Unit { gpu, mig: None })],
    }
}

fn unknown(index: u32) -> (GpuFacts, Place) {
    let facts = GpuFacts { index, memory_gb: 0.0, model: String::new(), uuid: String::new() };
    (facts, Place { gpu: index, mig: None })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hardware::{DriverState, GpuHealth, simulated};

    fn engine(urls: usize, gpus: Option<Vec<u32>>) -> EngineSites {
        EngineSites { name: "comfyui".into(), urls, gpus, needs_gpu: true, jobs: None }
    }

    fn numbers(inventory: &Inventory, engines: &[EngineSites]) -> Vec<u32> {
        places(inventory, engines).iter().map(|(_, place)| place.gpu).collect()
    }

    #[test]
    fn a_sick_card_keeps_its_place() {
        let mut inventory = simulated(3, 24.0);
        inventory.gpus[1].health = GpuHealth::Lost;
        let found = places(&inventory, &[]);
        assert_eq!(found.iter().map(|(facts, _)| facts.index).collect::<Vec<_>>(), [0, 1, 2]);
        assert!(found[1].1.find(&inventory).is_none() && found[2].1.find(&inventory).is_some());
    }

    #[test]
    fn with_a_driver_that_tells_nothing_each_url_has_its_place() {
        let inventory = Inventory { gpu_driver: DriverState::VersionMismatch, ..simulated(0, 24.0) };
        assert_eq!(numbers(&inventory, &[engine(2, None)]), [0, 1]);
        assert_eq!(numbers(&inventory, &[engine(2, Some(vec![3, 1])), engine(1, None)]), [0, 1, 2, 3]);
        assert_eq!(numbers(&inventory, &[EngineSites { needs_gpu: false, ..engine(4, None) }]), [0; 0]);
        let without = Inventory { gpu_driver: DriverState::NoLibrary, ..simulated(0, 24.0) };
        assert_eq!(numbers(&without, &[engine(2, None)]), [0; 0], "no GPU is an answer");
    }
}
