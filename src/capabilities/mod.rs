//! What this worker can do, and whether a class of jobs fits it.
//! In: hardware facts, engines, declared traits, job classes. Out: advertised capabilities, slots, typed misfit reasons.
