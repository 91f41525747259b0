//! Which slot has which engines now, by the plan of the machine.
//! In: the engines that there are, the GPUs. Out: each slot's list, each engine's fence; notes of the plan, told once.

use super::Roster;
use crate::capabilities::{SlotPlan, plan_slots};
use crate::runner::engine::Engine;
use crate::telemetry::{Notice, tell};
use std::collections::BTreeSet;
use std::sync::Arc;

impl Roster {
    /// How the machine is cut into slots with the engines that there are now.
    pub fn plan(&self) -> SlotPlan {
        plan_slots(self.gpus.get().map_or(&[], Vec::as_slice), &self.sites(), self.jobs, self.crew)
    }

    /// The engines of each slot.
    pub fn lists(&self) -> Vec<Arc<[Arc<Engine>]>> {
        let plan = self.plan();
        let state = self.state();
        let of = |name: &str, url: usize| {
            let seat = state.seats.iter().find(|seat| seat.site.name == name)?;
            Some(seat.working.get(url)?.as_ref()?.engine.clone())
        };
        let list = |slot: &crate::capabilities::Slot| {
            slot.engines.iter().filter_map(|engine| of(&engine.name, engine.url)).collect()
        };
        plan.slots.iter().map(list).collect()
    }

    /// Gives each slot the list that it should have now, and each engine the fence of its GPU.
    pub(super) fn assign(&self) {
        if self.fences.get().is_none() {
            return;
        }
        let lists = self.lists();
        let without: BTreeSet<&str> = {
            let state = self.state();
            state.seats.iter().filter(|seat| !seat.site.needs_gpu).map(|seat| seat.name).collect()
        };
        for (list, fence) in lists.iter().zip(self.fences.get().into_iter().flatten()) {
            let Some(fence) = fence else { continue };
            for engine in list.iter().filter(|engine| !without.contains(engine.connector.name())) {
                engine.works_on(fence.clone());
            }
        }
        let Some(floor) = self.floor.get() else { return };
        let plan = self.plan();
        for note in plan.notes.iter().map(ToString::to_string) {
            if self.state().told.insert(note.clone()) {
                tell(Notice::Hardware { note: &note });
            }
        }
        let late = plan.slots.iter().skip(floor.slots.len()).flat_map(|slot| &slot.engines);
        for engine in late.map(|engine| engine.name.clone()).collect::<BTreeSet<_>>() {
            let note = "some of its addresses have no worker yet: restart the agent to use them";
            if self.state().told.insert(format!("{engine}: {note}")) {
                tell(Notice::EngineFile { file: &engine, note });
            }
        }
        let nobody: Arc<[Arc<Engine>]> = Arc::new([]);
        for (at, slot) in floor.slots.iter().enumerate() {
            let list = lists.get(at).unwrap_or(&nobody);
            slot.engines.send_if_modified(|now| {
                let same = now.len() == list.len() && now.iter().zip(list.iter()).all(|(a, b)| Arc::ptr_eq(a, b));
                if !same {
                    *now = list.clone();
                }
                !same
            });
        }
    }
}
