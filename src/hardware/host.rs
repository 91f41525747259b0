//! Reads the machine around the GPUs: processor, memory, disk, names.
//! In: the kernel's files, the folder whose disk counts. Out: a `Host`.

use super::inventory::whole_when_possible;
use super::nominal;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use sysinfo::{MemoryRefreshKind, RefreshKind, System};

const GIB: f64 = (1u64 << 30) as f64;

/// The machine around the GPUs. In a container its limits count, not the host's size.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Host {
    /// As the kernel knows it.
    pub name: Option<String>,
    /// Such as `Debian GNU/Linux 12`.
    pub os: Option<String>,
    /// Such as `6.1.0-28-amd64`.
    pub kernel: Option<String>,
    /// For matching: what this process may use (affinity, CPU quota), or `CPU_CORES`.
    pub cpu_cores: u32,
    /// Of the whole machine.
    pub cpu_physical: Option<u32>,
    /// Of the whole machine, hyper-threads counted.
    pub cpu_logical: Option<u32>,
    /// For matching: RAM as it is sold, or the container's limit, or `RAM_GB`.
    #[serde(serialize_with = "whole_when_possible")]
    pub ram_gb: Option<f64>,
    /// As the kernel reports it, or the container's limit.
    pub ram_total_bytes: Option<u64>,
    /// What programs can still have.
    pub ram_available_bytes: Option<u64>,
    /// The file system under the output folder.
    pub disk: Option<Disk>,
    /// The variables that override what was detected.
    #[serde(default)]
    pub declared: Vec<String>,
}

/// A file system.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Disk {
    /// The folder asked about.
    pub folder: PathBuf,
    /// Its size.
    pub total_bytes: u64,
    /// Free for this user.
    pub free_bytes: u64,
}

/// Reads all of it. May block when the disk does.
pub(super) fn read(root: &Path, folder: &Path) -> Host {
    let count = |count: usize| u32::try_from(count).ok();
    let cores = std::thread::available_parallelism().ok();
    let memory = memory(root);
    Host {
        name: System::host_name().ok(),
        os: System::long_os_version().ok(),
        kernel: System::kernel_version().ok(),
        cpu_cores: cores.and_then(|cores| count(cores.get())).unwrap_or(1),
        cpu_physical: System::physical_core_count().ok().and_then(count),
        cpu_logical: logical_cores(root),
        ram_gb: memory.as_ref().map(|memory| memory.gb),
        ram_total_bytes: memory.as_ref().map(|memory| memory.total),
        ram_available_bytes: memory.map(|memory| memory.available),
        disk: disk(folder),
        declared: Vec::new(),
    }
}

struct Memory {
    gb: f64,
    total: u64,
    available: u64,
}

fn memory(root: &Path) -> Option<Memory> {
    let what = RefreshKind::nothing().with_memory(MemoryRefreshKind::nothing().with_ram());
    let system = System::new_with_specifics(what).ok()?;
    let (total, available) = (system.total_memory(), system.available_memory());
    Some(match container_limit(root).filter(|limit| limit.bytes < total) {
        Some(limit) => Memory {
            gb: (limit.bytes as f64 / GIB * 10.0).floor() / 10.0,
            total: limit.bytes,
            available: limit.free().min(available),
        },
        None => Memory { gb: nominal::ram_gb(total), total, available },
    })
}

fn logical_cores(root: &Path) -> Option<u32> {
    let processors = std::fs::read_to_string(root.join("proc/cpuinfo")).ok()?;
    u32::try_from(processors.lines().filter(|line| line.starts_with("processor")).count())
        .ok()
        .filter(|count| *count > 0)
}

struct Limit {
    bytes: u64,
    used: u64,
    reclaimable: u64,
}

impl Limit {
    fn free(&self) -> u64 {
        self.bytes.saturating_sub(self.used.saturating_sub(self.reclaimable))
    }
}

/// The container's memory limit (cgroup v2, then v1). Only the root of what this process sees counts: on a plain host that has no
/// limit file, and a limit on the agent's own systemd unit does not bind the engines, which run in units of their own.
fn container_limit(root: &Path) -> Option<Limit> {
    let v2 = root.join("sys/fs/cgroup");
    let v1 = v2.join("memory");
    let number = |path: PathBuf| std::fs::read_to_string(path).ok()?.trim().parse::<u64>().ok();
    let reclaimable = |folder: &Path, key: &str| {
        let text = std::fs::read_to_string(folder.join("memory.stat")).unwrap_or_default();
        text.lines().find_map(|line| line.strip_prefix(key)?.trim().parse().ok()).unwrap_or(0)
    };
    let new = |bytes| Limit {
        bytes,
        used: number(v2.join("memory.current")).unwrap_or(0),
        reclaimable: reclaimable(&v2, "inactive_file "),
    };
    let old = |bytes| Limit {
        bytes,
        used: number(v1.join("memory.usage_in_bytes")).unwrap_or(0),
        reclaimable: reclaimable(&v1, "total_inactive_file "),
    };
    number(v2.join("memory.max")).map(new).or_else(|| number(v1.join("memory.limit_in_bytes")).map(old))
}

/// The folder may not exist yet; then the nearest one above it that does.
fn disk(folder: &Path) -> Option<Disk> {
    let existing = std::path::absolute(folder).ok()?.ancestors().find(|path| path.exists())?.to_owned();
    let status = rustix::fs::statvfs(existing).ok()?;
    Some(Disk {
        folder: folder.to_owned(),
        total_bytes: status.f_blocks.saturating_mul(status.f_frsize),
        free_bytes: status.f_bavail.saturating_mul(status.f_frsize),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(files: &[(&str, &str)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = root.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        root
    }

    #[test]
    fn a_containers_limit_counts() {
        let root = with(&[
            ("sys/fs/cgroup/memory.max", "104857600\n"),
            ("sys/fs/cgroup/memory.current", "94371840\n"),
            ("sys/fs/cgroup/memory.stat", "anon 1\ninactive_file 52428800\n"),
        ]);
        let host = read(root.path(), root.path());
        assert_eq!(host.ram_total_bytes, Some(104_857_600));
        assert_eq!(host.ram_available_bytes, Some(104_857_600 - 94_371_840 + 52_428_800));
        assert_eq!(host.ram_gb, Some(0.0));
    }

    #[test]
    fn the_older_files_count_too() {
        let root = with(&[("sys/fs/cgroup/memory/memory.limit_in_bytes", "1073741824\n")]);
        assert_eq!(read(root.path(), root.path()).ram_gb, Some(1.0));
    }

    #[test]
    fn no_limit_is_the_whole_machine() {
        for files in [
            vec![],
            vec![("sys/fs/cgroup/memory.max", "max\n")],
            vec![("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n")],
        ] {
            let root = with(&files);
            let host = read(root.path(), root.path());
            assert!(host.ram_total_bytes > Some(256 << 20), "{host:?}");
        }
    }

    #[test]
    fn the_disk_of_a_folder_that_does_not_exist_yet_is_that_of_its_parent() {
        let root = with(&[]);
        let disk = read(root.path(), &root.path().join("not/yet")).disk.unwrap();
        assert!(disk.total_bytes > 0 && disk.free_bytes <= disk.total_bytes);
    }
}
