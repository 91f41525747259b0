//! What this worker can do, and whether a class of jobs fits it.
//! In: hardware facts, engines, declared traits, job classes. Out: advertised capabilities, slots, typed misfit reasons.

mod advertised;
mod compare;
mod fit;
mod gpu_model;
mod misfit;
mod needs;
mod requirements;
mod slots;
mod told;
mod worker;

pub use fit::{Fit, fit, fit_job};
pub use misfit::Misfit;
pub use needs::needs;
pub use requirements::Demand;
pub use slots::{Crew, EngineRef, EngineSites, GpuFacts, Slot, SlotNote, SlotPlan, plan_slots};
pub use worker::{Capabilities, EngineFacts, HardwareFacts, Parts};
