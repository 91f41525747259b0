//! Lets declared values override what was detected, and says so each time they do.
//! In: an inventory as detected, the declared values. Out: the inventory to go by, with notes.

use super::{DriverState, Gpu, GpuHealth, Inventory, Note, Source, Vendor};
use crate::config::DeclaredHardware;
use std::fmt::Display;

/// Overrides what is declared. Equal values are no override.
pub fn apply(mut inventory: Inventory, declared: &DeclaredHardware) -> Inventory {
    if let Some(count) = declared.gpu_count {
        set_count(&mut inventory, count);
    }
    let model = |gpu: &mut Gpu, value: &String| gpu.name.replace(value.clone());
    each_gpu(&mut inventory, "GPU_MODEL", declared.gpu_model.as_ref(), model);
    let memory = |gpu: &mut Gpu, value: &f64| gpu.memory_gb.replace(*value);
    each_gpu(&mut inventory, "GPU_MEMORY_GB", declared.gpu_memory_gb.as_ref(), memory);
    if let Some(cores) = declared.cpu_cores {
        host(&mut inventory, "CPU_CORES", cores, |inventory| {
            Some(std::mem::replace(&mut inventory.host.cpu_cores, cores))
        });
    }
    if let Some(gb) = declared.ram_gb {
        host(&mut inventory, "RAM_GB", gb, |inventory| inventory.host.ram_gb.replace(gb));
    }
    for gpu in inventory.gpus.iter().filter(|gpu| gpu.health.is_usable() && gpu.memory_gb.is_none() && !gpu.mig_enabled)
    {
        let text = format!(
            "GPU {} does not tell its memory, so jobs that ask for any do not fit: set GPU_MEMORY_GB",
            gpu.index
        );
        inventory.notes.push(Note::warning(text));
    }
    inventory
}

fn set_count(inventory: &mut Inventory, count: u32) {
    let detected = inventory.gpus.len() as u32;
    if count < detected {
        inventory.gpus.truncate(count as usize);
        let rest = if count == 0 { "none is used".into() } else { format!("the first {count} are used") };
        inventory.notes.push(Note::info(format!("GPU_COUNT={count} overrides {detected} (detected): {rest}")));
    } else if count > detected {
        let first = inventory.gpus.iter().map(|gpu| gpu.index + 1).max().unwrap_or(0);
        // A declared card can't be better than the driver that it needs.
        let health = if inventory.gpu_driver.is_fault() { GpuHealth::DriverFault } else { GpuHealth::Unchecked };
        let gpu = |index| Gpu {
            declared: vec!["GPU_COUNT".into()],
            ..Gpu::at(index, Vendor::Unknown, Source::Declared, health.clone())
        };
        inventory.gpus.extend((first..first + count - detected).map(gpu));
        let added = count - detected;
        let text = format!("GPU_COUNT={count} overrides {detected} (detected): {added} declared, seen by nobody");
        let surprising = matches!(inventory.gpu_driver, DriverState::Ready { .. });
        inventory.notes.push(if surprising { Note::warning(text) } else { Note::info(text) });
    }
}

/// Sets one value on every card; one note for each value that was there before.
fn each_gpu<T: PartialEq + Display>(
    inventory: &mut Inventory,
    variable: &str,
    value: Option<&T>,
    set: impl Fn(&mut Gpu, &T) -> Option<T>,
) {
    let Some(value) = value else { return };
    let mut overridden: Vec<(T, Vec<String>)> = Vec::new();
    for gpu in &mut inventory.gpus {
        let before = set(gpu, value);
        if before.as_ref() != Some(value) {
            gpu.declared.push(variable.into());
        }
        let Some(before) = before.filter(|before| before != value) else {
            continue;
        };
        let index = gpu.index.to_string();
        match overridden.iter_mut().find(|(known, _)| *known == before) {
            Some((_, indexes)) => indexes.push(index),
            None => overridden.push((before, vec![index])),
        }
    }
    for (before, indexes) in overridden {
        let text = format!("{variable}={value} overrides {before} (detected) on GPU {}", indexes.join(", "));
        inventory.notes.push(Note::info(text));
    }
}

