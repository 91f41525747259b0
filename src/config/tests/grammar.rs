//! The env file's grammar, good and hostile.
//! In: bytes. Out: nothing.

use super::super::env_file::parse;
use super::super::table::VARIABLES;
use super::{file, load_file};
use crate::config::{Sources, load};

#[test]
fn reads_what_systemd_reads() {
    // Each row is what the parser in systemd 252's shared library answered.
    let rows: &[(&str, &[(&str, &str)])] = &[
        ("A=1", &[("A", "1")]),
        ("A=1\nB=2\n", &[("A", "1"), ("B", "2")]),
        ("A=1\r\nB=2\r\n", &[("A", "1"), ("B", "2")]),
        ("A=1\rB=2\r", &[("A", "1"), ("B", "2")]),
        ("  A = 1 2  \n", &[("A", "1 2")]),
        ("A=", &[("A", "")]),
        ("A=\nB=\n", &[("A", ""), ("B", "")]),
        ("# c\n; c\nA=1\n#B=2\n", &[("A", "1")]),
        ("A=pa$$word", &[("A", "pa$$word")]),
        ("A=${HOME}", &[("A", "${HOME}")]),
        ("A=\"pa$$word\"", &[("A", "pa$$word")]),
        ("A='a b'", &[("A", "a b")]),
        ("A=' a '  ", &[("A", " a ")]),
        ("A=\"a\" 'b'", &[("A", "ab")]),
        ("A=\"a\"b c", &[("A", "ab c")]),
        ("A=a\"b\"", &[("A", "a\"b\"")]),
        ("A=it's", &[("A", "it's")]),
        ("A='\\n'", &[("A", "\\n")]),
        ("A=\"\\n\\\"\\\\\\$\\`\"", &[("A", "\\n\"\\$`")]),
        ("A=a\\nb", &[("A", "anb")]),
        ("A=a\\ ", &[("A", "a ")]),
        ("A=a\\\nb", &[("A", "ab")]),
        ("A=a \\\n  b", &[("A", "a   b")]),
        ("A=\"a\\\nb\"", &[("A", "ab")]),
        ("A='x\ny'\nB=2", &[("A", "x\ny"), ("B", "2")]),
        ("A=b=c", &[("A", "b=c")]),
        ("A=a\\", &[("A", "a")]),
        ("A=\\\"a\\\"", &[("A", "\"a\"")]),
        ("# é \u{e9}\nA=é", &[("A", "é")]),
        ("A=a\\\r\nB=2", &[("A", "a"), ("B", "2")]),
        ("A=\"a\\\r\nb\"", &[("A", "a\\\r\nb")]),
        ("A=\"a\" # c", &[("A", "a# c")]),
        ("A='a'\\\n'b'", &[("A", "a'b'")]),
        ("A=  \\  x", &[("A", "  x")]),
        ("A=\"x\"\ty\t\n", &[("A", "xy")]),
        ("A=a\\\n", &[("A", "a")]),
        ("A=#fff", &[("A", "#fff")]),
        ("", &[]),
        ("\n\n \t\n", &[]),
    ];
    for (text, expected) in rows {
        let parsed = parse(text.as_bytes());
        let got: Vec<_> = parsed.assignments.iter().map(|entry| (entry.name.as_str(), entry.value.as_str())).collect();
        assert_eq!(got, *expected, "in {text:?}");
        assert_eq!(parsed.faults, [], "in {text:?}");
    }
}

#[test]
fn names_the_line_of_each_fault() {
    let rows: &[(&[u8], usize, &str)] = &[
        (b"A=1\njust words\n", 2, "no `=`"),
        (b"A=1\n\nwords", 3, "no `=`"),
        (b"A=1\r\n\r\nwords\r\n", 3, "no `=`"),
        (b"A=1\n\nB='open\nC=2\n", 3, "never closed"),
        (b"A=\"open", 1, "never closed"),
        (b"A=\"open\\", 1, "never closed"),
        (b"A=1\nA=a\0b\n", 2, "NUL"),
        (b"\0\0=1\n", 1, "name of letters"),
        (b"A=\xff\xfe\n", 1, "UTF-8"),
        (b"\xff=1\n", 1, "UTF-8"),
        (b"=1\n", 1, "name of letters"),
        (b"A B=1\n", 1, "name of letters"),
        (b"1A=1\n", 1, "name of letters"),
        (b"A-B=1\n", 1, "name of letters"),
        (b"x=1\nexport A=1\n", 2, "write A=... alone"),
        (b"export\tA=1\n", 1, "write A=... alone"),
        (b"A='a\nb'\n[Service]\n", 3, "no `=`"),
        (b"A=a\\\nb\nwords\n", 3, "no `=`"),
    ];
    for (bytes, line, message) in rows {
        let faults = parse(bytes).faults;
        assert_eq!(faults.len(), 1, "in {:?}: {faults:?}", bytes.escape_ascii().to_string());
        assert_eq!(faults[0].0, *line, "in {:?}", bytes.escape_ascii().to_string());
        assert!(faults[0].1.contains(message), "{}", faults[0].1);
    }
}

#[test]
fn a_fault_does_not_hide_what_follows() {
    let parsed = parse(b"words\nexport A=1\nB=\xff\nC=3\n");
    assert_eq!(parsed.faults.iter().map(|(line, _)| *line).collect::<Vec<_>>(), [1, 2, 3]);
    assert_eq!(parsed.assignments[0].name, "C");
    assert_eq!(parsed.assignments[0].line, 4);
}

