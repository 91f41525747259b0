//! Results that differ from what was asked for, and answer 200.
//! In: the stand-in, told to differ. Out: a failure that names the difference, and nothing kept.

use super::{failure, fox_with, run, stand_in};
use connectors::failure::Reason;
use serde_json::json;
use stand_ins::a1111::Difference;

#[tokio::test]
async fn what_was_not_asked_for_is_thrown_away() {
    let rows = [
        (Difference::Sampler, Reason::DependencyError, true, "the server used the sampler `PLMS` in place of `Euler`"),
        (Difference::Seed, Reason::DependencyError, true, "the server used the seed 43 in place of 42"),
        (Difference::Size, Reason::CorruptedData, true, "the server made a picture of 72x64, not 64x64"),
        (Difference::Count, Reason::MissingExpectedData, false, "the server answered with 1 pictures, not 2"),
    ];
    let server = stand_in().await;
    for (differs, reason, hosts, words) in rows {
        server.quirks(|quirks| quirks.differs = Some(differs));
        let (ended, bench) = run(&server, fox_with(json!({ "batch_size": 2 }))).await;
        let failure = failure(ended);
        assert_eq!((failure.reason, failure.hosts_fault), (reason, hosts), "{differs:?}");
        assert!(failure.message.contains(words), "{failure}");
        assert!(bench.outputs.begun() > 0 && bench.outputs.files().is_empty(), "{differs:?}");
    }
    server.quirks(|quirks| quirks.differs = None);
    assert_eq!(run(&server, fox_with(json!({ "batch_size": 2 }))).await.0.unwrap().outputs.len(), 2);
}
