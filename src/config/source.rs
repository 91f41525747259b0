//! Where values come from: flags, environment and env file, in this order of precedence.
//! In: what the command line gave, the process, the file. Out: `Sources` (pure data, so tests make their own) and its three layers.

use super::env_file;
use super::report::{Finding, Origin, Report};
use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// No env file of people is this long; something else was named.
const FILE_LIMIT: u64 = 1024 * 1024;
/// Where the file is looked for when nobody names one.
const LOOKED_FOR: [&str; 2] = [".env.worker", "/etc/gpu-worker/env"];

/// Everything that the configuration may be read from.
#[derive(Clone, Default)]
pub struct Sources {
    /// Variable names with values, from the command line.
    pub flags: Vec<(String, String)>,
    /// The environment.
    pub env: Vec<(String, String)>,
    /// The file that `--env-file` names: it must be there.
    pub env_file: Option<PathBuf>,
    /// Else the first of these that is there.
    pub default_files: Vec<PathBuf>,
    /// Of this machine; worker and machine are named after it by default.
    pub host_name: String,
}

impl Sources {
    /// Of this process. The one place that reads the environment, the host name and the usual places of the file.
    pub fn from_process(flags: Vec<(String, String)>, env_file: Option<PathBuf>) -> Self {
        let env = std::env::vars_os()
            .map(|(name, value)| (name.to_string_lossy().into_owned(), value.to_string_lossy().into_owned()));
        Self {
            flags,
            env: env.collect(),
            env_file,
            default_files: LOOKED_FOR.map(PathBuf::from).into(),
            host_name: sysinfo::System::host_name().unwrap_or_default(),
        }
    }

    pub(super) fn env(&self, name: &str) -> Option<&str> {
        let mut found = self.env.iter().filter(|(key, value)| key == name && !value.is_empty());
        found.next_back().map(|(_, value)| value.as_str())
    }
}

impl fmt::Debug for Sources {
    /// Names alone: values may be secrets.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = |pairs: &[(String, String)]| pairs.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>();
        out.debug_struct("Sources")
            .field("flags", &names(&self.flags))
            .field("env_file", &self.env_file)
            .field("default_files", &self.default_files)
            .field("host_name", &self.host_name)
            .finish_non_exhaustive()
    }
}

/// One text with the place that it was written at. No `Debug`: it may be a secret.
#[derive(Clone)]
pub(super) struct Entry {
    pub text: String,
    pub origin: Origin,
}

/// One source's names.
pub(super) type Layer = BTreeMap<String, Entry>;

/// Flags, environment, file: the earlier beats the later.
pub(super) fn layers(sources: &Sources, report: &mut Report) -> [Layer; 3] {
    let layer = |pairs: &[(String, String)], origin: Origin| {
        let entry =
            |(name, text): &(String, String)| (name.clone(), Entry { text: text.clone(), origin: origin.clone() });
        pairs.iter().map(entry).collect()
    };
    [layer(&sources.flags, Origin::Flag), layer(&sources.env, Origin::Environment), file_layer(sources, report)]
}

fn file_layer(sources: &Sources, report: &mut Report) -> Layer {
    let whole = |path: &Path| Origin::File { path: path.into(), line: None };
    let found = match &sources.env_file {
        Some(path) => Some((path, read(path))),
        None => sources.default_files.iter().map(|path| (path, read(path))).find(|(_, read)| {
            // `NotADirectory`: a part of the path is a file, so there is none here either.
            !matches!(read, Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory))
        }),
    };
    match found {
        None => Layer::new(),
        Some((path, Ok(bytes))) => entries(path, &bytes, report),
        Some((path, Err(error))) => {
            let message = format!("can't read the env file: {error}");
            let finding = Finding { origin: whole(path), name: None, message };
            // systemd reads its file as root and hands it over as environment: the service's own user need not see it.
            let by_systemd = sources.env_file.is_none() && path.is_absolute();
            if by_systemd && error.kind() == io::ErrorKind::PermissionDenied {
                report.warnings.push(finding);
            } else {
                report.faults.push(finding);
            }
            Layer::new()
        }
    }
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    let file = std::fs::File::open(path)?;
    if file.metadata()?.is_dir() {
        return Err(io::Error::new(io::ErrorKind::IsADirectory, "it is a directory"));
    }
    let mut bytes = Vec::new();
    file.take(FILE_LIMIT + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > FILE_LIMIT {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, "it is longer than 1 MiB"));
    }
    Ok(bytes)
}

fn entries(path: &Path, bytes: &[u8], report: &mut Report) -> Layer {
    let origin = |line| Origin::File { path: path.into(), line: Some(line) };
    let parsed = env_file::parse(bytes);
    let finding = |(line, message)| Finding { origin: origin(line), name: None, message };
    report.faults.extend(parsed.faults.into_iter().map(finding));
    report.warnings.extend(parsed.warnings.into_iter().map(finding));
    let mut layer = Layer::new();
    for assignment in parsed.assignments {
        let entry = Entry { text: assignment.value, origin: origin(assignment.line) };
        if let Some(before) = layer.insert(assignment.name.clone(), entry) {
            let message = format!("set before at {}; the last one counts, as with systemd", before.origin);
            report.warn(&origin(assignment.line), &assignment.name, message);
        }
    }
    layer
}
