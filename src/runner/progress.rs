//! Progress of one run on its way to Redis: thinned out, never falling, the last one always sent.
//! In: reports as often as the engine likes. Out: at most ten events a second and `EVENTS_MAX` in all. A new picture is
//! named by the next event that goes.

use super::previews::{Reference, store};
use super::shared::Shared;
use super::stuck::Watch;
use crate::output::PreviewFolder;
use crate::protocol::hold::{Hold as Answer, ProgressNote};
use crate::queue::holds::{Hold, Stop};
use crate::queue::lease;
use connectors::contract::{Preview, Progress, ProgressSink};
use failpoints::{Point, reach};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// Longest text of a report, in characters: each goes to Redis and to everybody who watches.
const TEXT_MAX: usize = 500;
const SHORTEST_PAUSE: Duration = Duration::from_millis(100);

/// What a connector reports to.
pub struct Sink {
    latest: watch::Sender<Option<Progress>>,
    pictures: watch::Sender<Option<Preview>>,
    watch: Arc<Watch>,
    heard: Box<dyn Fn(&Progress) + Send + Sync>,
    show: Box<dyn Fn(&Preview) -> bool + Send + Sync>,
    engine_free: CancellationToken,
}

/// What reads a sink.
pub struct Reports {
    latest: watch::Receiver<Option<Progress>>,
    pictures: watch::Receiver<Option<Preview>>,
}

impl Sink {
    /// A sink and what reads it. `watch` hears of every report, `heard` of what is made of it, `show` of every picture,
    /// however many come at once; pictures for which it says `false` go no further.
    pub fn new(
        watch: Arc<Watch>,
        heard: impl Fn(&Progress) + Send + Sync + 'static,
        show: impl Fn(&Preview) -> bool + Send + Sync + 'static,
    ) -> (Arc<Self>, Reports) {
        let ((latest, reports), (pictures, shown)) = (watch::channel(None), watch::channel(None));
        let (heard, show) = (Box::new(heard), Box::new(show));
        let sink = Self { latest, pictures, watch, heard, show, engine_free: CancellationToken::new() };
        (Arc::new(sink), Reports { latest: reports, pictures: shown })
    }

    /// Fires when the engine is done with the run.
    pub fn engine_free(&self) -> CancellationToken {
        self.engine_free.clone()
    }
}

impl ProgressSink for Sink {
    fn report(&self, progress: Progress) {
        self.watch.heard(&progress, Instant::now());
        self.latest.send_modify(|latest| {
            let before = latest.as_ref().map_or(0.0, |progress| progress.fraction);
            let fraction = if progress.fraction.is_finite() { progress.fraction.clamp(0.0, 1.0) } else { before };
            let (message, node) = (progress.message.map(cut), progress.node.map(cut));
            let progress = Progress { fraction: fraction.max(before), message, node, ..progress };
            (self.heard)(&progress);
            *latest = Some(progress);
        });
    }

    fn preview(&self, preview: Preview) {
        if (self.show)(&preview) {
            self.pictures.send_replace(Some(preview));
        }
    }

    fn engine_is_free(&self) {
        self.engine_free.cancel();
    }
}

fn cut(mut text: String) -> String {
    if let Some((at, _)) = text.char_indices().nth(TEXT_MAX) {
        text.truncate(at);
    }
    text
}

/// How many events were sent and whether the next one may go.
struct Budget {
    left: u32,
    most: u32,
    last_fraction: f64,
}

impl Budget {
    /// The second half of the budget is kept for real advance, the last event for the end.
    fn allows(&self, fraction: f64) -> bool {
        let half = self.most / 2;
        self.left > half || self.left > 1 && fraction - self.last_fraction >= 1.0 / f64::from(half.max(1))
    }

    fn spend(&mut self, fraction: f64) {
        self.left = self.left.saturating_sub(1);
        self.last_fraction = fraction;
    }
}

/// Sends progress until the sink is gone. Pictures go into `folder` if the job wants to hear of them.
pub async fn forward(shared: &Shared, hold: &Hold, reports: Reports, folder: Option<PreviewFolder>) {
    let (stored, references) = watch::channel(None);
    tokio::join!(store(folder, reports.pictures, stored), send_all(shared, hold, reports.latest, references));
}

