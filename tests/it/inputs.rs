//! What jobs name as inputs: hostile addresses and servers, and whole jobs whose inputs reach their engine.
//! In: the real fetcher, real agents, servers on this machine. Out: verdicts.

mod hostile;
mod jobs;
mod limits;
mod server;
