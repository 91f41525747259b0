//! Holds the table of allowed imports: which module of the agent may name which other.
//! In: the source text of `src/`. Out: every path that the table does not allow, with its file and line.
//!
//! Comments and string literals are skipped, so documentation may link anywhere. `use` trees are taken apart
//! (`use crate::{a::B, c}`), `super::` is followed to where it leads, and paths in expressions count like `use` lines.
//! Test modules inside `src/` are held to the table too.

mod lex;
mod paths;

use lex::lex;
use paths::paths;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

/// What each module may import beside itself, std and libraries. Data runs down this list, so imports point up.
const ALLOWED: &[(&str, &[&str])] = &[
    ("protocol", &[]),
    ("config", &[]),
    ("telemetry", &["config"]),
    ("service", &["config"]),
    ("hardware", &["config"]),
    // Of the connectors it needs the names and what a probe answers, never a running one.
    ("capabilities", &["hardware", "protocol", "config", CONNECTORS]),
    ("queue", &["protocol", "config", "telemetry"]),
    // It implements the output store of the connectors' contract.
    ("output", &["protocol", "config", "telemetry", CONNECTORS]),
    // It implements the input source of the connectors' contract.
    ("input", &["config", CONNECTORS]),
    ("runner", &["protocol", "capabilities", "queue", "output", CONNECTORS, "telemetry", "service"]),
    ("hub", &["protocol", "config", "capabilities", "queue", "output", "telemetry", "service"]),
    // It shows snapshots and passes on commands that are handed to it.
    ("dashboard", &["telemetry", "service"]),
];

/// These put the parts together and may import every module above.
const COMPOSE: &[&str] = &["main", "lib", "app", "cli"];

/// The workspace's other crates, named as they are in source text.
const CONNECTORS: &str = "connectors";
const STAND_INS: &str = "stand_ins";

/// The library's own name: `gpu_worker::x` in `main.rs` means `crate::x`.
const OURSELVES: &str = "gpu_worker";

#[test]
fn the_table_of_allowed_imports_holds() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut violations = Vec::new();
    let mut files = 0;
    for file in rust_files(&root) {
        files += 1;
        let text = fs::read_to_string(&file).expect("a source file is UTF-8 text");
        violations.extend(violations_of(file.strip_prefix(&root).expect("a file below src"), &text));
    }
    assert!(files > 3, "only {files} source files found below {}", root.display());
    let list: String = violations.iter().map(|violation| format!("\n  src/{violation}")).collect();
    assert!(violations.is_empty(), "imports that the table in tests/it/imports.rs does not allow:{list}");
}

#[test]
fn violations_are_found_in_every_form_that_rust_has() {
    // One case a line: the file, its text, and the violations as `line importer imported`.
    let cases: &[(&str, &str, &[&str])] = &[
        // Allowed: itself, std, libraries, what the table lists.
        ("queue/claim.rs", "use std::fmt;\nuse crate::queue::lease::Lease;\nuse crate::protocol::Job;", &[]),
        ("runner/mod.rs", "use connectors::contract::Connector;\nuse tokio::{net, sync};", &[]),
        ("app.rs", "use crate::{hub, queue::claim, runner};\nuse connectors::registry;", &[]),
        ("cli/dev.rs", "use stand_ins::comfyui;\nuse crate::app;", &[]),
        ("main.rs", "use gpu_worker::cli;", &[]),
        // A plain use, a group, a nested group, a root group, a rename, a re-export, a glob.
        ("protocol/job.rs", "\nuse crate::config::Config;", &["2 protocol config"]),
        (
            "protocol.rs",
            "use crate::{\n  queue::Queue,\n  config::{self, Jobs},\n};",
            &["2 protocol queue", "3 protocol config"],
        ),
        ("config/mod.rs", "use {std::fmt, crate::telemetry::Notice};", &["1 config telemetry"]),
        ("telemetry/mod.rs", "pub(crate) use crate::queue as q;", &["1 telemetry queue"]),
        ("hardware/mod.rs", "use crate::*;", &["1 hardware *"]),
        ("hardware/mod.rs", "use crate::{config, runner::*};", &["1 hardware runner"]),
        // Paths in expressions, types and macros.
        (
            "service/loops.rs",
            "fn f() {\n  let a: Vec<crate::queue::Id> = crate::hub::f::<u8>();\n}",
            &["2 service queue", "2 service hub"],
        ),
        ("output/mod.rs", "macro_rules! m { () => { $crate::runner::go() } }", &["1 output runner"]),
        // super, from a folder, from an inline module, and through a group.
        ("queue/claim.rs", "use super::super::hub::Rest;\nuse super::lease;", &["1 queue hub"]),
        ("queue/mod.rs", "use super::runner::Run;", &["1 queue runner"]),
        (
            "queue/mod.rs",
            "mod tests {\n  use super::*;\n  use super::super::app;\n}\nuse super::cli;",
            &["3 queue app", "5 queue cli"],
        ),
        ("dashboard/mod.rs", "use super::{service, config::Config};", &["1 dashboard config"]),
        // Other crates of the workspace.
        ("queue/mod.rs", "use connectors::failure::Failure;", &["1 queue connectors"]),
        ("queue/mod.rs", "use ::connectors as engines;", &["1 queue connectors"]),
        ("hub/mod.rs", "fn f(x: connectors::Probe) {}", &["1 hub connectors"]),
        ("app.rs", "use stand_ins::comfyui;", &["1 app stand_ins"]),
        ("runner/mod.rs", "fn f() { ::stand_ins::start() }", &["1 runner stand_ins"]),
        // Neither a library's module of the same name nor a longer word is ours.
        (
            "queue/mod.rs",
            "use lib::connectors::A;\nuse lib::{connectors::A};\nlet my_crate::config = lib::stand_ins::X;",
            &[],
        ),
        // Comments, strings and characters are not code; a lifetime is not a character.
        (
            "queue/mod.rs",
            "//! [`crate::hub`]\n/* crate::hub /* nested */ crate::hub */\nconst A: &str = \"crate::hub \\\" crate::hub\";",
            &[],
        ),
        (
            "queue/mod.rs",
            "const A: &str = r#\"\" crate::hub\"#; const B: char = '\"'; use crate::hub; const C: char = '\\'';",
            &["1 queue hub"],
        ),
        ("queue/mod.rs", "fn f<'a>(x: &'a str) { crate::hub::f(x) }", &["1 queue hub"]),
        // A module that nobody has put into the table.
        ("novelty/mod.rs", "use std::fmt;", &["0 novelty "]),
        ("queue/mod.rs", "use crate::novelty;", &["1 queue novelty"]),
    ];
    for (file, text, expected) in cases {
        let found: Vec<String> = violations_of(Path::new(file), text)
            .iter()
            .map(|v| format!("{} {} {}", v.line, v.importer, v.imported))
            .collect();
        assert_eq!(found, *expected, "in {file}:\n{text}");
    }
}

