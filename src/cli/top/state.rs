//! What is on the screen and where the person is on it; drawing only looks at it.
//! In: news of the agent, keys turned into moves. Out: the same state, and orders for the agent.
//!
//! ```text
//!   browsing ──enter──▶ details ──esc──▶ browsing        `?` ──▶ help ──any key──▶ browsing
//!      └──c──▶ question ──y──▶ order sent, outcome in the status line ──▶ browsing
//!                  └──any other key──▶ browsing
//! ```

use super::order::Order;
use super::panels::{self, Panel};
use super::picture::Picture;
use std::collections::BTreeMap;

/// How the picture is kept fresh.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Feed {
    /// Nothing has come yet.
    Connecting,
    /// Each change comes by itself.
    Live,
    /// The stream does not get through: asked for every two seconds.
    Polling,
    /// Nothing comes: what is shown is old.
    Away { since: f64, why: String },
}

/// What lies over the panels.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Over {
    Nothing,
    Help,
    /// Everything on the chosen row.
    Details {
        scroll: u16,
    },
    /// Asked once, for this very job, wherever the list moves meanwhile.
    Question(Order),
}

/// What became of the last order.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Outcome {
    pub text: String,
    pub good: bool,
}

/// The whole state.
#[derive(Debug, Clone)]
pub(super) struct State {
    pub picture: Picture,
    pub feed: Feed,
    /// The agent's clock, now; the machine of this program may have another.
    pub now: f64,
    offset: f64,
    /// When the slots were told: what is left of a job was counted then.
    pub slots_told: f64,
    pub focus: Panel,
    /// Which of the lower panels a small screen shows.
    pub below: Panel,
    chosen: BTreeMap<Panel, String>,
    pub over: Over,
    pub outcome: Option<Outcome>,
    /// Which agent of how many, and where it answers.
    pub place: (usize, usize, String),
    /// The least level of log lines that are shown.
    pub least: usize,
}

/// Levels of the log, most important first.
pub(super) const LEVELS: [&str; 4] = ["error", "warn", "info", "debug"];

impl State {
    /// Nothing is known yet of the agent at this address.
    pub fn new(place: (usize, usize, String)) -> Self {
        Self {
            picture: Picture::default(),
            feed: Feed::Connecting,
            now: 0.0,
            offset: 0.0,
            slots_told: 0.0,
            focus: Panel::Jobs,
            below: Panel::History,
            chosen: BTreeMap::new(),
            over: Over::Nothing,
            outcome: None,
            place,
            least: LEVELS.len() - 1,
        }
    }

    /// Something came from the agent while this machine's clock said `local`.
    pub fn hear(&mut self, event: &str, value: serde_json::Value, feed: Feed, local: f64) {
        self.picture.hear(event, value);
        if matches!(event, "snapshot" | "beat")
            && let Some(now) = self.picture.now
        {
            self.offset = now - local;
        }
        self.feed = feed;
        self.tick(local);
        if matches!(event, "snapshot" | "slots") {
            self.slots_told = self.now;
        }
    }

    /// The agent does not answer; told again and again while it lasts.
    pub fn lose(&mut self, why: String, local: f64) {
        self.tick(local);
        let since = match &self.feed {
            Feed::Away { since, .. } => *since,
            _ => self.now,
        };
        self.feed = Feed::Away { since, why };
    }

    /// Time has passed.
    pub fn tick(&mut self, local: f64) {
        self.now = local + self.offset;
    }

    /// The chosen row of a panel: what was chosen as long as it is there, else the first; of the log the newest.
    pub fn chosen(&self, panel: Panel) -> Option<String> {
        let keys = panels::keys(self, panel);
        let wanted = self.chosen.get(&panel);
        let there = wanted.filter(|wanted| keys.contains(wanted)).cloned();
        there.or_else(|| if panel == Panel::Log { keys.last().cloned() } else { keys.first().cloned() })
    }

    /// Moves the choice in the panel that has the keys.
    pub fn step(&mut self, by: isize) {
        let keys = panels::keys(self, self.focus);
        let Some(last) = keys.len().checked_sub(1) else { return };
        let at = self.chosen(self.focus).and_then(|key| keys.iter().position(|other| *other == key)).unwrap_or(0);
        let to = at.saturating_add_signed(by).min(last);
        // Whoever goes to the end of the log wants to follow it.
        if self.focus == Panel::Log && to == last {
            self.chosen.remove(&self.focus);
        } else if let Some(key) = keys.get(to) {
            self.chosen.insert(self.focus, key.clone());
        }
    }

    /// Gives the keys to the next panel, or the one before.
    pub fn turn(&mut self, by: isize) {
        let count = Panel::ALL.len() as isize;
        let at = Panel::ALL.iter().position(|panel| *panel == self.focus).unwrap_or(0) as isize;
        if let Some(panel) = Panel::ALL.get((at + by).rem_euclid(count) as usize) {
            self.look_at(*panel);
        }
    }

    /// Gives the keys to this panel.
    pub fn look_at(&mut self, panel: Panel) {
        self.focus = panel;
        if Panel::BELOW.contains(&panel) {
            self.below = panel;
        }
    }

    /// Says what became of an order.
    pub fn say(&mut self, text: impl Into<String>, good: bool) {
        self.outcome = Some(Outcome { text: text.into(), good });
    }

    /// How old the picture is, if it is not fresh.
    pub fn stale(&self) -> Option<(f64, &str)> {
        match &self.feed {
            Feed::Away { since, why } => Some((*since, why)),
            _ => None,
        }
    }
}
