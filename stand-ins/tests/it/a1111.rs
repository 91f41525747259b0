//! The stand-in for AUTOMATIC1111: every recording replayed, and faults called for by hand.
//! In: `tests/recordings/a1111-1.10.1`. Out: green if the stand-in answers as the real server did.

mod expect;
mod faults;
mod player;
mod table;
