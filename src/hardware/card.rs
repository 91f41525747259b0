//! Reads one NVIDIA card through NVML: what it is, how it is, and its MIG instances.
//! In: an NVML device, or the error met instead of one. Out: a `Gpu` whose metrics are `None` where the card does not tell.

use super::{Ecc, Gpu, GpuHealth, GpuProcess, Metrics, MigInstance, Reading, Source, Throttled, Vendor, nominal};
use nvml_wrapper::bitmasks::device::ThrottleReasons;
use nvml_wrapper::enum_wrappers::device::{Clock, EccCounter, MemoryError, TemperatureSensor, TemperatureThreshold};
use nvml_wrapper::enums::device::{SampleValue, UsedGpuMemory};
use nvml_wrapper::error::NvmlError;
use nvml_wrapper::structs::device::FieldId;
use nvml_wrapper::sys_exports::field_id::{NVML_FI_DEV_REMAPPED_FAILURE, NVML_FI_DEV_REMAPPED_PENDING};
use nvml_wrapper::{Device, Nvml};
use std::collections::BTreeMap;

/// Notices faults while readings are taken; a reading that is not supported is no fault.
struct Reader(GpuHealth);

impl Reader {
    /// What a card may keep to itself.
    fn read<T>(&mut self, call: impl FnOnce() -> Result<T, NvmlError>) -> Option<T> {
        self.take(call, |error| matches!(error, NvmlError::GpuLost | NvmlError::ResetRequired))
    }

    /// What a card in working order tells. A divided card's totals need privileges; older drivers lack some functions.
    fn essential<T>(&mut self, call: impl FnOnce() -> Result<T, NvmlError>) -> Option<T> {
        use NvmlError::{FailedToLoadSymbol, FunctionNotFound, NoPermission, NotSupported};
        self.take(call, |error| {
            !matches!(error, NotSupported | NoPermission | FunctionNotFound | FailedToLoadSymbol(_))
        })
    }

    /// A lost card is asked nothing more: each further call may take seconds.
    fn take<T>(&mut self, call: impl FnOnce() -> Result<T, NvmlError>, is_fault: fn(&NvmlError) -> bool) -> Option<T> {
        if !self.0.is_usable() {
            return None;
        }
        match call() {
            Ok(value) => return Some(value),
            Err(error) if is_fault(&error) => self.0 = health_of(error),
            Err(_) => {}
        }
        None
    }
}

/// The card at `index`, whatever state it is in.
pub(super) fn read(nvml: &Nvml, index: u32, driver_version: Option<&str>) -> Gpu {
    let mut gpu = Gpu::at(index, Vendor::Nvidia, Source::Detected, GpuHealth::Healthy);
    gpu.driver_version = driver_version.map(str::to_owned);
    match nvml.device_by_index(index) {
        Ok(device) => fill(&mut gpu, &device),
        Err(error) => gpu.health = health_of(error),
    }
    gpu
}

fn fill(gpu: &mut Gpu, device: &Device<'_>) {
    let mut reader = Reader(GpuHealth::Healthy);
    gpu.name = reader.essential(|| device.name());
    gpu.uuid = reader.essential(|| device.uuid());
    gpu.pci_bus_id = reader.read(|| device.pci_info()).map(|pci| pci.bus_id);
    let memory = reader.essential(|| device.memory_info());
    gpu.memory_total_bytes = memory.as_ref().map(|memory| memory.total);
    gpu.memory_gb =
        memory.as_ref().map(|memory| nominal::memory_gb(memory.total, gpu.name.as_deref().unwrap_or_default()));
    let limit = TemperatureThreshold::Slowdown;
    gpu.metrics = Metrics {
        processes: processes(&mut reader, device),
        temperature_limit_c: reader.read(|| device.temperature_threshold(limit)),
        power_limit_w: reader.read(|| device.enforced_power_limit()).map(watts),
        clock_max_mhz: reader.read(|| device.max_clock_info(Clock::Graphics)),
        ..changing(&mut reader, device, memory.map(|memory| memory.free))
    };
    gpu.ecc = ecc(&mut reader, device);
    gpu.mig_enabled = reader.read(|| device.mig_mode()).is_some_and(|mode| mode.current == 1);
    if gpu.mig_enabled {
        gpu.mig = instances(&mut reader, device, gpu.memory_total_bytes);
    }
    gpu.health = reader.0;
}

fn watts(milliwatts: u32) -> f64 {
    f64::from(milliwatts) / 1e3
}

/// What changes from second to second.
fn changing(reader: &mut Reader, device: &Device<'_>, memory_free_bytes: Option<u64>) -> Metrics {
    Metrics {
        memory_free_bytes,
        utilisation_percent: reader.read(|| device.utilization_rates()).map(|rates| rates.gpu),
        temperature_c: reader.read(|| device.temperature(TemperatureSensor::Gpu)),
        power_w: reader.read(|| device.power_usage()).map(watts),
        clock_mhz: reader.read(|| device.clock_info(Clock::Graphics)),
        fan_percent: reader.read(|| device.fan_speed(0)),
        throttled: reader.read(|| device.current_throttle_reasons()).and_then(throttled),
        ..Metrics::default()
    }
}

