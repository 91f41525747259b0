//! The sweep of crash points: an agent is killed, and another time frozen, at every point named in `failpoints`, and
//! the job that it was about must end as if nothing had been.
//! In: two tables of rows, one row a point and a scene that reaches it. Out: verdicts; a point without a row is one.

mod aftermath;
mod frozen;
mod killed;
mod scenes;
mod stage;

use failpoints::Point;
use futures_util::{FutureExt, StreamExt};
use stage::Stage;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::path::Path;

/// Rows that play at the same time: most of a row is waiting.
const SIDE_BY_SIDE: usize = 6;

/// Plays every row on a stage of its own; tells all that fail, with what their agents logged.
async fn sweep<Row: std::fmt::Debug, F: Future<Output = ()>>(
    rows: Vec<Row>,
    play: impl Fn(std::rc::Rc<Stage>, Row) -> F,
) {
    assert!(!rows.is_empty(), "a sweep of nothing");
    let plays = rows.into_iter().map(async |row| {
        let name = format!("{row:?}");
        let stage = std::rc::Rc::new(Stage::set().await);
        let played = AssertUnwindSafe(play(stage.clone(), row)).catch_unwind().await;
        played.err().map(|panic| format!("{name}: {}\n{}", said(&*panic), stage.log()))
    });
    let failures: Vec<String> = futures_util::stream::iter(plays)
        .buffer_unordered(SIDE_BY_SIDE)
        .filter_map(async |failed| failed)
        .collect()
        .await;
    assert!(failures.is_empty(), "{} rows:\n{}", failures.len(), failures.join("\n"));
}

fn said(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().cloned();
    text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned())).unwrap_or_default()
}

#[test]
fn every_point_stands_once_in_the_code_and_in_both_sweeps() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut code = String::new();
    for folder in ["src", "connectors/src"] {
        for file in super::imports::rust_files(&root.join(folder)) {
            code += &std::fs::read_to_string(file).unwrap();
        }
    }
    for point in Point::ALL {
        let word = format!("Point::{point:?}");
        let stands = code.match_indices(&word).filter(|(at, _)| !continues(&code[at + word.len()..])).count();
        assert_eq!(stands, 1, "{word} in src and connectors/src");
        assert!(killed::ROWS.iter().any(|row| row.point == *point), "nobody is killed at {word}");
        assert!(frozen::ROWS.iter().any(|row| row.point == *point), "nobody is frozen at {word}");
    }
}

/// Whether a name goes on in this text.
fn continues(text: &str) -> bool {
    text.starts_with(|c: char| c.is_alphanumeric() || c == '_')
}
