//! What servers of this API really write, beside what the API's pages say: half letters, indexes that are all the same, texts
//! told only at their end. In: recorded-by-hand streams. Out: the text, once and whole.

use super::{connector, connector_with, failure, run, run_on, soon, stand_in, streamed, timing};
use connectors::conformance::{Bench, job};
use connectors::contract::{Connector, Outcome, Reattached};
use connectors::failure::Reason;
use connectors::openai::Timing;
use serde_json::{Value, json};
use stand_ins::openai::{Answer, Then};
use std::time::Duration;

const END: &str = "data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n";

/// A chunk with this delta, spelled as it stands.
fn chunk(delta: &str) -> String {
    format!("data: {{\"choices\":[{{\"index\":0,\"delta\":{delta}}}]}}\n\n")
}

async fn read(service: &str, stream: &str) -> (Outcome, Bench) {
    let server = stand_in().await;
    server.answer(Answer::events(&[stream.as_bytes()]));
    let (ended, bench) = run(&server, service, json!({ "prompt": "?", "model": "stand-in-text" })).await;
    (ended.unwrap(), bench)
}

#[tokio::test]
async fn an_emoji_that_comes_in_two_halves_is_one_letter_of_the_text_and_of_its_stream() {
    let of = |pieces: &[&str]| -> String {
        pieces.iter().map(|piece| chunk(&format!("{{\"content\":\"{piece}\"}}"))).collect()
    };
    for (pieces, expected) in [
        (&["hi \\ud83d", "\\ude00!"][..], "hi 😀!"),
        (&["\\ud83d", "\\ud83d", "\\ude00"], "\u{fffd}😀"),
        (&["lost \\ud83d"], "lost \u{fffd}"),
        (&["\\ude00 lost"], "\u{fffd} lost"),
    ] {
        let (outcome, bench) = read("openai_text", &(of(pieces) + END + "data: [DONE]\n\n")).await;
        assert_eq!(outcome.data["text"], expected);
        assert_eq!(streamed(&bench, "text"), expected);
    }
    let kinds = chunk("{\"reasoning_content\":\"\\ud83d\"}")
        + &chunk("{\"content\":\"\\ud83c\"}")
        + &chunk("{\"reasoning_content\":\"\\ude00\"}")
        + &chunk("{\"content\":\"\\udf89\"}")
        + END;
    let (outcome, _) = read("openai_text", &kinds).await;
    assert_eq!((&outcome.data["text"], &outcome.data["reasoning"]), (&json!("🎉"), &json!("😀")));
}

#[tokio::test]
async fn an_emoji_in_halves_is_one_in_a_response_too() {
    let delta = |text: &str| format!("data: {{\"type\":\"response.output_text.delta\",\"delta\":\"{text}\"}}\n\n");
    let last = r#"data: {"type":"response.completed","response":{"status":"completed","output":[{"type":"message","content":[{"type":"output_text","text":"\ud83d\ude00\ud83d"}]}]}}"#;
    let (outcome, bench) = read("openai", &(delta("\\ud83d") + &delta("\\ude00\\ud83d") + last + "\n\n")).await;
    assert_eq!((outcome.data["text"].as_str(), &*streamed(&bench, "text")), (Some("😀\u{fffd}"), "😀\u{fffd}"));
}

#[tokio::test]
async fn calls_that_all_have_the_same_index_are_told_by_their_ids_and_repeated_names_are_not_joined() {
    let call = |id: &str, name: &str, arguments: &str| {
        chunk(
            &json!({"tool_calls": [{"index": 0, "id": id, "function": {"name": name, "arguments": arguments}}]})
                .to_string(),
        )
    };
    let stream = call("a", "write", "{\"n\":") + &call("a", "write", "1}") + &call("b", "write", "{\"n\":2}") + END;
    let (outcome, bench) = read("openai_text", &stream).await;
    let calls: Vec<(&str, &str, &str)> = outcome.data["tool_calls"]
        .as_array()
        .unwrap()
        .iter()
        .map(|call| {
            let function = &call["function"];
            let text = |value: &'static str| function[value].as_str().unwrap();
            (call["id"].as_str().unwrap(), text("name"), text("arguments"))
        })
        .collect();
    assert_eq!(calls, [("a", "write", "{\"n\":1}"), ("b", "write", "{\"n\":2}")]);
    assert_eq!(streamed(&bench, "tool_call"), "{\"n\":1}{\"n\":2}");
    let older = chunk("{\"function_call\":{\"name\":\"w\",\"arguments\":\"{\"}}")
        + &chunk("{\"function_call\":{\"arguments\":\"}\"}}");
    let (outcome, _) = read("openai_text", &(older + END)).await;
    assert_eq!(outcome.data["tool_calls"][0]["function"], json!({"name": "w", "arguments": "{}"}));
}

