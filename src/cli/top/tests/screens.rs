//! Screens of recorded pictures.
//! In: snapshots, sizes, what the terminal can show. Out: what must be seen, that it fits, and what must never get through.

use super::*;
use crate::cli::top::panels::Panel;
use crate::cli::top::state::Over;
use ratatui::layout::Rect;
use ratatui::style::Color;
use serde_json::json;

const SIZES: [(u16, u16); 3] = [(80, 24), (160, 50), (200, 60)];

/// What a glance must find, on every size.
const SEEN: &[(&str, &[&str])] = &[
    (
        "idle",
        &[
            "idle",
            "Ready and idle",
            "up 3 d",
            "heartbeat 4 s ago",
            "answers in 0.4 ms",
            "0+1.2 of 80 GiB|0 jobs + 1.2 others of 80 GiB",
        ],
    ),
    (
        "busy",
        &["working", " 87 %", " 62 %", "KSampler: step 12 of 20", "5 s left", "34 jobs + 8.1 others of 80 GiB", "64"],
    ),
    ("failing", &["fenced: Xid 79", "reseat the card", "1 may not work", "waits in the engine's queue", "attempt 3"]),
    ("redis_away", &["redis away", "until it is back", "AWAY for 84 s", "read-only"]),
    ("four_gpus", &["MI300X|AMD Instin", "any moment", "paused", " 95 %", "3 in 4 slots"]),
];

#[test]
fn each_picture_is_understood_in_one_glance_at_every_size() {
    for (name, words) in SEEN {
        for size in SIZES {
            let shown = screen(&state(recorded(name)), size, FULL);
            for word in *words {
                assert!(
                    word.split('|').any(|word| shown.contains(word)),
                    "{name} at {size:?} lacks {word:?}:\n{shown}"
                );
            }
            assert_eq!(shown.lines().count(), usize::from(size.1));
            assert!(shown.lines().last().is_some_and(|keys| keys.starts_with("q quit")), "{shown}");
            if std::env::var("SHOW_SCREENS").is_ok() {
                println!("== {name} {size:?}\n{shown}");
            }
        }
        assert!(state(recorded(name)).picture.unread.is_empty(), "{name}: {:?}", state(recorded(name)).picture.unread);
    }
}

#[test]
fn a_wide_screen_has_every_panel_and_plain_text_everything() {
    let state = state(recorded("failing"));
    for shown in [screen(&state, (160, 50), FULL), once::text(&state, 120, FULL)] {
        let words = [
            "not for this box",
            "needs 100 GB GPU memory, has 80 GB",
            "oldest 4 min",
            "2 not sorted yet",
            "CUDA out of memory",
            "put the model into models/checkpoints",
            "comfyui[1]",
            "down",
            "is left out for 42 s more",
            "HANGS",
            "99.5 % well",
            "half within 4.2 s",
            "GPU 1 is fenced: Xid 79",
            "throttled: thermal",
            "3 memory errors",
            "83/84 °C",
        ];
        for word in words {
            assert!(shown.contains(word), "{word:?} is missing:\n{shown}");
        }
    }
    let shown = once::text(&self::state(recorded("four_gpus")), 120, FULL);
    assert!(shown.contains("MIG 1g.10gb") && shown.contains("31 of 40 GiB"), "{shown}");
}

#[test]
fn on_forty_columns_the_numbers_are_still_there() {
    let shown = screen(&state(recorded("busy")), (40, 24), FULL);
    for words in [" 87 %", " 62 %", "KSampler: step 12", "64 °C"] {
        assert!(shown.contains(words), "{words:?} is missing:\n{shown}");
    }
}

#[test]
fn where_there_is_room_for_one_panel_it_is_the_one_that_has_the_keys() {
    let mut state = state(recorded("busy"));
    state.look_at(Panel::Jobs);
    let shown = screen(&state, (40, 12), FULL);
    assert!(shown.contains(" 62 %") && !shown.contains("History"), "{shown}");
    state.look_at(Panel::Gpus);
    assert!(screen(&state, (40, 12), FULL).contains(" 87 %"));
}

#[test]
fn any_size_is_drawn() {
    let odd = [(40, 10), (41, 11), (80, 12), (500, 200), (120, 30), (119, 29), (39, 80), (300, 9)];
    for name in ["failing", "four_gpus"] {
        let mut state = state(recorded(name));
        let falling = (1..40).map(|n| (n * 5 - 4, 41 - n));
        for (n, (width, height)) in falling.chain(odd).enumerate() {
            state.look_at(Panel::ALL[n % 7]);
            for over in [Over::Nothing, Over::Help, Over::Details { scroll: 999 }] {
                state.over = over;
                let painted = paint(&state, Rect::new(0, 0, width, height), FULL);
                assert_eq!((painted.area.width, painted.area.height), (width, height));
            }
        }
    }
}

