//! What an engine process still does for a run that has ended, as far as it shows.
//! In: the run's id. Out: whether it goes on reporting, or writing into the run's folder, which is gone by then.

use super::leftovers::{self, Program};
use super::{Process, is_run_id};
use crate::conformance::Aftermath;
use crate::contract::Connector;
use std::time::Duration;
use tokio::time::sleep;

/// The part of the time of watching for what was on its way when the run ended.
const ON_ITS_WAY: u32 = 4;

/// The part of that time that a program wants of a processor if it is at work.
const BUSY: u32 = 20;

impl Process {
    /// Watches the process for this long.
    pub async fn aftermath(&self, service_job_id: &str, watch: Duration) -> Aftermath {
        let folder = self.instance.settings.scratch.join(service_job_id);
        if !is_run_id(service_job_id) {
            return Aftermath::Unseen("the id is not that of a run".to_owned());
        }
        let stop = self.instance.notes.of(service_job_id).unwrap_or_default();
        if stop.by_force {
            let obey = self.instance.settings.timing.obey.as_secs_f64();
            let said = format!("the run had not ended {obey} s after `cancel`, so the process had to be ended");
            return match self.concurrency() {
                1 => Aftermath::Unseen(format!("{said}; that stops it, but each cancel costs a start of the engine")),
                _ => Aftermath::GoesOn(format!("{said}, and with it all that it was at")),
            };
        }
        if !stop.leftovers.is_empty() {
            let programs = stop.leftovers.join(", ");
            return Aftermath::GoesOn(format!(
                "the engine goes on after its stop: a program that it had started for the run had to be ended: {programs}"
            ));
        }
        let programs = self.programs_of(stop.span).await;
        let strays = async || self.instance.session().await.map_or(0, |session| session.strays(service_job_id));
        sleep(watch / ON_ITS_WAY).await;
        let before = strays().await;
        // What was left behind by its last write is not what is looked for.
        let _ = tokio::fs::remove_dir_all(&folder).await;
        sleep(watch).await;
        let reports = strays().await.saturating_sub(before);
        // One that writes at this moment is in the way of the removal: that there is a folder says enough.
        let writes = tokio::fs::try_exists(&folder).await.unwrap_or_default();
        let _ = tokio::fs::remove_dir_all(&folder).await;
        let mut idle = None;
        for (program, was_busy) in &programs {
            match program.again() {
                Some(_) if program.is_detached || program.busy().saturating_sub(*was_busy) > watch / BUSY => {
                    return Aftermath::GoesOn(format!(
                        "the engine goes on after its stop: a program that it had started during the run is still there, {program}"
                    ));
                }
                Some(_) => idle = Some(program),
                None => {}
            }
        }
        match (reports, writes) {
            (0, false) => idle.map_or(Aftermath::Still, |program| {
                Aftermath::Unseen(format!(
                    "{program}, which the engine had started during the run, is still there, though hardly at \
                     work: if it is the run's, `cancel` must end it"
                ))
            }),
            (0, true) => Aftermath::GoesOn(
                "the engine goes on after its stop: it has made the folder of the run anew and writes into it"
                    .to_owned(),
            ),
            (reports, _) => Aftermath::GoesOn(format!(
                "the engine goes on after its stop: it has reported progress {reports} more times in {watch:?}"
            )),
        }
    }

    /// What runs below the engine and has begun in this time, and how busy each has been.
    async fn programs_of(&self, (from, to): (u64, u64)) -> Vec<(Program, Duration)> {
        let Some(guard) = self.instance.session().await.and_then(|session| session.guard()) else { return Vec::new() };
        let look = move || {
            let programs = leftovers::below(guard).into_iter();
            let of_run = programs.filter(|program| (from..=to).contains(&program.began));
            of_run.map(|program| (program.clone(), program.busy())).collect()
        };
        tokio::task::spawn_blocking(look).await.unwrap_or_default()
    }
}
