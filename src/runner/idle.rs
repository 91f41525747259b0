//! An idle slot: blocked on the tokens of its classes, in line for places in engines that are full, learning of classes that
//! are born meanwhile. In: tokens, places, births. Out: a reason to claim.

use super::avoided::Avoided;
use super::engine::Engine;
use super::engine::seats::{Seats, freed};
use super::shared::Shared;
use super::slot::{PAUSE, Slot};
use crate::capabilities::{Capabilities, Fit, fit};
use crate::protocol::class::Class;
use crate::queue::claim::{Birth, Claimer, Judgement};
use crate::queue::link::unless;
use crate::queue::wake::{self, Waiter, Woken};
use crate::service::loops::Beat;
use std::collections::BTreeSet;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// Longest wait in one go.
const WAIT_LONGEST: Duration = Duration::from_secs(20);

/// Births kept for a slot that does not claim (paused); it reads the classes anew when it goes on.
const BIRTHS_MAX: usize = 1000;

/// What a slot looks for work with.
pub(super) struct Desk {
    pub claimer: Claimer,
    pub avoided: Avoided,
    pub seats: Seats,
    pub offers: watch::Receiver<Arc<Capabilities>>,
    waiter: Waiter,
}

impl Desk {
    /// With nothing on it.
    pub fn of(slot: &Slot) -> Self {
        Self {
            claimer: Claimer::new(&slot.worker, slot.shared.limits.lease),
            avoided: Avoided::default(),
            seats: Seats::default(),
            offers: slot.capabilities.subscribe(),
            waiter: Waiter::new(&slot.worker),
        }
    }
}

/// How a wait ended.
enum Idled {
    /// With a class's token.
    Token(String),
    /// New classes are to be looked at.
    Called,
    /// There may be a job in a class whose tokens it does not wait for.
    Newcomer,
    /// An engine that was full has a place now.
    Place,
    /// Nothing came.
    TimedOut,
    /// For a reason that concerns no class: told to stop, or Redis is away.
    Nothing,
}

impl Slot {
    /// Hears that a class was born. True if the slot is idle and must wait anew with it on its list.
    pub fn hear_birth(&self, birth: &Birth) -> bool {
        let capabilities = self.capabilities.borrow().clone();
        let mut state = self.state();
        // At work it need not know: its next claim sees the class.
        let waits_for_it = state.blocked_on.as_ref().is_some_and(|classes| classes.contains(&birth.class));
        let is_full = state.born.len() >= BIRTHS_MAX;
        if state.job.is_some() || is_full {
            return false;
        }
        state.born.push(birth.clone());
        state.blocked_on.is_some() && !waits_for_it && judge(&capabilities, &birth.definition) != Judgement::Misfit
    }

    /// Takes in the classes born since it last did. True if it need not look at them more closely before it waits.
    pub(super) fn learn_births(&self, claimer: &mut Claimer, judge: &dyn Fn(&str) -> Judgement) -> bool {
        let born = std::mem::take(&mut self.state().born);
        let simple = !born.is_empty();
        born.into_iter().fold(simple, |simple, birth| {
            let judgement = judge(&birth.definition);
            let is_simple = judgement != Judgement::Incomplete;
            claimer.learn_birth(&birth, judgement);
            simple && is_simple
        })
    }

    /// Hands a token on that is not for this worker.
    pub(super) async fn put_back(&self, token: Option<String>) {
        if let Some(class) = token {
            let _ = wake::put_back(&self.shared.link, &self.shared.space, &class).await;
        }
    }

