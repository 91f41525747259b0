//! What waits, and what of it this box could run.
//! In: Redis, read every two seconds while somebody looks; what the workers offer now. Out: the section `queue`.

use super::{Parts, locked};
use crate::capabilities::{Capabilities, Fit, fit, needs};
use crate::dashboard::view::now_ms;
use crate::dashboard::view::queue::{Class as Shown, Misfit, Queue as Section};
use crate::protocol::class::Class;
use crate::protocol::order::Order;
use crate::queue::waiting::{self, Waiting, WaitingClass};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

/// Between two looks.
const PACE: Duration = Duration::from_secs(2);
/// Whoever looked is taken to look on for so long.
const LOOKING: Duration = Duration::from_secs(5);
/// Whoever wants it as it is now waits no longer than this.
const PATIENCE: Duration = Duration::from_secs(2);
/// Classes that are shown.
const CLASSES: usize = 50;
/// Reasons that are told of one misfit.
const REASONS: usize = 5;
/// A queue that has not been read for this long is not known.
const OLD_MS: i64 = 30_000;

/// The queue as last read.
#[derive(Default)]
pub(super) struct Queue {
    latest: Mutex<Option<(i64, Waiting)>>,
    /// As judged for these offers: offers and queue change less often than somebody looks.
    judged: Mutex<Option<Judged>>,
    looked: Mutex<Option<Instant>>,
    news: Notify,
    /// How often it was read.
    reads: watch::Sender<u64>,
}

/// When it was read, the offers, what came of both.
type Judged = (i64, Vec<Arc<Capabilities>>, Section);

impl Queue {
    /// Somebody looks.
    pub fn looked_at(&self) {
        if locked(&self.looked).replace(Instant::now()).is_none_or(|before| before.elapsed() >= LOOKING) {
            self.news.notify_one();
        }
    }

    fn is_looked_at(&self) -> bool {
        locked(&self.looked).is_some_and(|at| at.elapsed() < LOOKING)
    }

    /// Reads while somebody looks, until told to stop. Claims go their own way; an answer that does not come holds up
    /// nothing but this.
    pub async fn keep(&self, parts: &Parts, stop: CancellationToken) {
        loop {
            let pause = async {
                match self.is_looked_at() {
                    true => tokio::time::sleep(PACE).await,
                    false => self.news.notified().await,
                }
            };
            tokio::select! {
                () = stop.cancelled() => return,
                () = pause => {}
            }
            let looking = waiting::look(&parts.shared.link, &parts.shared.space, CLASSES);
            tokio::select! {
                () = stop.cancelled() => return,
                found = looking => if let Ok(found) = found {
                    *locked(&self.latest) = Some((now_ms(), found));
                    self.reads.send_modify(|reads| *reads += 1);
                }
            }
        }
    }

    /// Waits until what was read is of now, or that takes too long: for whoever asks seldom, and once.
    pub async fn fresh(&self) {
        let mut reads = self.reads.subscribe();
        if locked(&self.latest).as_ref().is_some_and(|(read, _)| now_ms() - read < PACE.as_millis() as i64) {
            return;
        }
        self.news.notify_one();
        let _ = tokio::time::timeout(PATIENCE, reads.changed()).await;
    }

    /// The section, judged by what these workers offer now.
    pub fn with_section<T>(&self, workers: &[(String, Arc<Capabilities>)], read_it: impl FnOnce(&Section) -> T) -> T {
        let latest = locked(&self.latest);
        let Some((read, waiting)) = latest.as_ref().filter(|(read, _)| now_ms() - read < OLD_MS) else {
            return read_it(&Section::default());
        };
        let offers: Vec<_> = workers.iter().map(|(_, offer)| offer.clone()).collect();
        let mut judged = locked(&self.judged);
        if let Some((at, known, section)) = &*judged
            && at == read
            && known.len() == offers.len()
            && known.iter().zip(&offers).all(|(one, other)| Arc::ptr_eq(one, other))
        {
            return read_it(section);
        }
        let fresh = section(*read, waiting.clone(), workers);
        let told = read_it(&fresh);
        *judged = Some((*read, offers, fresh));
        told
    }
}

fn section(read: i64, waiting: Waiting, workers: &[(String, Arc<Capabilities>)]) -> Section {
    let (due, delayed, unindexed, truncated) = (waiting.due, waiting.delayed, waiting.unindexed, waiting.truncated);
    let classes: Vec<Shown> = waiting.classes.into_iter().filter_map(|class| judged(class, workers)).collect();
    let fitting = classes.iter().filter(|class| !class.fits.is_empty()).map(|class| class.count).sum();
    Section {
        read: Some(read),
        waiting: Some(due),
        delayed: Some(delayed),
        unindexed,
        fitting: Some(fitting),
        truncated,
        classes,
    }
}

fn judged(waiting: WaitingClass, workers: &[(String, Arc<Capabilities>)]) -> Option<Shown> {
    let WaitingClass { id, definition, count, first } = waiting;
    let definition = definition.filter(|_| count > 0)?;
    let class = Class::parse(&definition);
    let (mut fits, mut misfits) = (Vec::new(), Vec::new());
    for (worker, capabilities) in workers {
        let worker = worker.clone();
        match class.as_ref().map(|class| fit(class, capabilities)) {
            Ok(Fit::Fits) => fits.push(worker),
            Ok(Fit::NeedsFields(fields)) => {
                let names: Vec<String> = fields.into_iter().collect();
                let reasons = vec![format!("is looked at once more, for its {}", names.join(" and "))];
                misfits.push(Misfit { worker, reasons, codes: vec!["fields"] });
            }
            Ok(Fit::Misfit(against)) => {
                let told = against.iter().take(REASONS);
                let codes = told.clone().map(crate::capabilities::Misfit::code).collect();
                misfits.push(Misfit { worker, reasons: told.map(ToString::to_string).collect(), codes });
            }
            Err(unreadable) => {
                misfits.push(Misfit { worker, reasons: vec![unreadable.to_string()], codes: vec!["unreadable"] });
            }
        }
    }
    Some(Shown {
        id,
        service: class.as_ref().ok().and_then(|class| class.service().map(str::to_owned)),
        count,
        oldest: first.and_then(|first| i64::try_from(first.time_ms()).ok()),
        priority_best: first.map(Order::priority),
        needs: class.as_ref().map(needs).unwrap_or_default(),
        fits,
        misfits,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn whoever_asks_seldom_gets_the_queue_of_now_and_waits_for_it_in_vain_but_for_a_while() {
        let queue = Arc::new(Queue::default());
        let reader = queue.clone();
        let reading = tokio::spawn(async move {
            reader.news.notified().await;
            tokio::time::sleep(PATIENCE / 2).await;
            *locked(&reader.latest) = Some((now_ms(), Waiting { due: 7, ..Waiting::default() }));
            reader.reads.send_modify(|reads| *reads += 1);
        });
        queue.fresh().await;
        assert_eq!(queue.with_section(&[], |section| section.waiting), Some(7));
        reading.await.unwrap();
        let began = tokio::time::Instant::now();
        queue.fresh().await;
        assert_eq!(began.elapsed(), Duration::ZERO, "it has just been read");
        assert!(!queue.is_looked_at(), "one question is not a look that goes on");
        // Nobody reads any more: Redis is silent.
        *locked(&queue.latest) = Some((now_ms() - OLD_MS / 2, Waiting::default()));
        queue.fresh().await;
        assert_eq!(began.elapsed(), PATIENCE);
    }
}