/// One path that the table does not allow.
struct Violation {
    file: PathBuf,
    /// From 1; 0 speaks of the whole file.
    line: usize,
    importer: String,
    /// Empty if the importer itself is not in the table.
    imported: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Violation { file, line, importer, imported } = self;
        if imported.is_empty() {
            return write!(f, "{}: `{importer}` is not in the table", file.display());
        }
        write!(f, "{}:{line}: `{importer}` may not import `{imported}`", file.display())
    }
}

/// All violations in one file, whose path is relative to `src/`.
fn violations_of(file: &Path, text: &str) -> Vec<Violation> {
    let home = module_of(file);
    let importer = home.first().cloned().unwrap_or_else(|| file.file_stem().unwrap().to_string_lossy().into_owned());
    let violation =
        |line, imported: String| Violation { file: file.to_path_buf(), line, importer: importer.clone(), imported };

    let composes = COMPOSE.contains(&importer.as_str());
    let row = ALLOWED.iter().find(|(module, _)| *module == importer).map(|(_, allowed)| *allowed);
    if row.is_none() && !composes {
        return vec![violation(0, String::new())];
    }
    let may_import = |imported: &str| match imported {
        STAND_INS => importer == "cli",
        CONNECTORS if composes => true,
        _ if composes => COMPOSE.contains(&imported) || ALLOWED.iter().any(|(module, _)| *module == imported),
        _ => imported == importer || row.is_some_and(|allowed| allowed.contains(&imported)),
    };

    let mut forbidden: Vec<(usize, String)> = paths(&lex(text), &home)
        .into_iter()
        .filter_map(|(line, path)| Some((line, top_level(&path)?)))
        .filter(|(_, imported)| !may_import(imported))
        .collect();
    forbidden.dedup();
    forbidden.into_iter().map(|(line, imported)| violation(line, imported)).collect()
}

/// The module that a file is: `queue/claim.rs` is `queue::claim`, `lib.rs` and `main.rs` are the root.
fn module_of(file: &Path) -> Vec<String> {
    let mut parts: Vec<String> =
        file.with_extension("").components().map(|part| part.as_os_str().to_string_lossy().into_owned()).collect();
    let root = parts.len() == 1 && matches!(parts[0].as_str(), "lib" | "main");
    if root || parts.last().is_some_and(|last| last == "mod") {
        parts.pop();
    }
    parts
}

/// The module of ours, or the crate of the workspace, that a resolved path leads to; `None` for libraries.
fn top_level(path: &[String]) -> Option<String> {
    match path.first().map(String::as_str) {
        Some("crate" | OURSELVES) => path.get(1).cloned(),
        Some(name @ (CONNECTORS | STAND_INS)) => Some(name.to_owned()),
        _ => None,
    }
}

/// All Rust files below `folder`, sorted.
pub fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).expect("a folder that can be read") {
        let path = entry.expect("an entry that can be read").path();
        if path.is_dir() {
            files.extend(rust_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files.sort();
    files
}
