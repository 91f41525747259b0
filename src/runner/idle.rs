//! An idle slot: blocked on the tokens of its classes, learning of classes that are born meanwhile.
//! In: tokens, births. Out: a reason to claim.

use super::shared::Shared;
use super::slot::{PAUSE, Slot};
use crate::capabilities::{Capabilities, Fit, fit};
use crate::protocol::class::Class;
use crate::queue::claim::{Birth, Claimer, Judgement};
use crate::queue::link::unless;
use crate::queue::wake::{self, Waiter, Woken};
use std::collections::BTreeSet;
use std::time::Duration;

/// Births kept for a slot that does not claim (paused); it reads the classes anew when it goes on.
const BIRTHS_MAX: usize = 1000;

/// How a wait ended.
pub(super) enum Idled {
    /// With a class's token.
    Token(String),
    /// New classes are to be looked at.
    Called,
    /// There may be a job in a class whose tokens it does not wait for.
    Newcomer,
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
            claimer.learn_birth(&birth, judgement);
            simple && judgement != Judgement::Incomplete
        })
    }

    /// Hands a token on that is not for this worker.
    pub(super) async fn put_back(&self, token: Option<String>) {
        if let Some(class) = token {
            let _ = wake::put_back(&self.shared.link, &self.shared.space, &class).await;
        }
    }

    /// Waits for a token. Ends early when the agent drains, without losing a token that came just then.
    pub(super) async fn idle(
        &self,
        waiter: &mut Waiter,
        classes: &BTreeSet<String>,
        stands_by: bool,
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
        let waiting = waiter.wait(link, space, classes, stands_by, longest);
        tokio::pin!(waiting);
        let mut wanted = self.control.watch();
        let told_to_stop = async {
            tokio::select! {
                () = shutdown.drain.cancelled() => {}
                _ = wanted.wait_for(|wanted| !wanted.desired.claims()) => {}
            }
        };
        let woken = tokio::select! {
            woken = &mut waiting => woken,
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
        match woken {
            Ok(Woken::Class(class)) if may_claim => Idled::Token(class),
            Ok(Woken::Class(class)) => {
                let _ = wake::put_back(link, space, &class).await;
                Idled::Nothing
            }
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
    match Class::parse(definition).map(|class| fit(&class, capabilities)) {
        Ok(Fit::Fits) => Judgement::Fits,
        Ok(Fit::NeedsFields(_)) => Judgement::Incomplete,
        // Written by a newer program that asks for what is unknown here.
        Ok(Fit::Misfit(_)) | Err(_) => Judgement::Misfit,
    }
}