fn host<T: PartialEq + Display>(
    inventory: &mut Inventory,
    variable: &str,
    value: T,
    set: impl FnOnce(&mut Inventory) -> Option<T>,
) {
    let before = set(inventory);
    if before.as_ref() == Some(&value) {
        return;
    }
    inventory.host.declared.push(variable.into());
    let before = before.map_or("nothing".into(), |before| before.to_string());
    inventory.notes.push(Note::info(format!("{variable}={value} overrides {before} (detected)")));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hardware::simulated;

    fn cards(count: u32) -> Inventory {
        let mut inventory = simulated(count, 24.0);
        inventory.notes.clear();
        inventory.host.cpu_cores = 8;
        inventory
    }

    fn notes(inventory: &Inventory) -> Vec<&str> {
        inventory.notes.iter().map(|note| note.text.as_str()).collect()
    }

    #[test]
    fn each_override_is_told_and_marked() {
        let declared = DeclaredHardware {
            gpu_memory_gb: Some(16.0),
            cpu_cores: Some(4),
            ram_gb: Some(64.0),
            ..Default::default()
        };
        let inventory = apply(cards(2), &declared);
        assert_eq!(
            notes(&inventory),
            [
                "GPU_MEMORY_GB=16 overrides 24 (detected) on GPU 0, 1",
                "CPU_CORES=4 overrides 8 (detected)",
                "RAM_GB=64 overrides nothing (detected)"
            ]
        );
        assert!(inventory.gpus.iter().all(|gpu| gpu.memory_gb == Some(16.0) && gpu.declared == ["GPU_MEMORY_GB"]));
        assert_eq!((inventory.host.cpu_cores, inventory.host.ram_gb), (4, Some(64.0)));
    }

    #[test]
    fn the_same_value_is_no_override() {
        let declared = DeclaredHardware {
            gpu_count: Some(1),
            gpu_memory_gb: Some(24.0),
            cpu_cores: Some(8),
            ..Default::default()
        };
        assert_eq!(apply(cards(1), &declared), cards(1));
    }

    #[test]
    fn fewer_cards_are_the_first_ones_and_zero_is_none() {
        for (count, note) in [
            (1, "GPU_COUNT=1 overrides 2 (detected): the first 1 are used"),
            (0, "GPU_COUNT=0 overrides 2 (detected): none is used"),
        ] {
            let inventory = apply(cards(2), &DeclaredHardware { gpu_count: Some(count), ..Default::default() });
            assert_eq!(inventory.gpus.len(), count as usize);
            assert_eq!(notes(&inventory), [note]);
        }
    }

    #[test]
    fn more_cards_are_declared_ones() {
        let declared = DeclaredHardware {
            gpu_count: Some(3),
            gpu_memory_gb: Some(24.0),
            gpu_model: Some("RTX 4090".into()),
            ..Default::default()
        };
        let inventory = apply(cards(1), &declared);
        assert_eq!(inventory.notes[0], Note::warning("GPU_COUNT=3 overrides 1 (detected): 2 declared, seen by nobody"));
        let last = &inventory.gpus[2];
        assert_eq!(
            (last.index, last.source, last.memory_gb, last.health.clone()),
            (2, Source::Declared, Some(24.0), GpuHealth::Unchecked)
        );
        assert_eq!(last.declared, ["GPU_COUNT", "GPU_MODEL", "GPU_MEMORY_GB"]);
    }

    #[test]
    fn a_declared_card_does_not_hide_a_faulty_driver() {
        let inventory = Inventory { gpu_driver: DriverState::VersionMismatch, ..cards(0) };
        let inventory = apply(inventory, &DeclaredHardware { gpu_count: Some(1), ..Default::default() });
        assert!(!inventory.gpus[0].health.is_usable() && inventory.units().is_empty());
    }

    #[test]
    fn a_card_without_known_memory_asks_for_it() {
        let inventory = apply(cards(0), &DeclaredHardware { gpu_count: Some(1), ..Default::default() });
        assert!(notes(&inventory)[1].contains("set GPU_MEMORY_GB"), "{:?}", inventory.notes);
    }
}
