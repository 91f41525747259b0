//! X/Y/Z plots: a grid in front that is the result, and axes that change what `info` says.
//! In: plots on the stand-in. Out: the pictures that were kept, and what is still held against `info`.

use super::{PNG, failure, fox_with, run, stand_in};
use connectors::failure::Reason;
use serde_json::{Value, json};

/// Axes as number, text of values and list of values; whether the cells are wanted beside the grid.
fn plot(x: [Value; 3], y: [Value; 3], lone: bool) -> Value {
    let args: Vec<Value> = x.into_iter().chain(y).chain(nothing()).collect();
    let more = json!([true, lone, false, false, false, false, false, 0, false]);
    let args: Vec<Value> = args.into_iter().chain(more.as_array().unwrap().clone()).collect();
    json!({ "script_name": "X/Y/Z plot", "script_args": args })
}

fn with(mut payload: Value, more: Value) -> Value {
    payload.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    payload
}

fn nothing() -> [Value; 3] {
    [json!(0), json!(""), json!([])]
}

fn seeds() -> [Value; 3] {
    [json!(1), json!("7, 8"), json!([])]
}

fn side(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes(bytes[at..at + 4].try_into().unwrap())
}

#[tokio::test]
async fn the_plot_itself_is_the_result_and_its_cells_come_behind_it() {
    let server = stand_in().await;
    for (lone, count) in [(false, 1), (true, 3)] {
        let payload = fox_with(with(plot(seeds(), nothing(), lone), json!({ "save_images": true })));
        let (ended, bench) = run(&server, payload).await;
        let outcome = ended.unwrap();
        assert_eq!(outcome.outputs.len(), count);
        assert_eq!(outcome.outputs[0].name, "txt2img-1.png");
        let files = bench.outputs.files();
        assert_eq!((side(&files[0].bytes, 16), side(&files[0].bytes, 20)), (128, 64), "two cells side by side");
        assert_eq!(outcome.data["seeds"], json!([7, 8]));
        assert_eq!(outcome.data["infotexts"].as_array().unwrap().len(), 3, "the plot's, and each cell's");
    }
}

#[tokio::test]
async fn what_an_axis_changes_is_not_held_against_the_server() {
    let server = stand_in().await;
    let samplers = || [json!(9), json!(""), json!(["Heun", "Euler a"])];
    let checkpoint = |number: u64| [json!(number), json!(""), json!(["v1-5-pruned-emaonly", "sd_xl_base_1.0"])];
    let named = json!({ "sd_model_checkpoint": "sd_xl_base_1.0" });
    let of_picture = json!({ "sd_model_checkpoint": "sd_xl_base_1.0", "init_images": [PNG] });
    for (payload, first) in [
        (plot(samplers(), seeds(), false), json!(["v1-5-pruned-emaonly", "Heun"])),
        (with(plot(checkpoint(11), seeds(), false), named.clone()), json!(["v1-5-pruned-emaonly", "Euler"])),
        (with(plot(seeds(), checkpoint(11), true), named), json!(["v1-5-pruned-emaonly", "Euler"])),
        (with(plot(checkpoint(10), nothing(), true), of_picture), json!(["v1-5-pruned-emaonly", "Euler"])),
    ] {
        let outcome = run(&server, fox_with(payload.clone())).await.0.unwrap();
        assert_eq!(json!([outcome.data["model"], outcome.data["sampler"]]), first, "{payload}");
    }
}

#[tokio::test]
async fn a_checkpoint_that_is_no_axis_is_still_held_against_info() {
    let server = stand_in().await;
    server.quirks(|quirks| quirks.wrong_checkpoint = true);
    let payload = with(plot(seeds(), nothing(), false), json!({ "sd_model_checkpoint": "sd_xl_base_1.0" }));
    let (ended, bench) = run(&server, fox_with(payload)).await;
    let failure = failure(ended);
    assert_eq!((failure.reason, failure.hosts_fault), (Reason::DependencyError, true));
    assert!(bench.outputs.files().is_empty());
}

#[tokio::test]
async fn where_the_axes_are_not_told_no_checkpoint_is_held_against_info() {
    let server = stand_in().await;
    server.quirks(|quirks| quirks.lacking_routes = ["GET /sdapi/v1/script-info".to_owned()].into());
    let named = json!({ "sd_model_checkpoint": "sd_xl_base_1.0" });
    let axis = [json!(11), json!(""), json!(["v1-5-pruned-emaonly"])];
    let outcome = run(&server, fox_with(with(plot(axis, nothing(), false), named))).await.0.unwrap();
    assert_eq!(outcome.data["model"], "v1-5-pruned-emaonly");
}

#[tokio::test]
async fn axes_that_the_script_refuses_are_the_jobs_fault() {
    let server = stand_in().await;
    let why = "Prompt S/R did not find a cat in prompt or negative prompt.";
    server.quirks(|quirks| quirks.fail_next = Some(("RuntimeError".into(), why.into())));
    let failure = failure(run(&server, fox_with(plot(seeds(), nothing(), false))).await.0);
    assert_eq!((failure.reason, failure.hosts_fault), (Reason::InvalidPayload, false), "{failure}");
}

#[tokio::test]
async fn a_checkpoint_on_an_axis_that_this_server_lacks_is_named_as_such() {
    let server = stand_in().await;
    let lacking = [json!(11), json!(""), json!(["no-such"])];
    let failure = failure(run(&server, fox_with(plot(lacking, nothing(), false))).await.0);
    assert_eq!((failure.reason, failure.hosts_fault), (Reason::ModelNotFound, true), "{failure}");
}