#[test]
fn without_colours_and_unicode_everything_is_still_said() {
    let look = Look { colour: false, unicode: false };
    for name in RECORDED {
        let state = state(recorded(name));
        let painted = paint(&state, Rect::new(0, 0, 160, 50), look);
        assert!(painted.content.iter().all(|cell| cell.fg == Color::Reset && cell.bg == Color::Reset));
        assert!(painted.content.iter().all(|cell| cell.symbol().is_ascii()), "{}", once::plain(&painted));
        assert!(
            !once::plain(&painted).contains('?') || once::plain(&painted).matches('?').count() == 1,
            "{}",
            once::plain(&painted)
        );
        let coloured = paint(&state, Rect::new(0, 0, 160, 50), FULL);
        assert!(coloured.content.iter().any(|cell| cell.fg == Color::Green));
    }
}

#[test]
fn text_of_the_network_cannot_command_the_terminal() {
    const HOSTILE: &str = "\u{1b}[2J\u{1b}]0;owned\u{7}\u{9b}31m\u{1b}]52;c;eA==\u{1b}\\\r\n\u{202e}\u{200b}x";
    fn poison(value: &mut Value) {
        match value {
            Value::String(text) => text.push_str(HOSTILE),
            Value::Array(items) => items.iter_mut().for_each(poison),
            Value::Object(members) => {
                *members = std::mem::take(members)
                    .into_iter()
                    .map(|(name, mut value)| {
                        poison(&mut value);
                        (name, value)
                    })
                    .collect();
            }
            _ => {}
        }
    }
    for name in RECORDED {
        let mut snapshot = recorded(name);
        poison(&mut snapshot);
        snapshot["connectors"][0]["models"] = json!({HOSTILE: 3});
        snapshot["log"][0]["fields"] = json!({HOSTILE: {HOSTILE: [HOSTILE]}});
        let mut state = state(snapshot);
        state.hear("log", json!([{"level": HOSTILE, "text": HOSTILE, "at": NOW}]), Feed::Live, NOW);
        state.hear("job", json!({"id": HOSTILE, "state": "failed", "failure": {"message": HOSTILE}}), Feed::Live, NOW);
        let mut shown = once::text(&state, 200, FULL);
        for panel in Panel::ALL {
            state.look_at(panel);
            for over in [Over::Nothing, Over::Details { scroll: 0 }] {
                state.over = over;
                for size in SIZES {
                    shown += &screen(&state, size, FULL);
                }
            }
        }
        assert!(shown.contains("]0;owned"), "the text itself is shown");
        let bad = shown.chars().find(|c| (c.is_control() && *c != '\n') || matches!(c, '\u{200b}' | '\u{202e}'));
        assert_eq!(bad, None, "{name}");
    }
}

#[test]
fn what_has_not_changed_is_painted_the_same() {
    let mut state = state(recorded("busy"));
    let area = Rect::new(0, 0, 160, 50);
    let before = paint(&state, area, FULL);
    state.hear("beat", json!({"now": NOW + 20.0}), Feed::Live, NOW + 20.0);
    state.hear("gpus", recorded("busy")["gpus"].clone(), Feed::Live, NOW + 30.0);
    assert_eq!(once::plain(&paint(&state, area, FULL)), once::plain(&before));
    assert!(paint(&state, area, FULL) == before);
    state.tick(NOW + 2000.0);
    assert!(paint(&state, area, FULL) != before, "time goes on");
}

#[test]
fn a_picture_that_is_old_says_since_when() {
    let mut state = state(recorded("busy"));
    // This machine's clock is an hour behind the agent's.
    state.hear("beat", json!({"now": NOW}), Feed::Live, NOW - 3_600_000.0);
    state.lose("connection refused".to_owned(), NOW - 3_600_000.0);
    state.lose("connection refused".to_owned(), NOW - 3_600_000.0 + 14_000.0);
    let shown = screen(&state, (80, 24), FULL);
    assert!(shown.contains("STALE since 08:53:20 UTC (14 s): connection refused; trying again"), "{shown}");
    assert!(shown.contains("KSampler"), "what was known is still shown");
    state.hear("snapshot", recorded("busy"), Feed::Polling, NOW);
    let shown = screen(&state, (80, 24), FULL);
    assert!(!shown.contains("STALE") && shown.contains("asked for every 2 s"), "{shown}");

    let mut unknown = State::new((0, 1, "http://127.0.0.1:1511".to_owned()));
    assert!(screen(&unknown, (80, 24), FULL).contains("asking the agent at http://127.0.0.1:1511"));
    unknown.lose("connection refused".to_owned(), NOW);
    assert!(screen(&unknown, (80, 24), FULL).contains("no answer for"));
}