    /// Nothing to claim: waits until there may be something, at the latest after `longest`. In: the token that led to asking.
    /// Out: the token that says so, if one does.
    pub(super) async fn until_work(
        &self,
        desk: &mut Desk,
        token: Option<String>,
        longest: Duration,
        judging: &(dyn Fn(&str) -> Judgement + Sync),
        beat: &Beat,
    ) -> Option<String> {
        desk.seats.cover();
        let (missed, left_out) = desk.seats.missed();
        self.state().no_place_in = missed.first().filter(|_| left_out.unnamed).map(|engine| engine.label.clone());
        desk.claimer.leave_out(left_out);
        // Neither of these does it wait for below: the token would only wake it again.
        let not_for_it = |class: &String| desk.avoided.is_in(class) || !desk.claimer.open().contains(class);
        self.put_back(token.filter(not_for_it)).await;
        let until = Instant::now() + longest;
        let woken = loop {
            let left = until.saturating_duration_since(Instant::now());
            let (longest, classes) = desk.avoided.waiting(desk.claimer.open(), left, Instant::now());
            let longest = longest.max(Duration::from_millis(1));
            match self.idle(desk, &missed, &classes, longest.min(WAIT_LONGEST)).await {
                Idled::Token(class) => break Some(class),
                // A long poll interval is waited for in parts: the loop must be seen to come round.
                Idled::TimedOut if longest > WAIT_LONGEST && !desk.offers.has_changed().unwrap_or(true) => beat.tick(),
                // A class that is born has a token for one of those who wait: all learn of it, one claims.
                Idled::Called if self.learn_births(&mut desk.claimer, judging) && Instant::now() < until => {}
                Idled::Called | Idled::Newcomer | Idled::TimedOut | Idled::Place | Idled::Nothing => break None,
            }
        };
        self.state().no_place_in = None;
        woken
    }

    /// Waits for a token, or for a place in one of these engines. Ends early when the agent drains, without losing a token
    /// that came just then.
    async fn idle(
        &self,
        desk: &mut Desk,
        missed: &[Arc<Engine>],
        classes: &BTreeSet<String>,
        longest: Duration,
    ) -> Idled {
        let Shared { link, space, shutdown, .. } = &*self.shared;
        {
            let mut state = self.state();
            if !state.born.is_empty() {
                return Idled::Called;
            }
            state.blocked_on = Some(classes.clone());
        }
        let stands_by = !desk.avoided.is_empty();
        let waiting = desk.waiter.wait(link, space, classes, stands_by, longest);
        tokio::pin!(waiting);
        let mut wanted = self.control.watch();
        let told_to_stop = async {
            tokio::select! {
                () = shutdown.drain.cancelled() => {}
                _ = wanted.wait_for(|wanted| !wanted.desired.claims()) => {}
            }
        };
        let mut seat = None;
        let placed = async {
            seat = Some(freed(missed).await);
            // Until the wait has ended.
            while wake::call(link, space, &self.worker).await.is_err() {
                tokio::time::sleep(PAUSE).await;
            }
            std::future::pending::<Infallible>().await
        };
        let woken = tokio::select! {
            woken = &mut waiting => woken,
            never = placed => match never {},
            () = told_to_stop => {
                let _ = tokio::time::timeout(PAUSE, wake::call(link, space, &self.worker)).await;
                match tokio::time::timeout(PAUSE, waiting).await {
                    Ok(woken) => woken,
                    Err(_) => Ok(Woken::TimedOut),
                }
            }
        };
        self.state().blocked_on = None;
        let may_claim = !shutdown.drain.is_cancelled() && self.control.desired().claims();
        let has_place = seat.is_some();
        // Whoever may not claim has it handed on.
        if let Some(seat) = seat.filter(|_| may_claim) {
            desk.seats.hand(seat);
        }
        match woken {
            Ok(Woken::Class(class)) if may_claim => Idled::Token(class),
            Ok(Woken::Class(class)) => {
                let _ = wake::put_back(link, space, &class).await;
                Idled::Nothing
            }
            Ok(_) if may_claim && has_place => Idled::Place,
            Ok(Woken::Called) if may_claim => Idled::Called,
            Ok(Woken::Newcomer) if may_claim => Idled::Newcomer,
            Ok(Woken::TimedOut) if may_claim => Idled::TimedOut,
            // A call was for this worker alone; the class has a token for the others.
            Ok(_) => Idled::Nothing,
            Err(_) => {
                unless(&shutdown.drain, tokio::time::sleep(PAUSE)).await;
                Idled::Nothing
            }
        }
    }
}

/// What this worker makes of a class.
pub(super) fn judge(capabilities: &Capabilities, definition: &str) -> Judgement {
    let Ok(class) = Class::parse(definition) else {
        // Written by a newer program that asks for what is unknown here.
        return Judgement::Misfit;
    };
    match fit(&class, capabilities) {
        Fit::Fits => Judgement::Fits { service: class.service().map(Arc::from) },
        Fit::NeedsFields(_) => Judgement::Incomplete,
        Fit::Misfit(_) => Judgement::Misfit,
    }
}
