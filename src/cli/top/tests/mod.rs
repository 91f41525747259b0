//! What is seen of recorded pictures, at the sizes of terminals; what keys and losses do to it.
//! In: snapshots in `recorded/`. Out: screens as text, and what must stand in them.

mod keys;
mod screens;
mod wire;

use super::draw::paint;
use super::look::Look;
use super::once;
use super::state::{Feed, State};
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::widgets::Widget;
use serde_json::Value;

/// The clock of the recorded agents.
const NOW: f64 = 1_760_000_000_000.0;
const FULL: Look = Look { colour: true, unicode: true };

fn recorded(name: &str) -> Value {
    let text = match name {
        "idle" => include_str!("recorded/idle.json"),
        "busy" => include_str!("recorded/busy.json"),
        "failing" => include_str!("recorded/failing.json"),
        "redis_away" => include_str!("recorded/redis_away.json"),
        "four_gpus" => include_str!("recorded/four_gpus.json"),
        other => panic!("nobody recorded {other}"),
    };
    serde_json::from_str(text).expect("JSON")
}

const RECORDED: [&str; 5] = ["idle", "busy", "failing", "redis_away", "four_gpus"];

/// The state of a program that has just heard this.
fn state(snapshot: Value) -> State {
    let mut state = State::new((0, 1, "http://127.0.0.1:1511".to_owned()));
    state.hear("snapshot", snapshot, Feed::Live, NOW);
    state
}

/// What stands on a terminal of this size.
fn screen(state: &State, (width, height): (u16, u16), look: Look) -> String {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).expect("a terminal");
    terminal
        .draw(|frame| Painted(paint(state, frame.area(), look)).render(frame.area(), frame.buffer_mut()))
        .expect("drawn");
    once::plain(terminal.backend().buffer())
}

struct Painted(ratatui::buffer::Buffer);

impl Widget for Painted {
    fn render(self, _: ratatui::layout::Rect, buffer: &mut ratatui::buffer::Buffer) {
        *buffer = self.0;
    }
}
