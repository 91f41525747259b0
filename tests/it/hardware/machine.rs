//! A child process that sees a stand-in NVML instead of a driver.
//! In: a scenario of `nvml/nvml.c`, built here. Out: what the child finds, each time it is asked.
//!
//! The dynamic loader reads its search path when a process starts, so this test binary starts itself again; the child looks each
//! time a line comes in and prints what it found.

use gpu_worker::config::DeclaredHardware;
use gpu_worker::hardware::{DriverState, GpuHealth, Inventory, Sampler, Settings};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;
use tempfile::TempDir;

const CHILD: &str = "GPU_WORKER_PROBE_CHILD";
const ROOT: &str = "GPU_WORKER_PROBE_ROOT";
const MARK: &str = "inventory: ";

#[test]
#[ignore = "the other tests start it as a child process"]
fn child() {
    let Ok(deadline_ms) = std::env::var(CHILD) else {
        return;
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let mut settings = Settings::new("/", DeclaredHardware::default());
    settings.root = PathBuf::from(std::env::var_os(ROOT).unwrap());
    settings.deadline = Duration::from_millis(deadline_ms.parse().unwrap());
    let sampler = Sampler::start(settings).unwrap();
    for _ in std::io::stdin().lines() {
        let inventory = runtime.block_on(sampler.inventory());
        let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
        let answer = (inventory, maps.contains("libnvidia-ml"));
        println!("\n{MARK}{}", serde_json::to_string(&answer).unwrap());
    }
    // A thread that hangs in the stand-in must not keep the child.
    #[allow(clippy::exit, reason = "this is the end of a child process")]
    std::process::exit(0);
}

pub struct Machine {
    folder: TempDir,
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Machine {
    pub fn new(scenario: &str) -> Self {
        Self::with(scenario, 60_000, &[])
    }

    pub fn with(scenario: &str, deadline_ms: u64, compiler_flags: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        build(folder.path(), compiler_flags);
        Self::start(folder, scenario, deadline_ms)
    }

    pub fn start(folder: TempDir, scenario: &str, deadline_ms: u64) -> Self {
        std::fs::write(folder.path().join("scenario"), scenario).unwrap();
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "hardware::machine::child", "--ignored", "--nocapture"]);
        command.env(CHILD, deadline_ms.to_string()).env("LD_LIBRARY_PATH", folder.path()).env(ROOT, folder.path());
        command.env("GPU_WORKER_FAKE_NVML", folder.path().join("scenario"));
        command.env("GPU_WORKER_FAKE_NVML_GATE", folder.path().join("gate"));
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (input, output) = (child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()));
        Self { folder, child, input, output }
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub fn becomes(&self, scenario: &str) {
        std::fs::write(self.folder.path().join("scenario"), scenario).unwrap();
    }

    /// What the child sees now, and whether the library is loaded in it.
    pub fn look_and_loaded(&mut self) -> (Inventory, bool) {
        writeln!(self.input, "look").unwrap();
        let mut line = String::new();
        while !line.starts_with(MARK) {
            line.clear();
            assert_ne!(self.output.read_line(&mut line).unwrap(), 0, "the child ended: {:?}", self.child.wait());
        }
        serde_json::from_str(&line[MARK.len()..]).unwrap()
    }

    pub fn look(&mut self) -> Inventory {
        self.look_and_loaded().0
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub fn build(folder: &Path, flags: &[&str]) {
    compile(folder, "nvml.c", "libnvidia-ml.so.1", flags);
}

/// Builds a stand-in library of `nvml/` under the name that programs look for.
pub fn compile(folder: &Path, source: &str, library: &str, flags: &[&str]) {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/nvml").join(source);
    let mut compiler = Command::new("cc");
    compiler.args(["-shared", "-fPIC", "-O0", "-Wall", "-Wextra", "-Werror"]).args(flags);
    let status = compiler.arg("-o").arg(folder.join(library)).arg(source).status();
    assert!(status.expect("a C compiler (cc) is needed").success());
}

pub fn states(inventory: &Inventory) -> Vec<GpuHealth> {
    inventory.gpus.iter().map(|gpu| gpu.health.clone()).collect()
}

pub fn ready() -> DriverState {
    DriverState::Ready { name: "nvidia".into(), version: Some("550.90.07".into()) }
}
