//! The way back: what ends a fence, what does not, and the check before it.

use super::bench::Bench;

#[tokio::test]
async fn a_card_that_was_lost_and_is_found_again_works_after_its_memory_was_tried() {
    let bench = Bench::ready(&[]).await;
    bench.driver.reports("1 79");
    bench.fenced("m-1").await;
    // That the driver answers for it is not enough after such an error.
    bench.driver.becomes("one-of-two-lost");
    let _ = bench.agent.logged("Xid 79").await;
    super::super::support::until("the loss is seen", || async {
        let health = bench.json("m-1", "gpu").await["health"]["state"].take();
        (health == "lost").then_some(())
    })
    .await;
    bench.driver.becomes("two");
    bench.agent.logged("GPU is back").await;
    assert!(
        bench.agent.log().contains("memory on it was taken, written, copied and read back"),
        "{}",
        bench.agent.log()
    );
    bench.works_again("m-1").await;
    assert!(bench.json("m-1", "gpu").await["fence"].is_null());
}

#[tokio::test]
async fn a_card_missing_against_those_seen_before_is_named_and_comes_back() {
    let bench = Bench::ready(&[]).await;
    bench.driver.becomes("one");
    let fence = bench.fenced("m-1").await;
    assert!(fence["reason"].as_str().unwrap().starts_with("missing"), "{fence}");
    bench.driver.becomes("two");
    bench.agent.logged("GPU is back").await;
    bench.works_again("m-1").await;
}

#[tokio::test]
async fn a_card_that_fails_the_check_stays_out_until_it_passes() {
    let bench = Bench::ready(&[]).await;
    bench.driver.cuda("ecc");
    bench.driver.becomes("one-of-two-lost");
    bench.fenced("m-1").await;
    bench.driver.becomes("two");
    bench.agent.logged("CUDA_ERROR_ECC_UNCORRECTABLE").await;
    bench.fenced("m-1").await;
    bench.driver.cuda("well");
    bench.agent.logged("GPU is back").await;
}

#[tokio::test]
async fn where_nobody_can_ask_cuda_the_drivers_word_counts_and_the_log_says_so() {
    let bench = Bench::ready(&[]).await;
    bench.driver.cuda("no-device");
    bench.driver.becomes("one-of-two-lost");
    bench.fenced("m-1").await;
    bench.driver.becomes("two");
    bench.agent.logged("its memory was not tried: CUDA says CUDA_ERROR_NO_DEVICE").await;
    bench.works_again("m-1").await;
}
