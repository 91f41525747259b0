//! The Redis protocol: its real scripts on a real redis-server, one module for each part of it.

mod broken;
mod cancel;
mod claim;
mod complete;
mod control;
mod ear;
mod fail;
mod fit;
mod foreign;
mod foreign_end;
mod hold;
mod interleaving;
mod invariants;
mod life;
mod model;
mod recorded;
mod reference;
mod reference_hints;
mod release;
mod scene;
mod submit;
mod sweep;
mod tick;
mod tokens;
mod worker;
