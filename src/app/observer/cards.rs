//! The cards: what the last look found, with the newest readings in it; and the readings themselves.
//! In: the inventory, readings every two seconds. Out: entries for the page and the metrics, points for the charts.

use super::{Observer, holders, locked};
use crate::dashboard::view::gpus::{Gpu as Shown, Memory, Mig};
use crate::dashboard::view::series::{Point, STEP};
use crate::dashboard::view::tenths;
use crate::hardware::{DriverState, Gpu, Inventory, Metrics, Source, Throttled, Vendor};
use crate::runner::engine::Engine;
use crate::telemetry::metrics::GpuSeen;
use std::collections::BTreeSet;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

impl Observer {
    /// Reads the cards until told to stop, whether somebody looks or not: the charts are there for whoever comes.
    pub(super) async fn keep_reading(&self, ports: BTreeSet<u16>, stop: CancellationToken) {
        let mut seen: Option<Arc<Inventory>> = None;
        let mut pulse = tokio::time::interval(STEP);
        pulse.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                _ = pulse.tick() => {}
            }
            let inventory = self.parts.hardware.borrow().clone();
            // A driver that hangs is asked by the one whose task that is.
            let readings = match inventory.gpu_driver {
                DriverState::NotAnswering { .. } => Vec::new(),
                _ if inventory.gpus.is_empty() => Vec::new(),
                _ => tokio::select! {
                    () = stop.cancelled() => return,
                    readings = self.parts.sampler.readings() => readings,
                },
            };
            *locked(&self.readings) = readings;
            // Processes are listed by a thorough look alone.
            if seen.as_ref().is_none_or(|seen| !Arc::ptr_eq(seen, &inventory)) {
                let (looked, ports) = (inventory.clone(), ports.clone());
                let held = tokio::task::spawn_blocking(move || holders::held(&looked, &ports)).await;
                *locked(&self.held) = held.unwrap_or_default();
                seen = Some(inventory.clone());
            }
            let points: Vec<_> = inventory.gpus.iter().map(|gpu| (gpu.index, self.point(gpu))).collect();
            self.series.add(&points);
        }
    }

    /// The card's readings: the newest, and what is not read that often as it was at the last look.
    pub(super) fn metrics(&self, gpu: &Gpu) -> Metrics {
        let readings = locked(&self.readings);
        let Some(newest) = readings.iter().find(|reading| reading.is_of(gpu)) else { return gpu.metrics.clone() };
        Metrics {
            temperature_limit_c: gpu.metrics.temperature_limit_c,
            power_limit_w: gpu.metrics.power_limit_w,
            clock_max_mhz: gpu.metrics.clock_max_mhz,
            processes: gpu.metrics.processes.clone(),
            ..newest.metrics.clone()
        }
    }

    fn point(&self, gpu: &Gpu) -> Point {
        let readings = locked(&self.readings);
        // What was not read now is a gap, not what was read before.
        let Some(now) = readings.iter().find(|reading| reading.is_of(gpu)).map(|reading| &reading.metrics) else {
            return Point::default();
        };
        let memory = Memory::of(gpu.memory_total_bytes, now.memory_free_bytes, self.engines_hold(gpu));
        let mib = |bytes: u64| u32::try_from(bytes >> 20).ok();
        Point {
            utilisation: now.utilisation_percent.map(|percent| percent as f32),
            memory_mib: memory.used_bytes.and_then(mib),
            memory_job_mib: memory.job_bytes.and_then(mib),
            temperature_c: now.temperature_c.and_then(|celsius| u16::try_from(celsius).ok()),
            power_w: now.power_w.map(|watts| watts as f32),
            clock_mhz: now.clock_mhz,
        }
    }

    /// What the engines of this agent hold of a card's memory, if that is known.
    pub(super) fn engines_hold(&self, gpu: &Gpu) -> Option<u64> {
        locked(&self.held).get(&gpu.index).copied()
    }

    /// Whether an engine on it can be asked to let its memory go.
    fn can_free(&self, gpu: &Gpu) -> bool {
        let on_it = |engine: &Arc<Engine>| engine.fence().is_some_and(|fence| fence.gpu == gpu.index);
        self.engines().iter().any(|engine| on_it(engine) && engine.connector.can_free_memory())
    }

    /// For the page.
    pub(super) fn cards(&self) -> Vec<Shown> {
        let inventory = self.parts.hardware.borrow().clone();
        inventory.gpus.iter().map(|gpu| self.card(gpu, &inventory.gpu_driver)).collect()
    }

    fn card(&self, gpu: &Gpu, driver: &DriverState) -> Shown {
        let workers = self.parts.slots.iter().filter(|slot| slot.gpu() == Some(gpu.index));
        let fenced = workers.clone().find_map(|slot| slot.fence.as_ref()?.fenced());
        let (health, reason, remedy) = match &fenced {
            Some(fenced) => ("fenced", Some(fenced.reason.clone()), Some(fenced.remedy.clone())),
            None if gpu.source != Source::Detected => ("unknown", None, None),
            None if gpu.health.is_usable() => ("ok", None, None),
            None => {
                let remedy = gpu.health.remedy().or(driver.remedy()).map(str::to_owned);
                ("lost", Some(gpu.health.explain()), remedy)
            }
        };
        let now = self.metrics(gpu);
        let mig = |instance: &crate::hardware::MigInstance| Mig {
            index: instance.index,
            name: instance.profile.clone(),
            memory: Memory::of(instance.memory_total_bytes, instance.memory_free_bytes, None),
        };
        Shown {
            index: gpu.index,
            uuid: gpu.uuid.clone(),
            name: gpu.name.clone(),
            vendor: match gpu.vendor {
                Vendor::Nvidia => Some("nvidia"),
                Vendor::Amd => Some("amd"),
                Vendor::Intel => Some("intel"),
                Vendor::Unknown => None,
            },
            driver: gpu.driver_version.clone(),
            health,
            reason,
            remedy,
            utilisation: now.utilisation_percent,
            memory: Memory::of(total(gpu), now.memory_free_bytes, self.engines_hold(gpu)),
            temperature_c: now.temperature_c,
            temperature_limit_c: now.temperature_limit_c,
            power_w: now.power_w.map(tenths),
            power_limit_w: now.power_limit_w,
            clock_mhz: now.clock_mhz,
            clock_max_mhz: now.clock_max_mhz,
            fan_percent: now.fan_percent,
            throttled: now.throttled.map(Throttled::word),
            ecc_errors: gpu.ecc.uncorrected,
            can_free: self.can_free(gpu),
            mig: gpu.mig.iter().map(mig).collect(),
            workers: workers.map(|slot| slot.worker.clone()).collect(),
        }
    }

    /// For the metrics.
    pub(super) fn gpu_seen(&self, gpu: &Gpu) -> GpuSeen {
        let fences = self.parts.slots.iter().filter_map(|slot| slot.fence.as_ref());
        let is_fenced = fences.clone().any(|fence| fence.gpu == gpu.index && fence.fenced().is_some());
        let now = self.metrics(gpu);
        GpuSeen {
            index: gpu.index,
            name: gpu.name.clone().unwrap_or_default(),
            uuid: gpu.uuid.clone().unwrap_or_default(),
            driver: gpu.driver_version.clone().unwrap_or_default(),
            is_healthy: gpu.health.is_usable(),
            is_fenced,
            utilisation: now.utilisation_percent.map(|percent| f64::from(percent) / 100.0),
            memory_total: total(gpu),
            memory_free: now.memory_free_bytes,
            temperature: now.temperature_c,
            power: now.power_w,
        }
    }
}

/// As the driver tells it; else as somebody declared it, of whom nobody knows how much is in use.
fn total(gpu: &Gpu) -> Option<u64> {
    gpu.memory_total_bytes.or_else(|| gpu.memory_gb.map(|gb| (gb * f64::from(1 << 30)) as u64))
}
