//! Running a property many times on one server, each time on an empty queue.

use super::scene::Scene;
use proptest::strategy::Strategy;
use proptest::test_runner::{Config, TestRunner};

/// Runs `test` on `cases` generated values (`PROPTEST_CASES` sets another number); panics with the smallest that fails.
pub fn hold<S: Strategy>(cases: u32, strategy: &S, test: impl AsyncFn(&Scene, S::Value)) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let scene = runtime.block_on(Scene::start());
    let cases = std::env::var("PROPTEST_CASES").ok().and_then(|text| text.parse().ok()).unwrap_or(cases);
    let config = Config { cases, failure_persistence: None, max_shrink_iters: 400, ..Config::default() };
    let outcome = TestRunner::new(config).run(strategy, |value| {
        runtime.block_on(async {
            let _: String = scene.run(&["FLUSHALL"]).await;
            test(&scene, value).await;
        });
        Ok(())
    });
    if let Err(failure) = outcome {
        panic!("{failure}");
    }
}