#[test]
fn warns_of_traps() {
    let rows: &[(&[u8], usize, &str)] = &[
        (b"\xef\xbb\xbfA=1\n", 1, "byte order mark"),
        (b"A=1\nB=2 # two\n", 2, "comment needs a line of its own"),
        (b"A=  # none\n", 1, "comment needs a line of its own"),
        (b"A='x' # none\n", 1, "comment needs a line of its own"),
        (b"# ends \\\nA=1\n", 1, "systemd before 254"),
    ];
    for (bytes, line, message) in rows {
        let parsed = parse(bytes);
        assert_eq!(parsed.assignments.len(), bytes.split(|byte| *byte == b'=').count() - 1);
        assert_eq!(parsed.warnings.len(), 1);
        assert_eq!(parsed.warnings[0].0, *line);
        assert!(parsed.warnings[0].1.contains(message), "{}", parsed.warnings[0].1);
    }
    assert!(parse(b"A=a#b\nB=#fff\n").warnings.is_empty());
}

#[test]
fn a_long_and_hostile_file_is_refused_without_harm() {
    let report = load_file(vec![b'A'; 2 * 1024 * 1024]).unwrap_err();
    assert!(report.faults[0].message.contains("longer than 1 MiB"), "{report}");
    let report = load_file([vec![b'A'; 1_000_000], b"=1".to_vec()].concat()).unwrap_err();
    assert!(report.to_string().len() < 500, "a long name must not drown the report");
    let report = load_file(vec![0; 1000]).unwrap_err();
    assert_eq!(report.faults.len(), 1);
}

#[test]
fn a_file_that_is_none_is_a_fault() {
    let folder = tempfile::tempdir().unwrap();
    let at = |path: &std::path::Path| load(&Sources { env_file: Some(path.into()), ..Sources::default() }).unwrap_err();
    let report = at(folder.path());
    assert!(report.faults[0].message.contains("directory"), "{report}");
    let report = at(&folder.path().join("none.env"));
    assert!(report.faults[0].message.contains("can't read the env file"), "{report}");
    assert!(report.to_string().contains("none.env"), "{report}");
}

#[cfg(unix)]
#[test]
fn a_file_without_permission_is_a_fault_where_it_was_asked_for() {
    use std::os::unix::fs::PermissionsExt;
    let (_folder, path) = file("WORKER_ID=a\n");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o000)).unwrap();
    // Root reads everything, so there is nothing to see then.
    if std::fs::read(&path).is_ok() {
        return;
    }
    let named = Sources { env_file: Some(path.clone()), ..Sources::default() };
    assert_eq!(load(&named).unwrap_err().faults.len(), 1);
    let found = Sources { default_files: vec![path], ..Sources::default() };
    assert_eq!(load(&found).unwrap().warnings.len(), 1);
}

#[test]
fn the_first_of_the_usual_files_is_read() {
    let (_one, first) = file("WORKER_ID=first\n");
    let (_two, second) = file("WORKER_ID=second\n");
    let id = |env_file: Option<&std::path::PathBuf>, files: &[&std::path::Path]| {
        let sources = Sources {
            env_file: env_file.cloned(),
            default_files: files.iter().map(Into::into).collect(),
            ..Sources::default()
        };
        load(&sources).unwrap().config.identity.worker_id
    };
    let missing = first.join("below-a-file");
    assert_eq!(id(None, &[&first, &second]), "first");
    assert_eq!(id(None, &[&missing, &second]), "second");
    assert_eq!(id(Some(&second), &[&first]), "second");
    assert_eq!(id(None, &[&missing]), "gpu-worker");
}

#[test]
fn the_last_of_two_assignments_counts_with_a_warning() {
    let loaded = load_file("WORKER_ID=a\nWORKER_ID=b\n").unwrap();
    assert_eq!(loaded.config.identity.worker_id, "b");
    assert_eq!(loaded.warnings.len(), 1);
    assert!(
        loaded.warnings[0].to_string().contains("worker.env:2: WORKER_ID: set before at"),
        "{}",
        loaded.warnings[0]
    );
}

proptest::proptest! {
    #[test]
    fn any_bytes_are_read_without_panic(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..300)) {
        let parsed = parse(&bytes);
        let lines = bytes.iter().filter(|byte| matches!(byte, b'\n' | b'\r')).count() + 1;
        for line in parsed.assignments.iter().map(|entry| entry.line).chain(parsed.faults.iter().map(|(line, _)| *line)) {
            proptest::prop_assert!((1..=lines).contains(&line));
        }
    }

    #[test]
    fn any_text_is_checked_without_panic(text in "\\PC{0,40}|[0-9.:@/,]{0,20}|(redis|http)s?://[!-~]{0,20}") {
        let all: Vec<_> = VARIABLES.iter().map(|variable| (variable.name, text.as_str())).collect();
        let _ = super::load_env(&all);
    }
}

#[test]
fn a_file_of_unknown_names_is_read_in_time() {
    let text: String = (0..60_000).map(|number| format!("NAME_{number:06}=1\n")).collect();
    let report = load_file(text).unwrap_err();
    assert_eq!(report.faults.len(), 60_000);
}