/// Heat counts before power: it is what an owner can do something about.
fn throttled(reasons: ThrottleReasons) -> Option<Throttled> {
    type R = ThrottleReasons;
    if reasons.intersects(R::SW_THERMAL_SLOWDOWN | R::HW_THERMAL_SLOWDOWN) {
        Some(Throttled::Thermal)
    } else if reasons.intersects(R::SW_POWER_CAP | R::HW_POWER_BRAKE_SLOWDOWN) {
        Some(Throttled::Power)
    } else {
        None
    }
}

/// The card at `index` in brief; `None` where it does not even tell its name.
pub(super) fn reading(nvml: &Nvml, index: u32) -> Option<Reading> {
    let device = nvml.device_by_index(index).ok()?;
    let mut reader = Reader(GpuHealth::Healthy);
    let uuid = reader.read(|| device.uuid())?;
    let free = reader.read(|| device.memory_info()).map(|memory| memory.free);
    Some(Reading { name: uuid, metrics: changing(&mut reader, &device, free) })
}

/// Memory errors; consumer cards have no ECC and tell none of it.
fn ecc(reader: &mut Reader, device: &Device<'_>) -> Ecc {
    let rows = [FieldId(NVML_FI_DEV_REMAPPED_PENDING), FieldId(NVML_FI_DEV_REMAPPED_FAILURE)];
    let rows = reader.read(|| device.field_values_for(&rows)).unwrap_or_default();
    let is_set = |at: usize| match rows.get(at)?.as_ref().ok()?.value.as_ref().ok()? {
        SampleValue::U32(value) => Some(*value != 0),
        SampleValue::U64(value) => Some(*value != 0),
        _ => None,
    };
    Ecc {
        uncorrected: reader.read(|| device.total_ecc_errors(MemoryError::Uncorrected, EccCounter::Volatile)),
        repair_pending: is_set(0),
        retirement_pending: reader.read(|| device.are_pages_pending_retired()),
        repair_failed: is_set(1),
    }
}

/// Compute and graphics processes; one that does both is listed once.
fn processes(reader: &mut Reader, device: &Device<'_>) -> Option<Vec<GpuProcess>> {
    let compute = reader.read(|| device.running_compute_processes());
    let graphics = reader.read(|| device.running_graphics_processes());
    if compute.is_none() && graphics.is_none() {
        return None;
    }
    let mut by_pid = BTreeMap::new();
    for process in compute.into_iter().chain(graphics).flatten() {
        let used = match process.used_gpu_memory {
            UsedGpuMemory::Used(bytes) => Some(bytes),
            UsedGpuMemory::Unavailable => None,
        };
        let known = by_pid.entry(process.pid).or_insert(used);
        *known = (*known).max(used);
    }
    Some(by_pid.into_iter().map(|(pid, used_bytes)| GpuProcess { pid, used_bytes }).collect())
}

/// The driver tells how many instances there may be, not how many there are: empty places answer `NotFound`.
fn instances(reader: &mut Reader, device: &Device<'_>, card_bytes: Option<u64>) -> Vec<MigInstance> {
    let places = reader.read(|| device.mig_device_count()).unwrap_or(0);
    let mut found = Vec::new();
    for index in 0..places {
        let Some(instance) = reader.read(|| device.mig_device_by_index(index)) else {
            continue;
        };
        let name = reader.read(|| instance.name());
        let profile = name.as_deref().and_then(profile_in).or_else(|| profile_by_size(reader, &instance, card_bytes?));
        let memory = reader.read(|| instance.memory_info());
        found.push(MigInstance {
            index,
            uuid: reader.read(|| instance.uuid()),
            memory_gb: profile
                .as_deref()
                .and_then(nominal::mig_memory_gb)
                .or_else(|| Some(nominal::memory_gb(memory.as_ref()?.total, ""))),
            profile,
            memory_total_bytes: memory.as_ref().map(|memory| memory.total),
            memory_free_bytes: memory.map(|memory| memory.free),
        });
    }
    found
}

/// Newer drivers end an instance's name with its profile: `NVIDIA H100 80GB HBM3 MIG 1g.10gb`.
fn profile_in(name: &str) -> Option<String> {
    name.rsplit_once("MIG ")
        .map(|(_, profile)| profile.trim().to_owned())
        .filter(|profile| nominal::mig_memory_gb(profile).is_some())
}

/// Older drivers only tell slices and size. The profile's size is then the share of the card, in eighths, of the card's size in GiB.
fn profile_by_size(reader: &mut Reader, instance: &Device<'_>, card_bytes: u64) -> Option<String> {
    let attributes = reader.read(|| instance.attributes())?;
    if card_bytes == 0 {
        return None;
    }
    let share = (attributes.memory_size_mb as f64 * f64::from(1 << 20) / card_bytes as f64 * 8.0).ceil() / 8.0;
    let gb = (share * card_bytes.div_ceil(1 << 30) as f64).round();
    Some(format!("{}g.{gb}gb", attributes.gpu_instance_slice_count))
}

fn health_of(error: NvmlError) -> GpuHealth {
    match error {
        NvmlError::GpuLost => GpuHealth::Lost,
        NvmlError::ResetRequired => GpuHealth::ResetRequired,
        NvmlError::NoPermission | NvmlError::OperatingSystem => GpuHealth::NoPermission,
        other => GpuHealth::Failed { message: other.to_string() },
    }
}
