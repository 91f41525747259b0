//! What a class asks for beside its service, in words.
//! In: a class. Out: one line a demand, as an operator would say it.

use super::requirements::Demand;
use crate::protocol::class::Class;

/// Longest line, in characters: values come out of jobs.
const LINE_MAX: usize = 120;

/// What its jobs need and what they refuse.
pub fn needs(class: &Class) -> Vec<String> {
    let needed = Demand::required(class).map(|demand| words(&demand));
    let refused = Demand::excluded(class).map(|(_, demand)| format!("not: {}", words(&demand)));
    needed.chain(refused).map(cut).collect()
}

fn cut(mut line: String) -> String {
    if let Some((at, _)) = line.char_indices().nth(LINE_MAX) {
        line.truncate(at);
        line.push('…');
    }
    line
}

fn words(demand: &Demand<'_>) -> String {
    match demand {
        Demand::GpuMemory(gb) => format!("{gb} GB of GPU memory"),
        Demand::GpuCount(count) => format!("{count} GPUs"),
        Demand::CpuCores(count) => format!("{count} CPU cores"),
        Demand::Ram(gb) => format!("{gb} GB of RAM"),
        Demand::GpuModel(names) => format!("GPU {}", names.join(" or ")),
        Demand::Models { service: None, names } => format!("model {}", names.join(", ")),
        Demand::Models { service: Some(service), names } => format!("model {} of {service}", names.join(", ")),
        Demand::Isolation(isolation) => format!("customer isolation {}", super::advertised::isolation_word(*isolation)),
        Demand::Components(names) => format!("component {}", names.join(", ")),
        Demand::QualityLevels(names) => format!("quality {}", names.join(", ")),
        Demand::Regions(names) => format!("in {}", names.join(" or ")),
        Demand::Compliance(names) => format!("compliance with {}", names.join(", ")),
        Demand::CostTiers(names) => format!("cost tier {}", names.join(" or ")),
        Demand::MaxRatePerHour(rate) => format!("at most {rate} an hour"),
        Demand::TimeoutMinutes(minutes) => format!("{minutes} minutes to run"),
        Demand::Custom { path, needs } => format!("{path} {needs}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn demands_are_told_as_people_say_them() {
        let class = r#"{"exclude":{"geographic_region":"eu"},"require":{"hardware.gpu_memory_gb":16,"models":["a","b"],"x.y":true}}"#;
        let class = Class::parse(class).unwrap();
        assert_eq!(needs(&class), ["16 GB of GPU memory", "model a, b", "x.y true", "not: in eu"]);
        let long = format!(r#"{{"require":{{"models":["{}"]}}}}"#, "ü".repeat(500));
        assert_eq!(needs(&Class::parse(&long).unwrap())[0].chars().count(), LINE_MAX + 1);
    }
}
