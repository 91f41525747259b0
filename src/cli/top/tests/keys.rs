//! What keys do to the state.
//! In: keys on recorded pictures. Out: orders, questions, moves.

use super::*;
use crate::cli::top::keys::{Then, press};
use crate::cli::top::order::Order;
use crate::cli::top::panels::Panel;
use crate::cli::top::state::Over;
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use serde_json::json;

fn key(state: &mut State, code: KeyCode) -> Then {
    press(state, KeyEvent::new(code, KeyModifiers::NONE))
}

fn type_in(state: &mut State, text: &str) -> Vec<Then> {
    text.chars().map(|c| key(state, KeyCode::Char(c))).filter(|then| *then != Then::Nothing).collect()
}

#[test]
fn orders_go_out_at_once_but_what_loses_work_asks_first() {
    let mut state = state(recorded("busy"));
    assert_eq!(type_in(&mut state, "prdP"), [Order::Pause, Order::Resume, Order::Drain, Order::Probe].map(Then::Send));
    assert_eq!(type_in(&mut state, "f"), [Then::Send(Order::FreeVram(0))]);
    assert_eq!(type_in(&mut state, "c"), []);
    assert_eq!(state.over, Over::Question(Order::Cancel("01J9041-8c1e".into())));
    assert!(screen(&state, (80, 24), FULL).contains("Cancel job 01J9041-8c1e?"));
    assert_eq!(type_in(&mut state, "n"), [], "any other key leaves it");
    assert_eq!(
        (&state.over, state.outcome.as_ref().map(|said| said.text.as_str())),
        (&Over::Nothing, Some("nothing was done"))
    );
    assert_eq!(type_in(&mut state, "cy"), [Then::Send(Order::Cancel("01J9041-8c1e".into()))]);
    assert!(state.outcome.as_ref().is_some_and(|said| said.text == "cancelling 01J9041-8c1e …"));
    key(&mut state, KeyCode::Down);
    assert_eq!(state.outcome, None, "shown until the next key");
    assert_eq!(type_in(&mut state, "q"), [Then::Quit]);
}

#[test]
fn a_question_is_about_the_job_it_was_asked_of_whatever_comes_meanwhile() {
    let mut state = state(recorded("four_gpus"));
    key(&mut state, KeyCode::Down);
    type_in(&mut state, "c");
    let mut slots = recorded("four_gpus")["slots"].clone();
    slots[1]["job"]["id"] = json!("another");
    state.hear("slots", slots, Feed::Live, NOW);
    assert_eq!(type_in(&mut state, "y"), [Then::Send(Order::Cancel("01J9041-8c1e".into()))]);
}

#[test]
fn a_choice_stays_with_its_job_while_others_come() {
    let mut state = state(recorded("failing"));
    assert_eq!(type_in(&mut state, "Rf"), [], "of two cards and a list that has no keys nothing is chosen");
    assert_eq!(type_in(&mut state, "1jf"), [Then::Send(Order::FreeVram(1))]);
    state.look_at(Panel::History);
    assert_eq!(type_in(&mut state, "jR"), [Then::Send(Order::Retry("01J90059-8c1e".into()))]);
    state.hear("job", json!({"id": "newer", "state": "completed", "ended": NOW}), Feed::Live, NOW);
    assert_eq!(type_in(&mut state, "R"), [Then::Send(Order::Retry("01J90059-8c1e".into()))]);
    assert_eq!(type_in(&mut state, "gR"), [], "what went well is not tried again");
    assert!(state.outcome.as_ref().is_some_and(|said| !said.good));
}

#[test]
fn an_agent_that_only_shows_is_given_no_orders() {
    let mut state = state(recorded("redis_away"));
    assert_eq!(type_in(&mut state, "prdPcRf"), []);
    assert_eq!(state.over, Over::Nothing);
    assert!(screen(&state, (80, 24), FULL).contains("read-only: it takes no orders"));
}

#[test]
fn the_keys_go_through_all_panels_and_back() {
    let mut state = state(recorded("busy"));
    let before = state.focus;
    let there: Vec<Panel> = Panel::ALL
        .iter()
        .map(|_| {
            key(&mut state, KeyCode::Tab);
            assert!(screen(&state, (80, 24), FULL).contains(state.focus.name()));
            state.focus
        })
        .collect();
    assert!(Panel::ALL.iter().all(|panel| there.contains(panel)) && state.focus == before);
    key(&mut state, KeyCode::BackTab);
    assert_eq!(state.focus, Panel::Gpus);
    type_in(&mut state, "7");
    assert_eq!((state.focus, state.below), (Panel::Log, Panel::Log));
}

#[test]
fn enter_shows_everything_on_a_row_and_the_log_can_be_sieved() {
    let mut state = state(recorded("failing"));
    state.look_at(Panel::History);
    assert!(!screen(&state, (80, 24), FULL).contains("79.6 GiB total capacity"));
    key(&mut state, KeyCode::Enter);
    let shown = screen(&state, (80, 24), FULL);
    assert!(shown.contains("resource_limit/out_of_memory") && shown.contains("capacity)"), "{shown}");
    key(&mut state, KeyCode::Esc);
    assert_eq!(state.over, Over::Nothing);
    for (level, lines) in [("info", 4), ("warn", 2), ("error", 1), ("debug", 4)] {
        type_in(&mut state, "l");
        let text = once::text(&state, 120, FULL);
        let (_, log) = text.split_once("\nLog").expect("a log");
        assert_eq!(log.lines().count() - 1, lines, "from {level}: {log}");
    }
}
