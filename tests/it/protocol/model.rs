//! Running a property many times on one server, each time on an empty queue.

use super::scene::Scene;
use proptest::strategy::Strategy;
use proptest::test_runner::{Config, RngSeed, TestRunner};

/// A run of the tests repeats the last one; `make explore` goes where nobody has been.
const SEED: u64 = 7;

/// Runs `test` on `cases` generated values; panics with the smallest that fails, and with the seed. `PROPTEST_CASES` and
/// `PROPTEST_RNG_SEED` set another number and another seed.
pub fn hold<S: Strategy>(cases: u32, strategy: &S, test: impl AsyncFn(&Scene, S::Value)) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let scene = runtime.block_on(Scene::start());
    let given = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let cases = given("PROPTEST_CASES").map_or(cases, |cases| cases as u32);
    let seed = given("PROPTEST_RNG_SEED").unwrap_or(SEED);
    let again = format!("again: make explore EPISODES={cases} SEED={seed}, or the test with PROPTEST_RNG_SEED={seed}");
    println!("{again}");
    let rng_seed = RngSeed::Fixed(seed);
    let config = Config { cases, rng_seed, failure_persistence: None, max_shrink_iters: 400, ..Config::default() };
    let outcome = TestRunner::new(config).run(strategy, |value| {
        runtime.block_on(async {
            let _: String = scene.run(&["FLUSHALL"]).await;
            test(&scene, value).await;
        });
        Ok(())
    });
    if let Err(failure) = outcome {
        panic!("{failure}\n{again}");
    }
}