#[tokio::test]
async fn calls_without_end_cost_no_more_memory_than_a_text_may() {
    let server = stand_in().await;
    let arguments = "x".repeat(1 << 20);
    let stream: String = (0..40)
        .map(|n| {
            chunk(
                &json!({"tool_calls": [{"index": n, "id": n.to_string(), "function": {"arguments": arguments}}]})
                    .to_string(),
            )
        })
        .collect();
    server.answer(Answer::events(&[stream.as_bytes()]));
    let (ended, bench) = run(&server, "openai_text", json!({ "prompt": "?", "model": "stand-in-text" })).await;
    assert_eq!(failure(ended).reason, Reason::InvalidResponseFormat);
    assert!(bench.tokens.pieces().len() <= 16);
}

#[tokio::test]
async fn a_response_is_streamed_as_its_end_says_it_is() {
    let delta = |text: &str| format!("data: {}\n\n", json!({"type": "response.output_text.delta", "delta": text}));
    let last = |text: &str| {
        let output = json!([{"type": "message", "content": [{"type": "output_text", "text": text}]}]);
        format!(
            "data: {}\n\n",
            json!({"type": "response.completed", "response": {"status": "completed", "output": output}})
        )
    };
    for (begun, expected) in [
        (vec![], vec!["whole text"]),
        (vec!["whole"], vec!["whole", " text"]),
        (vec!["whole", " text"], vec!["whole", " text"]),
        (vec!["something", " else"], vec!["whole text"]),
    ] {
        let stream: String = begun.iter().map(|text| delta(text)).collect();
        let (outcome, bench) = read("openai", &(stream + &last("whole text"))).await;
        assert_eq!(outcome.data["text"], "whole text");
        let pieces: Vec<String> = bench.tokens.pieces().into_iter().map(|(text, _)| text).collect();
        assert_eq!(pieces, expected, "readers begin anew where they had another text");
    }
}

#[tokio::test]
async fn a_text_that_its_server_has_ended_is_whole_whatever_becomes_of_the_connection() {
    for then in [Then::Cut, Then::Hang] {
        let server = stand_in().await;
        let stream = chunk("{\"content\":\"whole\"}") + END;
        server.answer(Answer::events(&[stream.as_bytes()]).then(then));
        let openai = connector_with(&server.url(), Timing { idle: Duration::from_millis(300), ..timing() });
        let (ended, _) = run_on(&openai, "openai_text", json!({ "prompt": "?", "model": "stand-in-text" })).await;
        assert_eq!(ended.unwrap().data["text"], "whole", "{then:?}");
    }
}

#[tokio::test]
async fn a_model_that_reasons_in_silence_has_the_time_of_a_first_piece() {
    let role = chunk("{\"role\":\"assistant\",\"content\":\"\"}");
    let created = "data: {\"type\":\"response.created\",\"response\":{}}\n\n".to_owned();
    for (service, first) in [("openai_text", role), ("openai", created)] {
        let server = stand_in().await;
        server.answer(Answer::events(&[first.as_bytes()]).then(Then::Hang));
        let short = Timing { first: Duration::from_millis(300), idle: Duration::from_millis(1), ..timing() };
        let openai = connector_with(&server.url(), short);
        let (ended, _) = run_on(&openai, service, json!({ "prompt": "?", "model": "stand-in-text" })).await;
        let failed = failure(ended);
        assert!(failed.message.contains("began no answer"), "{service}: {failed}");
    }
}

#[tokio::test]
async fn a_text_that_is_finished_is_whole_though_its_server_never_ends_the_stream() {
    let server = stand_in().await;
    let text = chunk("{\"content\":\"42\"}") + END;
    server.answer(Answer::events(&[text.as_bytes()]).then(Then::Hang));
    let openai = connector_with(&server.url(), Timing { last: Duration::from_millis(50), ..timing() });
    let payload = json!({ "prompt": "?", "model": "stand-in-text" });
    let (ended, _) = run_on(&openai, "openai_text", payload).await;
    assert_eq!(ended.unwrap().data["text"], "42");
}

