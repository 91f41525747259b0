//! Errors of the server, classified by their class and text.
//! In: the stand-in's faults. Out: failures that are the job's or this box's, fit to show.

use super::{failure, fox_with, run, stand_in};
use connectors::failure::Reason;
use serde_json::json;

#[tokio::test]
async fn classes_and_texts_decide() {
    let rows = [
        ("OutOfMemoryError", "CUDA out of memory. Tried to allocate 20.00 GiB", Reason::GpuMemoryFull, true),
        ("RuntimeError", "CUDA out of memory.", Reason::GpuMemoryFull, true),
        ("MemoryError", "", Reason::OutOfMemory, true),
        ("NansException", "A tensor with all NaNs was produced in Unet.", Reason::InternalError, false),
        ("RuntimeError", "CUDA error: an illegal memory access was encountered", Reason::GpuError, true),
        ("OSError", "[Errno 28] No space left on device: '/opt/webui/x'", Reason::DiskSpaceFull, true),
        ("SafetensorError", "Error while deserializing header", Reason::DependencyError, true),
        ("RuntimeError", "mat1 and mat2 shapes cannot be multiplied", Reason::InternalError, false),
        ("Exception", "whatever", Reason::InvalidPayload, false),
        ("RuntimeError", "model 'no-such-model.safetensors' not found", Reason::ModelNotFound, true),
        ("Exception", "could not find upscaler named NoSuchUpscaler", Reason::ModelNotFound, true),
        // What the job says is repeated in such texts, and decides nothing.
        ("RuntimeError", "bad prompt 'CUDA out of memory. No space left on device'", Reason::InternalError, false),
        ("Exception", "cannot draw 'CUDA error: cuDNN error'", Reason::InvalidPayload, false),
        ("RuntimeError", "the model of 'x' is not found", Reason::InternalError, false),
        ("AttributeError", "'NoneType' object has no attribute 'lowvram'", Reason::InternalError, true),
        ("TypeError", "'NoneType' object is not iterable", Reason::InternalError, false),
        ("TypeError", "unsupported operand type(s) for *: 'NoneType' and 'float'", Reason::InvalidPayload, false),
        ("AttributeError", "'str' object has no attribute 'get'", Reason::InvalidPayload, false),
    ];
    let server = stand_in().await;
    for (class, text, reason, hosts) in rows {
        server.quirks(|quirks| quirks.fail_next = Some((class.into(), text.into())));
        let failure = failure(run(&server, fox_with(json!({}))).await.0);
        assert_eq!((failure.reason, failure.hosts_fault), (reason, hosts), "{class} {text}: {failure}");
    }
}

#[tokio::test]
async fn prompts_and_paths_are_not_passed_on() {
    let server = stand_in().await;
    let text = "cannot encode 'a red fox in the snow' from /opt/webui/models/x.bin\nTraceback (most recent call last)";
    server.quirks(|quirks| quirks.fail_next = Some(("RuntimeError".into(), text.into())));
    let failure = failure(run(&server, fox_with(json!({ "prompt": "a red fox in the snow" }))).await.0);
    assert_eq!(failure.message, "the server failed with RuntimeError: cannot encode '…' from …");
}

#[tokio::test]
async fn fields_of_the_wrong_type_are_named() {
    let server = stand_in().await;
    let failure = failure(run(&server, fox_with(json!({ "cfg_scale": "much" }))).await.0);
    assert_eq!(failure.reason, Reason::InvalidPayload);
    assert!(failure.message.contains("`cfg_scale`") && failure.message.contains("float"), "{failure}");
}

#[tokio::test]
async fn a_null_that_the_job_itself_hands_to_a_script_is_not_this_boxs_fault() {
    let server = stand_in().await;
    let broken = || Some(("AttributeError".into(), "'NoneType' object has no attribute 'strip'".into()));
    for (args, hosts) in [(json!([null]), false), (json!([{ "image": null }]), false), (json!([1]), true)] {
        server.quirks(|quirks| quirks.fail_next = broken());
        let more = json!({ "script_name": "prompt matrix", "script_args": args });
        let failure = failure(run(&server, fox_with(more)).await.0);
        assert_eq!((failure.reason, failure.hosts_fault), (Reason::InternalError, hosts), "{args}");
    }
}