async fn send_all(
    shared: &Shared,
    hold: &Hold,
    mut reports: watch::Receiver<Option<Progress>>,
    mut references: watch::Receiver<Option<Reference>>,
) {
    let most = shared.limits.events_max.max(1);
    let mut budget = Budget { left: most, most, last_fraction: -1.0 };
    let (mut unsent, mut picture, mut pictures_come) = (None, None, true);
    loop {
        let open = tokio::select! {
            changed = reports.changed() => changed.is_ok(),
            changed = references.changed(), if pictures_come => {
                pictures_come = changed.is_ok();
                if !pictures_come {
                    continue;
                }
                // It is not to wait for the next step; whether the run goes on shows the next time round.
                picture = references.borrow_and_update().clone();
                true
            }
        };
        let latest = reports.borrow_and_update().clone();
        if let Some(progress) = latest.filter(|_| open) {
            if budget.allows(progress.fraction) {
                send(shared, hold, &progress, picture.take()).await;
                budget.spend(progress.fraction);
                unsent = None;
                pause(&mut reports).await;
            } else {
                unsent = Some(progress);
            }
        }
        if !open {
            let newest = reports.borrow().clone();
            let missed = newest.filter(|progress| progress.fraction > budget.last_fraction).or(unsent);
            if let Some(progress) = missed.filter(|_| budget.left > 0) {
                send(shared, hold, &progress, None).await;
            }
            return;
        }
    }
}

/// A pause between two events. The end of the run ends it early: a job that is done must not wait for it.
async fn pause(reports: &mut watch::Receiver<Option<Progress>>) {
    let mut news = false;
    let listening = async {
        while reports.changed().await.is_ok() {
            news = true;
        }
    };
    let _ = tokio::time::timeout(SHORTEST_PAUSE, listening).await;
    if news {
        reports.mark_changed();
    }
}

async fn send(shared: &Shared, hold: &Hold, progress: &Progress, picture: Option<Reference>) {
    let note = ProgressNote {
        percent: progress.fraction * 100.0,
        message: progress.message.clone().unwrap_or_default(),
        node: progress.node.clone().unwrap_or_default(),
        step: progress.step,
        preview: picture.map(|picture| (picture.url, picture.media_type.to_owned())),
    };
    // Lost progress is no loss: the next report replaces it.
    match shared.link.call(async |con| shared.space.progress(con, &hold.claim, &note).await).await {
        Ok(Answer::Cancel) => hold.stop(Stop::Cancelled),
        Ok(Answer::Moved) => hold.stop(Stop::Moved),
        // A Redis that has failed over may have forgotten the claim: only a renewal, which asserts it, decides.
        Ok(Answer::Lost) => {
            let _ = lease::renew(&shared.link, &shared.space, &shared.holds, shared.limits.lease).await;
        }
        Ok(Answer::Ok) => reach(Point::ProgressWritten),
        Err(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runner::pace::Paces;
    use futures_util::FutureExt;
    use std::sync::Mutex;

    fn unwatched() -> (Arc<Sink>, watch::Receiver<Option<Progress>>) {
        let (sink, reports) =
            Sink::new(Arc::new(Watch::new(Arc::new(Mutex::new(Paces::new(Duration::ZERO))))), |_| (), |_| true);
        (sink, reports.latest)
    }

    #[test]
    fn a_fast_engine_stays_within_the_budget_and_keeps_one_event_for_the_end() {
        let mut budget = Budget { left: 10, most: 10, last_fraction: -1.0 };
        let mut sent = 0;
        for step in 0..100_000 {
            let fraction = f64::from(step) / 100_000.0;
            if budget.allows(fraction) {
                budget.spend(fraction);
                sent += 1;
            }
        }
        assert!(sent <= 9, "{sent} events");
        assert!(sent >= 8, "{sent} events");
        assert!(budget.left >= 1);
    }

    #[tokio::test]
    async fn a_pause_ends_with_the_run_and_forgets_nothing_that_was_reported_meanwhile() {
        let (sink, mut receiver) = unwatched();
        sink.report(Progress { fraction: 1.0, ..Progress::default() });
        drop(sink);
        assert_eq!(pause(&mut receiver).now_or_never(), Some(()), "it waits for nothing");
        assert!(receiver.changed().await.is_ok(), "the last report is still to be sent");
        assert!(receiver.changed().await.is_err());
    }

    #[test]
    fn texts_are_cut_to_what_people_read() {
        let (sink, receiver) = unwatched();
        let long = || Some("ü".repeat(5_000_000));
        sink.report(Progress { message: long(), node: long(), ..Progress::default() });
        let latest = receiver.borrow().clone().unwrap_or_default();
        let expected = Some("ü".repeat(TEXT_MAX));
        assert!(latest.message == expected && latest.node == expected);
    }

    #[test]
    fn reports_never_fall_and_are_never_nonsense() {
        let (sink, receiver) = unwatched();
        for fraction in [0.5, 0.2, f64::NAN, -3.0, f64::INFINITY, 7.0] {
            sink.report(Progress { fraction, ..Progress::default() });
        }
        assert_eq!(receiver.borrow().as_ref().map(|p| p.fraction), Some(1.0));
    }
}
