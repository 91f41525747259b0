//! What is counted of each notice.
//! In: a notice. Out: counters and histograms moved.

use super::{Metric, Metrics};
use crate::telemetry::Notice;

/// What an end that is handed in after a restart can become; the rest is `other`.
const BECAME: [&str; 7] = ["accepted", "already", "retry", "failed", "cancelled", "lost", "other"];

impl Metrics {
    /// Counts it.
    pub fn hear(&self, notice: &Notice<'_>) {
        match notice {
            Notice::Claimed { .. } => self.count(Metric::JobsClaimed, &[]),
            Notice::TakenUp { .. } => self.count(Metric::JobsTakenOver, &[]),
            Notice::HandedToEngine { service, after, .. } => {
                let service = self.name(service);
                self.note(Metric::JobStartSeconds, &[&service], after.as_secs_f64());
                let ends = [Metric::JobsCompleted, Metric::JobsCancelled, Metric::JobsReleased, Metric::JobsLost];
                self.begin(&ends, &service);
            }
            Notice::Completed { service, outputs, bytes, took, .. } => {
                let service = self.name(service);
                self.count(Metric::JobsCompleted, &[&service]);
                self.note(Metric::OutputsStored, &[&service], *outputs as f64);
                self.note(Metric::OutputBytes, &[&service], *bytes as f64);
                self.note(Metric::JobSeconds, &[&service, "completed"], took.as_secs_f64());
            }
            Notice::Failed { service, kind, reason, retry_in, took, .. } => {
                let service = self.name(service);
                let end = if retry_in.is_some() { "retried" } else { "final" };
                self.count(Metric::JobsFailed, &[&service, kind, reason, end]);
                let end = if retry_in.is_some() { "retried" } else { "failed" };
                self.note(Metric::JobSeconds, &[&service, end], took.as_secs_f64());
            }
            Notice::Cancelled { service, took, .. } => {
                let service = self.name(service);
                self.count(Metric::JobsCancelled, &[&service]);
                self.note(Metric::JobSeconds, &[&service, "cancelled"], took.as_secs_f64());
            }
            Notice::Released { service, .. } => self.count(Metric::JobsReleased, &[&self.name(service)]),
            Notice::Lost { service, .. } => self.count(Metric::JobsLost, &[&self.name(service)]),
            Notice::GivenUp { .. } => self.count(Metric::QueueGivenUp, &[]),
            Notice::HandedIn { became, .. } => {
                let word = became.split(|c: char| !c.is_ascii_alphabetic()).next().unwrap_or_default();
                let became = BECAME.into_iter().find(|known| *known == word).unwrap_or("other");
                self.count(Metric::JobsHandedIn, &[became]);
            }
            Notice::Rejected { .. } => self.count(Metric::JobsRefused, &[]),
            Notice::OutOfMemory { .. } => self.count(Metric::OutOfMemory, &[]),
            Notice::EngineUnhealthy { engine, .. } => self.count(Metric::EngineFaults, &[engine]),
            Notice::LeftOut { engine, .. } => self.count(Metric::PartsLeftOut, &[engine]),
            Notice::GpuFenced { gpu, .. } => self.count(Metric::GpuFences, &[&gpu.to_string()]),
            Notice::RedisLost { .. } => self.count(Metric::RedisOutages, &[]),
            Notice::RedisBack { after, .. } => self.note(Metric::RedisOutageSeconds, &[], after.as_secs_f64()),
            Notice::RedisRefuses { .. } => self.count(Metric::RedisRefusals, &[]),
            Notice::Ticked { reaped, given_up, .. } => {
                self.note(Metric::QueueReaped, &[], *reaped as f64);
                self.note(Metric::QueueGivenUp, &[], *given_up as f64);
            }
            Notice::Started { .. }
            | Notice::Stopped
            | Notice::Draining { .. }
            | Notice::Desired { .. }
            | Notice::Drained { .. }
            | Notice::RedisAccepts { .. }
            | Notice::Reasserted { .. }
            | Notice::Registered { .. }
            | Notice::Superseded { .. }
            | Notice::EngineHealthy { .. }
            | Notice::OnTrial { .. }
            | Notice::TrustedAgain { .. }
            | Notice::OrphanStopped { .. }
            | Notice::CannotStore { .. }
            | Notice::UploadLeft { .. }
            | Notice::Expelled { .. }
            | Notice::TooManyClasses { .. }
            | Notice::Hardware { .. }
            | Notice::EngineFile { .. }
            | Notice::EngineFileInUse { .. }
            | Notice::EngineFileFault { .. }
            | Notice::EngineFileRetired { .. }
            | Notice::GpuBack { .. }
            | Notice::GpuCheckFailed { .. }
            | Notice::GpuReports { .. }
            | Notice::DashboardAt { .. }
            | Notice::Ordered { .. }
            | Notice::DashboardUnknown { .. }
            | Notice::NoDashboard { .. }
            | Notice::Config { .. } => {}
        }
    }
}
