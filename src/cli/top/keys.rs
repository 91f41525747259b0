//! What a key does.
//! In: a key, the state. Out: the changed state, and what the loop has to do: send an order, look at another agent, end.

use super::order::Order;
use super::panels::{self, Panel};
use super::state::{LEVELS, Over, State};
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

/// What is left to do after a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Then {
    Nothing,
    Quit,
    Suspend,
    Repaint,
    NextAgent,
    Send(Order),
}

/// A page of rows: half a screen or so.
const PAGE: isize = 10;

/// Does what a key stands for.
pub(super) fn press(state: &mut State, key: KeyEvent) -> Then {
    if key.modifiers.contains(KeyModifiers::CONTROL) {
        return match key.code {
            KeyCode::Char('c') => Then::Quit,
            KeyCode::Char('z') => Then::Suspend,
            KeyCode::Char('l') => Then::Repaint,
            _ => Then::Nothing,
        };
    }
    // It has been read, or will not be.
    state.outcome = None;
    match std::mem::replace(&mut state.over, Over::Nothing) {
        Over::Nothing => browse(state, key.code),
        Over::Help => Then::Nothing,
        Over::Details { scroll } => {
            let scroll = match key.code {
                KeyCode::Down | KeyCode::Char('j') => scroll.saturating_add(1),
                KeyCode::Up | KeyCode::Char('k') => scroll.saturating_sub(1),
                KeyCode::PageDown | KeyCode::Char(' ') => scroll.saturating_add(PAGE.unsigned_abs() as u16),
                KeyCode::PageUp => scroll.saturating_sub(PAGE.unsigned_abs() as u16),
                _ => return Then::Nothing,
            };
            state.over = Over::Details { scroll };
            Then::Nothing
        }
        Over::Question(order) => {
            if matches!(key.code, KeyCode::Char('y' | 'Y')) {
                return send(state, order);
            }
            state.say("nothing was done", true);
            Then::Nothing
        }
    }
}

fn browse(state: &mut State, code: KeyCode) -> Then {
    match code {
        KeyCode::Char('q') => return Then::Quit,
        KeyCode::Char('n') => return Then::NextAgent,
        KeyCode::Char('?' | 'h') | KeyCode::F(1) => state.over = Over::Help,
        KeyCode::Down | KeyCode::Char('j') => state.step(1),
        KeyCode::Up | KeyCode::Char('k') => state.step(-1),
        KeyCode::PageDown => state.step(PAGE),
        KeyCode::PageUp => state.step(-PAGE),
        KeyCode::Home | KeyCode::Char('g') => state.step(isize::MIN),
        KeyCode::End | KeyCode::Char('G') => state.step(isize::MAX),
        KeyCode::Tab | KeyCode::Right => state.turn(1),
        KeyCode::BackTab | KeyCode::Left => state.turn(-1),
        KeyCode::Char(digit @ '1'..='9') => {
            let at = digit.to_digit(10).map_or(0, |digit| digit as usize - 1);
            state.look_at(Panel::ALL.get(at).copied().unwrap_or(state.focus));
        }
        KeyCode::Enter if state.chosen(state.focus).is_some() => state.over = Over::Details { scroll: 0 },
        KeyCode::Char('l') => {
            state.least = (state.least + LEVELS.len() - 1) % LEVELS.len();
            state.look_at(Panel::Log);
        }
        KeyCode::Char('p') => return ask(state, Order::Pause),
        KeyCode::Char('r') => return ask(state, Order::Resume),
        KeyCode::Char('d') => return ask(state, Order::Drain),
        KeyCode::Char('P') => return ask(state, Order::Probe),
        KeyCode::Char('c') => match panels::jobs::chosen(state) {
            Some(job) => return ask(state, Order::Cancel(job)),
            None => state.say("no job runs in the chosen slot", false),
        },
        // Not of a list that nobody looks at.
        KeyCode::Char('R') => match panels::history::chosen(state).filter(|_| state.focus == Panel::History) {
            Some(job) => return ask(state, Order::Retry(job)),
            None => state.say("choose a failed or cancelled job of the history first (4)", false),
        },
        KeyCode::Char('f') => match panels::gpus::chosen(state) {
            Some(gpu) if state.focus == Panel::Gpus || state.picture.gpus.len() == 1 => {
                return ask(state, Order::FreeVram(gpu));
            }
            Some(_) => state.say("choose a GPU first (1)", false),
            None => state.say("there is no GPU", false),
        },
        _ => {}
    }
    Then::Nothing
}

fn ask(state: &mut State, order: Order) -> Then {
    if state.picture.read_only {
        state.say("this agent is read-only: it takes no orders", false);
        return Then::Nothing;
    }
    if order.question().is_some() {
        state.over = Over::Question(order);
        return Then::Nothing;
    }
    send(state, order)
}

fn send(state: &mut State, order: Order) -> Then {
    state.say(order.doing(), true);
    Then::Send(order)
}