/// A response in the background that its server has begun.
fn begun() -> Answer {
    Answer::json(200, &json!({"id": "resp_1", "status": "in_progress", "error": null}))
}

fn done(text: &str) -> Value {
    json!({"id": "resp_1", "status": "completed", "error": null,
           "output": [{"type": "message", "content": [{"type": "output_text", "text": text}]}]})
}

#[tokio::test]
async fn a_response_in_the_background_may_be_as_large_as_its_pictures() {
    let server = stand_in().await;
    server.answer(begun());
    server.reply(Answer::json(200, &done(&"x".repeat(10 << 20))));
    let payload = json!({ "input": "?", "model": "stand-in-text", "background": true });
    let (ended, _) = run(&server, "openai", payload).await;
    assert_eq!(ended.unwrap().data["text"].as_str().map(str::len), Some(10 << 20));
}

#[tokio::test]
async fn a_server_that_has_too_much_to_do_is_asked_again_for_an_earlier_response_which_is_not_made_twice() {
    let server = stand_in().await;
    let (openai, bench) = (connector(&server.url()), Bench::new());
    for status in [503, 429, 500] {
        server.reply(Answer::json(status, &json!({"error": {"message": "later"}})));
        server.reply(Answer::json(200, &done("made long ago")));
        let earlier = job("job-1", "openai", json!({ "input": "?", "model": "stand-in-text", "background": true }));
        let taken_up = soon(openai.reattach(&earlier, "resp_1", &bench.ctx)).await;
        let Ok(Reattached::Done(outcome)) = taken_up else { panic!("{status}: {taken_up:?}") };
        assert_eq!(outcome.data["text"], "made long ago");
    }
    assert!(server.executions().is_empty(), "nothing was asked for anew");
}

#[tokio::test]
async fn limits_that_a_server_tells_with_every_answer_are_no_pause_for_its_failures() {
    let server = stand_in().await;
    for (status, pause) in [(500, None), (429, Some(Duration::from_secs(360)))] {
        let answer = Answer::json(status, &json!({"error": {"message": "x"}}));
        server.answer(answer.with("x-ratelimit-remaining-tokens", "900").with("x-ratelimit-reset-tokens", "6m0s"));
        let (ended, _) = run(&server, "openai_text", json!({ "prompt": "?", "model": "stand-in-text" })).await;
        assert_eq!(failure(ended).retry_after, pause);
    }
}

#[tokio::test]
async fn parts_of_keys_and_prompts_that_a_server_repeats_reach_nobody() {
    let server = stand_in().await;
    let said = "key gsk-vA81****7890 of 'Tell me all my secr...' has used up its share";
    server.answer(Answer::json(429, &json!({"error": {"message": said}})));
    let payload =
        json!({ "prompt": "Tell me all my secrets", "model": "stand-in-text", "api_key": "gsk-vA81kqLw0zRt7890" });
    let failed = failure(run(&server, "openai_text", payload).await.0);
    assert_eq!(failed.message, "too many requests (HTTP 429): key … of '…...' has used up its share");
}

#[tokio::test]
async fn the_words_of_the_api_itself_stay_in_a_message() {
    let server = stand_in().await;
    let said = "`image_url` is not supported by this model in a message of the role `assistant`";
    server.answer(Answer::json(400, &json!({"error": {"message": said}})));
    let picture = json!({"type": "image_url", "image_url": {"url": "data:image/png;base64,aGVsbG8gd29ybGQ="}});
    let messages = json!([{"role": "assistant", "content": [picture]}]);
    let failed =
        failure(run(&server, "openai_text", json!({ "messages": messages, "model": "stand-in-text" })).await.0);
    assert!(failed.message.ends_with(said), "{failed}");
}

#[tokio::test]
async fn a_name_that_leads_nowhere_and_a_server_without_tls_have_their_reasons() {
    let server = stand_in().await;
    let long = format!("http://{}.example.org", "x".repeat(64));
    for (url, reason) in
        [(long, Reason::DnsResolution), (server.url().replace("http://", "https://"), Reason::SslCertificate)]
    {
        let (ended, bench) = run_on(&connector(&url), "openai_text", json!({ "prompt": "?", "model": "m" })).await;
        let failed = failure(ended);
        assert_eq!((failed.reason, failed.hosts_fault), (reason, true), "{failed}");
        assert!(bench.ledger.ids().is_empty(), "nothing was begun");
    }
}
