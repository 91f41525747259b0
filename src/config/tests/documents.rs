//! Table, struct, documentation and example agree.
//! In: the table and the committed files. Out: with `UPDATE_DOCS=1`, the files written anew.

use super::super::address_parts::ADDRESSES;
use super::super::former::{RESERVED, RETIRED};
use super::super::load::read;
use super::super::names::working;
use super::super::table::VARIABLES;
use super::super::value::parse;
use super::super::variable::{Mark, Preset};
use super::{from_env, load_file};
use crate::config::{example, page};
use std::collections::BTreeSet;
use std::path::Path;

#[test]
fn config_docs_match_the_table() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for (name, text) in [(".env.worker.example", example()), ("docs/configuration.md", page())] {
        let path = root.join(name);
        // Regenerates instead of comparing; the one variable that a test here reads.
        if std::env::var_os("UPDATE_DOCS").is_some() {
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, &text).unwrap();
        }
        let committed = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(
            committed == text,
            "{name} differs from the table of variables. Write it anew: UPDATE_DOCS=1 cargo test --lib config_docs"
        );
    }
}

#[test]
fn the_loader_reads_every_variable_and_no_other() {
    let (_, asked) = read(&from_env(&[])).unwrap();
    let named: BTreeSet<_> = VARIABLES.iter().map(|variable| variable.name).collect();
    assert_eq!(asked, named);
}

#[test]
fn every_name_stands_once_in_the_table() {
    let formers = RETIRED.iter().chain(RESERVED).flat_map(|former| former.names).copied();
    let mut seen = BTreeSet::new();
    for name in working().chain(formers) {
        assert!(seen.insert(name), "{name} stands twice");
        assert!(name.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_'), "{name}");
    }
    for address in ADDRESSES {
        assert!(VARIABLES.iter().any(|variable| variable.name == address.target));
    }
}

#[test]
fn every_default_is_a_good_value() {
    for variable in VARIABLES {
        if let Preset::Is(text) = variable.preset {
            assert!(parse(&variable.kind, text).is_ok(), "{}", variable.name);
            assert_ne!(variable.mark, Mark::Secret, "{}", variable.name);
        }
        assert!(variable.doc.ends_with('.'), "{}", variable.name);
        let has_unit = [
            ("_MS", "milliseconds"),
            ("_SECONDS", "seconds"),
            ("_MINUTES", "minutes"),
            ("_HOURS", "hours"),
            ("_GB", "GB"),
        ];
        for (suffix, unit) in has_unit {
            assert!(
                !variable.name.ends_with(suffix) || variable.doc.contains(unit),
                "{} lacks its unit",
                variable.name
            );
        }
    }
}

#[test]
fn the_example_loads_as_it_is() {
    let loaded = load_file(example()).unwrap_or_else(|report| panic!("{report}"));
    assert_eq!(loaded.warnings, []);
    assert!(loaded.config.engines.comfyui.is_some());
}

#[test]
fn the_example_shows_the_defaults() {
    let all: String = example().lines().map(|line| format!("{}\n", switched_on(line))).collect();
    // Every address is set then, so every engine would be chosen.
    let all = all
        .replace("\nSERVICES=\n", "\nSERVICES=comfyui\n")
        .replace("\nA1111_URL=http", "\n#A1111_URL=http")
        .replace("\nOPENAI_URL=http", "\n#OPENAI_URL=http");
    let written = load_file(&all).unwrap_or_else(|report| panic!("{report}"));
    assert_eq!(written.warnings, []);
    let bare = load_file("").unwrap();
    assert_eq!(format!("{:?}", written.config), format!("{:?}", bare.config));
    for variable in VARIABLES {
        let lines = all.lines().filter(|line| line.trim_start_matches('#').starts_with(&format!("{}=", variable.name)));
        assert_eq!(lines.count(), 1, "{} in the example", variable.name);
    }
}

fn switched_on(line: &str) -> &str {
    match line.strip_prefix('#') {
        Some(rest) if rest.starts_with(|first: char| first.is_ascii_uppercase()) => rest,
        _ => line,
    }
}

#[test]
fn the_page_names_every_known_name() {
    let page = page();
    let formers = RETIRED.iter().chain(RESERVED).flat_map(|former| former.names).copied();
    for name in working().chain(formers) {
        assert!(page.contains(&format!("`{name}`")), "{name}");
    }
}
