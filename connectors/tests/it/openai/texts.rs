//! Texts: streamed in order, joined into the result, with usage, the reason of the end, and calls of tools.
//! In: each flavour of the stand-in. Out: tokens, files, facts.

use super::{connector, run, run_on, stand_in, stand_in_with, streamed};
use serde_json::{Value, json};
use stand_ins::openai::{Answer, Flavour, Options};

const FLAVOURS: [Flavour; 4] = [Flavour::OpenAi, Flavour::Vllm, Flavour::LlamaCpp, Flavour::Ollama];

fn one_model(flavour: Flavour) -> Options {
    Options { flavour, models: vec!["stand-in-text".into()], ..Options::default() }
}

#[tokio::test]
async fn every_text_service_streams_its_text_and_joins_it_on_every_flavour() {
    for flavour in FLAVOURS {
        let server = stand_in_with(one_model(flavour)).await;
        let openai = connector(&server.url());
        for service in ["openai_text", "chat_completion", "text_generation", "ollama", "openai", "openai_responses"] {
            if flavour == Flavour::LlamaCpp && service.starts_with("openai") && service != "openai_text" {
                // It has no such route.
                continue;
            }
            let (ended, bench) = run_on(&openai, service, json!({ "prompt": "hello", "max_tokens": 20 })).await;
            let outcome = ended.unwrap_or_else(|error| panic!("{flavour:?} {service}: {error:?}"));
            let text = streamed(&bench, "text");
            assert!(
                text.starts_with("Stand-in für ") && text.ends_with(": 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15"),
                "{text}"
            );
            assert_eq!(outcome.data["text"], json!(text), "{flavour:?} {service}");
            assert_eq!(outcome.data["finish_reason"], "length", "{flavour:?} {service}: {}", outcome.data);
            assert_eq!(outcome.data["tokens_used"], 21, "{flavour:?} {service}: {}", outcome.data);
            assert_eq!(outcome.data["model_used"], "stand-in-text");
            assert!(bench.tokens.pieces().len() >= 20, "it came in pieces");
            let files = bench.outputs.files();
            assert_eq!((files.len(), &files[0].bytes[..]), (1, text.as_bytes()), "{flavour:?} {service}");
        }
    }
}

#[tokio::test]
async fn usage_is_had_even_from_a_server_that_refuses_to_be_asked_for_it() {
    let server = stand_in_with(Options { refuses_stream_options: true, ..Options::default() }).await;
    let openai = connector(&server.url());
    for _ in 0..2 {
        let payload = json!({ "prompt": "hello", "model": "stand-in-text" });
        let outcome = run_on(&openai, "openai_text", payload).await.0.unwrap();
        assert_eq!(outcome.data["finish_reason"], "stop");
        assert!(outcome.data.get("usage").is_none(), "it does not tell");
    }
    let outcomes: Vec<_> = server.executions().iter().map(|run| run.outcome).collect();
    assert_eq!(outcomes, ["refused", "done", "done"], "it is asked once and not again");
}

#[tokio::test]
async fn a_limit_under_its_older_name_is_renamed_where_the_model_wants_the_newer() {
    let server = stand_in().await;
    server.answer(Answer::json(400, &json!({"error": {
        "message": "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead.",
        "type": "invalid_request_error", "param": "max_tokens", "code": "unsupported_parameter"}})));
    let payload = json!({ "prompt": "hello", "model": "stand-in-text", "max_tokens": 8 });
    let outcome = run(&server, "openai_text", payload).await.0.unwrap();
    assert_eq!(outcome.data["finish_reason"], "length");
    assert_eq!(server.executions()[1].request["max_completion_tokens"], 8);
}

