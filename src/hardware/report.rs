//! What `gpu-worker probe` prints: aligned text for a person, JSON for a program.
//! In: an inventory. Out: text.

use super::{Gpu, Host, Inventory, MigInstance, Severity, Source};
use std::fmt::Write;

/// One JSON document that [`super::from_file`] reads back.
pub fn json(inventory: &Inventory) -> String {
    serde_json::to_string_pretty(inventory).unwrap_or_else(|error| format!("{{\"error\":\"{error}\"}}"))
}

/// Some lines, each fault with its remedy. Ends with a line feed.
pub fn text(inventory: &Inventory) -> String {
    let mut out = String::new();
    line(&mut out, "GPU driver", &inventory.gpu_driver.explain());
    remedy(&mut out, inventory.gpu_driver.remedy());
    let usable = inventory.gpus.iter().filter(|gpu| gpu.health.is_usable()).count();
    line(
        &mut out,
        "GPUs",
        &match inventory.gpus.len() {
            0 => "none".into(),
            all if all == usable => all.to_string(),
            all => format!("{all}, {usable} usable"),
        },
    );
    gpus(&mut out, &inventory.gpus);
    host(&mut out, &inventory.host);
    for note in &inventory.notes {
        line(&mut out, if note.severity == Severity::Warning { "Warning" } else { "Note" }, &note.text);
    }
    out
}

fn gpus(out: &mut String, gpus: &[Gpu]) {
    if gpus.is_empty() {
        return;
    }
    let mut rows = vec![["#", "model", "memory", "free", "load", "temp", "power", "state"].map(str::to_owned)];
    rows.extend(gpus.iter().map(row));
    let widths: [usize; 8] =
        std::array::from_fn(|column| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0));
    let mut rows = rows.iter().map(|row| {
        let cells: Vec<String> =
            row.iter().zip(widths).enumerate().map(|(column, (cell, width))| aligned(column, cell, width)).collect();
        format!("  {}", cells.join("  ").trim_end())
    });
    let _ = writeln!(out, "{}", rows.next().unwrap_or_default());
    for (gpu, row) in gpus.iter().zip(rows) {
        let _ = writeln!(out, "{row}");
        gpu.mig.iter().for_each(|instance| mig(out, instance));
        remedy(out, gpu.health.remedy());
    }
}

/// Figures to the right, words to the left.
fn aligned(column: usize, cell: &str, width: usize) -> String {
    if (2..=6).contains(&column) { format!("{cell:>width$}") } else { format!("{cell:<width$}") }
}

fn row(gpu: &Gpu) -> [String; 8] {
    let mark = match gpu.source {
        Source::Detected if gpu.declared.is_empty() => "",
        Source::Detected | Source::Declared => " (declared)",
        Source::Simulated => " (simulated)",
    };
    let metrics = &gpu.metrics;
    let dash = || "-".to_owned();
    [
        gpu.index.to_string(),
        format!("{}{mark}", gpu.name.as_deref().unwrap_or("unknown")),
        gpu.memory_gb.map_or_else(dash, |gb| format!("{gb} GB")),
        metrics.memory_free_bytes.map_or_else(dash, gib),
        metrics.utilisation_percent.map_or_else(dash, |percent| format!("{percent} %")),
        metrics.temperature_c.map_or_else(dash, |celsius| format!("{celsius} °C")),
        metrics.power_w.map_or_else(dash, |watts| format!("{watts:.0} W")),
        gpu.health.explain(),
    ]
}

fn mig(out: &mut String, instance: &MigInstance) {
    let profile = instance.profile.as_deref().unwrap_or("unknown profile");
    let memory = instance.memory_gb.map_or("-".into(), |gb| format!("{gb} GB"));
    let free = instance.memory_free_bytes.map_or("-".into(), gib);
    let _ = writeln!(out, "     MIG {}  {profile}  {memory}  {free} free", instance.index);
}

fn host(out: &mut String, host: &Host) {
    let words = |words: [&Option<String>; 3]| words.into_iter().flatten().cloned().collect::<Vec<_>>().join(", ");
    let names = words([&host.name, &host.os, &host.kernel]);
    if !names.is_empty() {
        line(out, "Host", &names);
    }
    let count = |count: Option<u32>| count.map_or("?".into(), |count| count.to_string());
    let (physical, logical) = (count(host.cpu_physical), count(host.cpu_logical));
    line(out, "CPU", &format!("{} usable; the machine has {physical} cores, {logical} threads", host.cpu_cores));
    if let (Some(gb), Some(free)) = (host.ram_gb, host.ram_available_bytes) {
        line(out, "RAM", &format!("{gb} GB, {} available", gib(free)));
    }
    if let Some(disk) = &host.disk {
        line(
            out,
            "Disk",
            &format!("{} of {} free at {}", gib(disk.free_bytes), gib(disk.total_bytes), disk.folder.display()),
        );
    }
}

fn line(out: &mut String, label: &str, text: &str) {
    let _ = writeln!(out, "{label:<11} {text}");
}

fn remedy(out: &mut String, remedy: Option<&str>) {
    if let Some(remedy) = remedy {
        let _ = writeln!(out, "  -> {remedy}");
    }
}

fn gib(bytes: u64) -> String {
    format!("{:.1} GiB", bytes as f64 / f64::from(1 << 30))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hardware::{GpuHealth, from_file, simulated};

    #[test]
    fn a_person_reads_aligned_rows_and_a_remedy() {
        let mut inventory = simulated(2, 24.0);
        inventory.gpus[1].health = GpuHealth::Lost;
        inventory.gpus[1].metrics = Default::default();
        let expected = "\
GPU driver  simulated
GPUs        2, 1 usable
  #  model                      memory      free  load  temp  power  state
  0  Simulated GPU (simulated)   24 GB  24.0 GiB   0 %     -      -  not checked
  1  Simulated GPU (simulated)   24 GB         -     -     -      -  lost: fallen off the bus (Xid 79)
  -> reboot; if it comes back, look at power, seating and temperature of the card
CPU         1 usable; the machine has ? cores, ? threads
Note        the GPUs are simulated
";
        assert_eq!(text(&inventory), expected);
    }

    #[test]
    fn a_program_reads_back_what_was_printed() {
        let inventory = simulated(1, 24.0);
        let file = tempfile::NamedTempFile::new().unwrap();
        let json = json(&inventory);
        std::fs::write(file.path(), &json).unwrap();
        assert!(json.contains("\"memory_gb\": 24,"), "{json}");
        assert_eq!(from_file(file.path()).unwrap(), inventory);
        std::fs::write(file.path(), "{}").unwrap();
        assert!(from_file(file.path()).unwrap_err().to_string().ends_with("is not an inventory"));
    }
}
