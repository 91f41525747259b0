//! The loop of the picture that lives: news, keys, time, signals; each may change the state, and a change is painted.
//! In: the agents that can be looked at. Out: a terminal that shows one, until somebody quits.

use super::client::Client;
use super::draw;
use super::feed::{self, News};
use super::keys::{self, Then};
use super::local_ms;
use super::look::Look;
use super::order::Order;
use super::state::State;
use super::terminal::{self, Screen};
use ratatui::crossterm::event::{Event, KeyEventKind};
use std::io;
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::task::JoinSet;
use tokio::time::Instant;

/// Between two paintings.
const FRAME: Duration = Duration::from_millis(40);
/// Ages are told in seconds.
const TICK: Duration = Duration::from_secs(1);

/// The agent that is looked at.
struct Looking {
    at: usize,
    state: State,
    news: Receiver<News>,
    feed: tokio::task::JoinHandle<()>,
}

impl Drop for Looking {
    fn drop(&mut self) {
        self.feed.abort();
    }
}

fn look_at(clients: &[Client], at: usize) -> Option<Looking> {
    let client = clients.get(at)?.clone();
    let (sender, news) = channel(64);
    let mut state = State::new((at, clients.len(), client.shown()));
    state.tick(local_ms());
    Some(Looking { at, state, news, feed: tokio::spawn(feed::keep(client, sender)) })
}

/// Shows them until somebody quits or the terminal is gone.
///
/// # Errors
/// The terminal does not do what it is told.
pub(super) async fn run(clients: Vec<Client>, look: Look) -> io::Result<()> {
    let Some(mut looking) = look_at(&clients, 0) else { return Ok(()) };
    let mut ends = [signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?, signal(SignalKind::hangup())?];
    let mut screen = Screen::take()?;
    let mut typed = terminal::events();
    let (answers, mut outcomes) = channel::<(usize, Result<String, String>)>(16);
    let mut orders = JoinSet::new();
    let mut second = tokio::time::interval(TICK);
    second.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
    let mut painted_at: Option<Instant> = None;
    let mut dirty = true;
    loop {
        let due = painted_at.map_or_else(Instant::now, |at| at + FRAME);
        let [terminate, interrupt, hang_up] = &mut ends;
        let then = tokio::select! {
            () = tokio::time::sleep_until(due), if dirty => {
                screen.show(draw::paint(&looking.state, screen.area(), look))?;
                (painted_at, dirty) = (Some(Instant::now()), false);
                continue;
            }
            _ = terminate.recv() => return Ok(()),
            _ = interrupt.recv() => return Ok(()),
            _ = hang_up.recv() => return Ok(()),
            event = typed.recv() => match event {
                // The terminal is gone.
                None => return Ok(()),
                Some(Event::Key(key)) if key.kind != KeyEventKind::Release => keys::press(&mut looking.state, key),
                Some(_) => Then::Nothing,
            },
            news = looking.news.recv() => {
                hear(&mut looking.state, news);
                Then::Nothing
            }
            Some((at, outcome)) = outcomes.recv() => {
                // Of another agent by now: it says nothing about this one.
                if at == looking.at {
                    let good = outcome.is_ok();
                    looking.state.say(outcome.unwrap_or_else(|why| why), good);
                }
                Then::Nothing
            }
            _ = second.tick() => {
                looking.state.tick(local_ms());
                Then::Nothing
            }
        };
        dirty = true;
        match then {
            Then::Nothing => {}
            Then::Quit => return Ok(()),
            Then::Repaint => screen.clear()?,
            Then::Suspend => screen.suspend()?,
            Then::NextAgent if clients.len() < 2 => looking.state.say("this is the only agent", true),
            Then::NextAgent => looking = look_at(&clients, (looking.at + 1) % clients.len()).unwrap_or(looking),
            Then::Send(order) => {
                drop(orders.spawn(send(clients.get(looking.at).cloned(), looking.at, order, answers.clone())));
            }
        }
    }
}

fn hear(state: &mut State, news: Option<News>) {
    match news {
        Some(News::Told { event, value, feed }) => state.hear(&event, value, feed, local_ms()),
        Some(News::Lost(why)) => state.lose(why, local_ms()),
        None => {}
    }
}

async fn send(client: Option<Client>, at: usize, order: Order, answers: Sender<(usize, Result<String, String>)>) {
    let Some(client) = client else { return };
    let outcome = client.order(&order).await;
    let _ = answers.send((at, outcome)).await;
}
