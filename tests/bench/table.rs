//! What a section has measured, as a table for people.
//! In: samples, and which yardstick they stand beside. Out: one line a figure, with the command that repeats it.

use std::time::Duration;

/// A yardstick of the same run: its name and its median.
#[derive(Clone)]
pub struct Yardstick {
    name: String,
    p50: f64,
}

pub struct Table {
    section: String,
    lines: Vec<[String; 7]>,
}

/// Microseconds, with a fraction.
pub fn us(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}

/// Nearest rank.
pub fn percentile(samples: &[f64], share: f64) -> f64 {
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    let rank = (share * sorted.len() as f64).ceil() as usize;
    sorted.get(rank.clamp(1, sorted.len().max(1)) - 1).copied().unwrap_or(f64::NAN)
}

fn text(value: f64) -> String {
    match value.abs() {
        big if big >= 100.0 => format!("{value:.0}"),
        middle if middle >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

impl Table {
    pub fn new(section: &str) -> Self {
        let heads = ["figure", "samples", "p50", "p99", "max", "unit", "beside its yardstick"];
        Self { section: section.to_owned(), lines: vec![heads.map(str::to_owned)] }
    }

    /// A yardstick, for the figures that follow.
    pub fn yardstick(&mut self, name: &str, unit: &str, samples: &[f64]) -> Yardstick {
        self.spread(&format!("[{name}]"), unit, samples, None);
        Yardstick { name: name.to_owned(), p50: percentile(samples, 0.5) }
    }

    /// A figure with many samples.
    pub fn spread(&mut self, figure: &str, unit: &str, samples: &[f64], beside: Option<&Yardstick>) {
        let (p50, p99) = (percentile(samples, 0.5), percentile(samples, 0.99));
        let (p99, most) = match samples.len() {
            1 => (String::new(), String::new()),
            _ => (text(p99), text(percentile(samples, 1.0))),
        };
        let beside = beside.map(|yardstick| format!("{} x {}", text(p50 / yardstick.p50), yardstick.name));
        let count = samples.len().to_string();
        let line = [figure.to_owned(), count, text(p50), p99, most, unit.to_owned(), beside.unwrap_or_default()];
        // As it comes, for whoever waits; the table follows.
        eprintln!("  {} {}: {} {}", self.section, line[0], line[2], line[5]);
        self.lines.push(line);
    }

    /// A figure that is one number, made from `count` things.
    pub fn single(&mut self, figure: &str, unit: &str, count: usize, value: f64, beside: Option<&Yardstick>) {
        self.spread(figure, unit, &[value], beside);
        if let Some(line) = self.lines.last_mut() {
            line[1] = count.to_string();
        }
    }

    pub fn print(&self) {
        println!("\n{} - again with: make bench NAME={}", self.section, self.section);
        println!("{}", machine());
        let width = |column: usize| self.lines.iter().map(|line| line[column].chars().count()).max().unwrap_or(0);
        let widths: [usize; 7] = std::array::from_fn(width);
        for line in &self.lines {
            let mut out = format!("  {:<1$}", line[0], widths[0]);
            for column in 1..5 {
                out += &format!("  {:>1$}", line[column], widths[column]);
            }
            println!("{out}  {:<1$}  {2}", line[5], widths[5], line[6]);
        }
    }
}

/// What the figures were taken on, and how busy it is with other things.
fn machine() -> String {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let cpu = read("/proc/cpuinfo");
    let model = cpu.lines().find(|line| line.starts_with("model name")).and_then(|line| line.split_once(": "));
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let load = read("/proc/loadavg");
    let load = load.split(' ').take(1).collect::<String>();
    format!("{cores} cores, {}, load {load}", model.map_or("unknown processor", |(_, name)| name))
}