#[tokio::test]
async fn calls_of_tools_are_put_together_from_their_pieces() {
    let server = stand_in().await;
    let tools = json!([{"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}]);
    let payload = json!({ "messages": [{"role": "user", "content": "?"}], "tools": tools, "model": "stand-in-text" });
    let (ended, bench) = run(&server, "chat_completion", payload).await;
    let outcome = ended.unwrap();
    let call = &outcome.data["tool_calls"][0];
    assert_eq!((&call["id"], &call["function"]["name"]), (&json!("call_1"), &json!("weather")));
    assert_eq!(call["function"]["arguments"], "{\"city\": \"Braga\"}");
    assert_eq!(outcome.data["finish_reason"], "tool_calls");
    assert_eq!(streamed(&bench, "tool_call"), "{\"city\": \"Braga\"}");
    assert!(outcome.outputs.is_empty(), "there is no text to store");
}

#[tokio::test]
async fn reasoning_is_streamed_as_what_it_is_and_kept_apart() {
    let server = stand_in().await;
    server.answer(Answer::events(&[
        "data: {\"choices\":[{\"index\":0,\"delta\":{\"reasoning_content\":\"Let me\"}}]}\n\n".as_bytes(),
        b"data: {\"choices\":[{\"index\":0,\"delta\":{\"reasoning_content\":\" see.\"}}]}\n\n",
        b"data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"42\"},\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n",
    ]));
    let (ended, bench) = run(&server, "openai_text", json!({ "prompt": "?", "model": "stand-in-text" })).await;
    let outcome = ended.unwrap();
    assert_eq!((&outcome.data["text"], &outcome.data["reasoning"]), (&json!("42"), &json!("Let me see.")));
    let pieces: Vec<_> = bench.tokens.pieces();
    assert_eq!(pieces, [("Let me".into(), "reasoning"), (" see.".into(), "reasoning"), ("42".into(), "text")]);
}

#[tokio::test]
async fn a_stream_is_read_however_it_is_cut_and_spelled() {
    let server = stand_in().await;
    // CR LF, comments between, a letter cut in two, a piece without a blank, an event without content, no [DONE].
    let stream = ": keep-alive\r\n\r\ndata: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"grö\"}}]}\r\n\r\n\
                  : keep-alive\r\ndata:{\"choices\":[{\"index\":0,\"delta\":{\"content\":\"ßer\"}}]}\r\n\r\n\
                  data: {\"usage\":{\"total_tokens\":7}}\r\n\r\n\
                  data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\r\n";
    let pieces: Vec<&[u8]> = stream.as_bytes().chunks(1).collect();
    server.answer(Answer::events(&pieces));
    let (ended, bench) = run(&server, "openai_text", json!({ "prompt": "?", "model": "stand-in-text" })).await;
    let outcome = ended.unwrap();
    assert_eq!((&outcome.data["text"], &outcome.data["tokens_used"]), (&json!("größer"), &json!(7)));
    assert_eq!(streamed(&bench, "text"), "größer");
}

#[tokio::test]
async fn a_server_that_does_not_stream_answers_all_the_same() {
    let server = stand_in().await;
    server.answer(Answer::json(
        200,
        &json!({"id": "chatcmpl-1", "object": "chat.completion", "model": "m",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": "whole"}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}}),
    ));
    let (ended, bench) = run(&server, "openai_text", json!({ "prompt": "?", "model": "stand-in-text" })).await;
    assert_eq!(ended.unwrap().data["text"], "whole");
    assert_eq!(bench.tokens.pieces(), [("whole".to_owned(), "text")]);
}

#[tokio::test]
async fn a_response_in_the_background_is_polled_to_its_end_and_taken_up_again_by_its_id() {
    use connectors::conformance::{Bench, job};
    use connectors::contract::{Connector, Reattached};
    let server = stand_in().await;
    let openai = connector(&server.url());
    let payload = json!({ "input": "hello", "background": true, "model": "stand-in-text" });
    let (ended, bench) = run_on(&openai, "openai_responses", payload.clone()).await;
    let outcome = ended.unwrap();
    let id = bench.ledger.ids().pop().unwrap();
    assert!(id.starts_with("resp_"), "its own id is recorded in the end: {:?}", bench.ledger.ids());
    assert_eq!(outcome.data["openai_response_id"], json!(id));
    // Another process, which knows nothing but the id.
    let (later, again) = (connector(&server.url()), Bench::new());
    let found = later.reattach(&job("job-1", "openai", payload), &id, &again.ctx).await.unwrap();
    let Reattached::Done(found) = found else { panic!("it is still there") };
    assert_eq!(found.data["text"], outcome.data["text"]);
    assert_eq!(server.executions().len(), 1, "nothing was asked for twice");
}

#[tokio::test]
async fn vectors_come_in_the_order_of_their_inputs() {
    let server = stand_in().await;
    let openai = connector(&server.url());
    let both = run_on(&openai, "embeddings", json!({ "input": ["a", "b"] })).await.0.unwrap();
    let one = run_on(&openai, "ollama", json!({ "operation": "embeddings", "prompt": "b" })).await;
    let (ended, bench) = one;
    assert_eq!(both.data["embeddings"][1], ended.unwrap().data["embeddings"][0]);
    assert_eq!((&both.data["dimensions"], &both.data["model_used"]), (&json!(8), &json!("stand-in-embedding")));
    let stored: Value = serde_json::from_slice(&bench.outputs.files()[0].bytes).unwrap();
    assert_eq!(stored[0], both.data["embeddings"][1]);
    // A vector too few is no answer.
    server.answer(Answer::json(200, &json!({"data": [{"index": 0, "embedding": [1.0]}], "model": "m"})));
    let failure = super::failure(run_on(&openai, "embeddings", json!({ "input": ["a", "b"] })).await.0);
    assert_eq!(failure.reason.as_str(), "missing_expected_data");
}

#[tokio::test]
async fn pictures_are_stored_whether_they_come_as_base64_or_behind_an_address() {
    let server = stand_in().await;
    let openai = connector(&server.url());
    let (ended, bench) =
        run_on(&openai, "openai_image", json!({ "prompt": "a fox", "n": 2, "width": 64, "height": 32 })).await;
    let outcome = ended.unwrap();
    assert_eq!(outcome.outputs.len(), 2);
    assert_eq!(outcome.data["revised_prompts"][0], "a stand-in for: a fox");
    assert_eq!(server.executions()[0].request["size"], "64x32");
    let (ended, by_url) =
        run_on(&openai, "openai_image", json!({ "prompt": "a fox", "n": 2, "response_format": "url" })).await;
    assert_eq!(ended.unwrap().outputs[1].media_type, "image/png");
    let bytes = |bench: &connectors::conformance::Bench| {
        bench.outputs.files().iter().map(|file| file.bytes.clone()).collect::<Vec<_>>()
    };
    assert_eq!(bytes(&bench), bytes(&by_url));
    // An address elsewhere is fetched as inputs are, which this bench has none of.
    server.answer(Answer::json(200, &json!({"data": [{"url": "http://169.254.169.254/latest"}]})));
    let failure = super::failure(run_on(&openai, "openai_image", json!({ "prompt": "a fox" })).await.0);
    assert_eq!(failure.message, "inputs cannot be fetched here");
}

#[tokio::test]
async fn pictures_of_an_edit_are_sent_as_files() {
    const PNG: &str =
        "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==";
    let server = stand_in().await;
    let payload =
        json!({ "prompt": "add a hat", "image": [PNG, format!("data:image/png;base64,{PNG}")], "mask": PNG, "n": 1 });
    let (ended, _) = run(&server, "openai_img2img", payload).await;
    assert_eq!(ended.unwrap().outputs.len(), 1);
    let sent = &server.executions()[0];
    assert_eq!(sent.route, "/v1/images/edits");
    assert_eq!((&sent.request["image"], &sent.request["mask"]), (&json!([70, 70]), &json!([70])), "{}", sent.request);
    assert_eq!((&sent.request["prompt"], &sent.request["n"]), (&json!("add a hat"), &json!("1")));
    for (image, reason) in [("not base64!", "invalid_format"), ("aGVsbG8=", "invalid_format")] {
        let failure = super::failure(run(&server, "openai_img2img", json!({ "prompt": "x", "image": image })).await.0);
        assert_eq!(failure.reason.as_str(), reason);
    }
    assert_eq!(server.executions().len(), 1, "nothing of it was sent");
}
