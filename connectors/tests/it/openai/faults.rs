//! Every distinct kind of faulty answer, and what it costs the job.
//! In: answers in place of the stand-in's own. Out: type, reason, whose fault it is, the pause that was asked for.

use super::{failure, run_on, stand_in_with};
use connectors::contract::Connector;
use connectors::failure::{Failure, FailureType, Reason};
use serde_json::{Value, json};
use stand_ins::openai::{Answer, Flavour, Options, Then};

const START: &[u8] = b"data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"once\"}}]}\n\n";

fn refusal(status: u16, kind: &str, code: Value) -> Answer {
    Answer::json(
        status,
        &json!({"error": {"message": "the secret prompt is bad", "type": kind, "param": null, "code": code}}),
    )
}

fn choice(last: Value) -> Answer {
    let event = format!("data: {}\n\ndata: [DONE]\n\n", json!({"choices": [last]}));
    Answer::events(&[START, event.as_bytes()])
}

/// What, the answer, `type/reason`, the host's fault.
type Row = (&'static str, Answer, &'static str, bool);

async fn hold(flavour: Flavour, service: &str, payload: &Value, rows: Vec<Row>) {
    let models = vec!["m".to_owned()];
    let server = stand_in_with(Options { flavour, models, ..Options::default() }).await;
    let openai = super::connector(&server.url());
    for (what, answer, expected, hosts) in rows {
        server.answer(answer);
        let (ended, bench) = run_on(&openai, service, payload.clone()).await;
        let failed = failure(ended);
        assert_eq!(format!("{}/{}", failed.kind(), failed.reason), expected, "{what}: {failed}");
        assert_eq!(failed.hosts_fault, hosts, "{what}: {failed}");
        assert!(!failed.message.contains("secret prompt"), "{what}: {failed}");
        assert!(bench.outputs.files().is_empty(), "{what}");
    }
}

fn payload() -> Value {
    json!({ "prompt": "the secret prompt", "model": "m" })
}

#[tokio::test]
async fn refusals_and_errors_by_status_code_and_type() {
    let bad = "invalid_request_error";
    let filtered = |category: &str| {
        let mut result = json!({"hate": {"filtered": false, "severity": "safe"}});
        result[category] = json!({"filtered": true, "severity": "high"});
        Answer::json(
            400,
            &json!({"error": {"message": "x", "type": null, "param": "prompt", "code": "content_filter", "status": 400,
            "innererror": {"code": "ResponsibleAIPolicyViolation", "content_filter_result": result}}}),
        )
    };
    let plain =
        |status: u16| Answer { pieces: vec![b"<html>sorry</html>".to_vec()], ..Answer::json(status, &json!(null)) };
    let rows: Vec<Row> = vec![
        ("a wrong key", refusal(401, bad, json!("invalid_api_key")), "auth_error/invalid_api_key", true),
        ("an expired key", refusal(401, bad, json!("token_expired")), "auth_error/expired_token", true),
        ("a closed account", refusal(401, bad, json!("account_deactivated")), "auth_error/account_suspended", true),
        ("not allowed", refusal(403, bad, Value::Null), "auth_error/insufficient_permissions", true),
        ("the model is missing", refusal(404, bad, json!("model_not_found")), "validation_error/model_not_found", true),
        ("the route is missing", refusal(404, bad, Value::Null), "validation_error/component_error", true),
        (
            "too many requests",
            refusal(429, "requests", json!("rate_limit_exceeded")),
            "rate_limit/requests_per_minute",
            false,
        ),
        (
            "too many tokens",
            refusal(429, "tokens", json!("rate_limit_exceeded")),
            "rate_limit/tokens_per_minute",
            false,
        ),
        ("too much, in other words", plain(429), "rate_limit/requests_per_minute", false),
        (
            "no money left",
            refusal(429, "insufficient_quota", json!("insufficient_quota")),
            "rate_limit/daily_quota_exceeded",
            false,
        ),
        ("payment wanted", plain(402), "rate_limit/daily_quota_exceeded", false),
        ("too long", refusal(400, bad, json!("context_length_exceeded")), "validation_error/invalid_payload", false),
        (
            "a field is missing",
            refusal(400, bad, json!("missing_required_parameter")),
            "validation_error/missing_required_field",
            false,
        ),
        (
            "a field is not known",
            refusal(400, bad, json!("unsupported_value")),
            "validation_error/unsupported_operation",
            false,
        ),
        (
            "a picture is no picture",
            refusal(400, bad, json!("invalid_image_format")),
            "validation_error/invalid_format",
            false,
        ),
        ("a bad request", refusal(400, bad, Value::Null), "validation_error/invalid_payload", false),
        (
            "fields of the wrong type",
            Answer::json(422, &json!({"detail": [{"loc": ["body"], "msg": "x"}]})),
            "validation_error/invalid_payload",
            false,
        ),
        ("too large", plain(413), "validation_error/invalid_payload", false),
        (
            "policy",
            refusal(400, "image_generation_user_error", json!("content_policy_violation")),
            "generation_refusal/policy_violation",
            false,
        ),
        (
            "moderation",
            refusal(400, "image_generation_user_error", json!("moderation_blocked")),
            "generation_refusal/safety_filter",
            false,
        ),
        ("violence", filtered("violence"), "generation_refusal/violence_detected", false),
        ("nudity", filtered("sexual"), "generation_refusal/nsfw_content", false),
        ("hate", filtered("hate"), "generation_refusal/hate_speech", false),
        ("copyright", filtered("protected_material_text"), "generation_refusal/copyright_blocker", false),
        ("the server's fault", refusal(500, "server_error", Value::Null), "service_error/service_unavailable", false),
        ("a gateway", plain(502), "service_error/service_unavailable", true),
        ("not ready", plain(503), "service_error/service_unavailable", true),
        ("too much to do", refusal(529, "overloaded_error", Value::Null), "service_error/degraded_performance", false),
        ("a redirect", plain(307), "system_error/config_error", true),
        ("a refusal that breaks off", plain(400).then(Then::Cut), "validation_error/invalid_payload", false),
    ];
    hold(Flavour::OpenAi, "openai_text", &payload(), rows).await;
}

#[tokio::test]
async fn streams_that_end_otherwise_than_well() {
    let (bad, missing) = ("response_error/invalid_response_format", "response_error/missing_expected_data");
    let (cut, kept) = ("response_error/corrupted_data", "rate_limit/requests_per_minute");
    let error = b"data: {\"error\":{\"message\":\"the secret prompt\",\"type\":\"server_error\",\"code\":500}}\n\n";
    let lacking = b"data: {\"error\":{\"message\":\"x\",\"type\":\"tokens\",\"code\":\"rate_limit_exceeded\"}}\n\n";
    let rows: Vec<Row> = vec![
        ("no end said", Answer::events(&[START]), cut, false),
        ("no event at all", Answer::events(&[]), missing, false),
        ("an end and nothing else", Answer::events(&[b"data: [DONE]\n\n"]), missing, false),
        (
            "an error of older vLLM",
            Answer::events(&[
                START,
                b"data: {\"object\":\"error\",\"message\":\"x\",\"type\":\"BadRequestError\",\"code\":400}\n\n",
            ]),
            "validation_error/invalid_payload",
            false,
        ),
        (
            "an error of older llama.cpp",
            Answer::events(&[
                b"error: {\"code\":400,\"message\":\"x\",\"type\":\"exceed_context_size_error\"}\n\ndata: [DONE]\n\n",
            ]),
            "validation_error/invalid_payload",
            false,
        ),
        (
            "an error that is no event",
            Answer::events(&[START, b"{\"error\":{\"message\":\"x\",\"code\":\"429\"}}\n"]),
            kept,
            false,
        ),
        (
            "an error without a number",
            Answer::events(&[b"data: {\"error\":{\"message\":\"x\",\"type\":\"invalid_request_error\"}}\n\n"]),
            "validation_error/invalid_payload",
            false,
        ),
        ("only comments", Answer::events(&[b": ping\n\n"]), missing, false),
        ("cut off", Answer::events(&[START]).then(Then::Cut), "network_error/connection_failed", true),
        ("not JSON", Answer::events(&[START, b"data: {\"choices\":\n\n"]), bad, false),
        ("no choices", Answer::events(&[START, b"data: {\"hello\":1}\n\n"]), bad, false),
        ("a web page", Answer::events(&[b"<html>\n<body>\n"]), bad, false),
        ("no UTF-8", Answer::events(&[b"data: \xff\xfe\n\n"]), bad, false),
        ("an error in the stream", Answer::events(&[START, error]), "service_error/service_unavailable", false),
        ("a limit in the stream", Answer::events(&[START, lacking]), "rate_limit/tokens_per_minute", false),
        (
            "a filter",
            choice(json!({"index": 0, "delta": {}, "finish_reason": "content_filter"})),
            "generation_refusal/safety_filter",
            false,
        ),
        (
            "a filter that says why",
            choice(json!({"index": 0, "delta": {}, "finish_reason": "content_filter",
                          "content_filter_results": {"violence": {"filtered": true}}})),
            "generation_refusal/violence_detected",
            false,
        ),
        (
            "a model that declines",
            choice(json!({"index": 0, "delta": {"refusal": "I cannot"}, "finish_reason": "stop"})),
            "generation_refusal/policy_violation",
            false,
        ),
        (
            "given up",
            choice(json!({"index": 0, "delta": {}, "finish_reason": "abort"})),
            "service_error/service_unavailable",
            false,
        ),
        ("whole and empty", Answer::json(200, &json!({})), bad, false),
        (
            "whole and an error",
            Answer::json(200, &json!({"error": {"message": "x", "code": 503}})),
            "service_error/service_unavailable",
            true,
        ),
    ];
    hold(Flavour::OpenAi, "openai_text", &payload(), rows).await;
}

#[tokio::test]
async fn responses_that_end_otherwise_than_well() {
    let last = |response: Value| {
        let kind = format!("response.{}", response["status"].as_str().unwrap());
        let event = format!("event: {kind}\ndata: {}\n\n", json!({"type": kind, "response": response}));
        Answer::events(&[event.as_bytes()])
    };
    let rows: Vec<Row> = vec![
        (
            "no end",
            Answer::events(&[b"data: {\"type\":\"response.output_text.delta\",\"delta\":\"x\"}\n\n"]),
            "response_error/corrupted_data",
            false,
        ),
        (
            "no end but the mark of one",
            Answer::events(&[b"data: {\"type\":\"response.output_text.delta\",\"delta\":\"x\"}\n\ndata: [DONE]\n\n"]),
            "response_error/corrupted_data",
            false,
        ),
        (
            "an error without a type",
            Answer::events(&[b"data: {\"error\":{\"message\":\"x\",\"type\":\"BadRequestError\",\"code\":400}}\n\n"]),
            "validation_error/invalid_payload",
            false,
        ),
        ("no type", Answer::events(&[b"data: {}\n\n"]), "response_error/invalid_response_format", false),
        (
            "failed",
            last(json!({"status": "failed", "error": {"code": "server_error", "message": "x"}})),
            "service_error/service_unavailable",
            false,
        ),
        (
            "too much",
            last(json!({"status": "failed", "error": {"code": "rate_limit_exceeded", "message": "x"}})),
            "rate_limit/requests_per_minute",
            false,
        ),
        (
            "a prompt that is refused",
            last(json!({"status": "failed", "error": {"code": "invalid_prompt", "message": "x"}})),
            "validation_error/invalid_payload",
            false,
        ),
        (
            "a picture that may not be",
            last(json!({"status": "failed", "error": {"code": "image_content_policy_violation", "message": "x"}})),
            "generation_refusal/policy_violation",
            false,
        ),
        (
            "a picture that is none",
            last(json!({"status": "failed", "error": {"code": "empty_image_file", "message": "x"}})),
            "validation_error/invalid_format",
            false,
        ),
        (
            "no money",
            last(json!({"status": "failed", "error": {"code": "insufficient_quota", "message": "x"}})),
            "rate_limit/daily_quota_exceeded",
            false,
        ),
        (
            "a filter",
            last(json!({"status": "incomplete", "incomplete_details": {"reason": "content_filter"}})),
            "generation_refusal/safety_filter",
            false,
        ),
        (
            "declined",
            last(
                json!({"status": "completed", "output": [{"type": "message", "content": [{"type": "refusal", "refusal": "no"}]}]}),
            ),
            "generation_refusal/policy_violation",
            false,
        ),
        (
            "an error event",
            Answer::events(&[
                b"event: error\ndata: {\"type\":\"error\",\"code\":\"server_error\",\"message\":\"x\"}\n\n",
            ]),
            "service_error/service_unavailable",
            false,
        ),
    ];
    hold(Flavour::OpenAi, "openai", &payload(), rows).await;
}

#[tokio::test]
async fn each_server_has_its_own_words_for_a_model_that_it_lacks() {
    let vllm = json!({"error": {"message": "x", "type": "NotFoundError", "param": "model", "code": 404}});
    let older = json!({"object": "error", "message": "The model `m` does not exist.", "type": "NotFoundError", "param": null, "code": 404});
    let missing = "validation_error/model_not_found";
    hold(
        Flavour::Vllm,
        "openai_text",
        &payload(),
        vec![
            ("vLLM", Answer::json(404, &vllm), missing, true),
            ("older vLLM", Answer::json(404, &older), missing, true),
            ("no route", Answer::json(404, &json!({"detail": "Not Found"})), "validation_error/component_error", true),
        ],
    )
    .await;
    hold(
        Flavour::Ollama,
        "openai_text",
        &payload(),
        vec![("Ollama", refusal(404, "not_found_error", Value::Null), missing, true)],
    )
    .await;
    let native = json!({ "prompt": "the secret prompt", "model": "m", "num_ctx": 64 });
    hold(
        Flavour::Ollama,
        "ollama",
        &native,
        vec![
            ("Ollama's own route", Answer::json(404, &json!({"error": "model 'm' not found"})), missing, true),
            (
                "an error in its stream",
                Answer::events(&[
                    b"{\"model\":\"m\",\"response\":\"a\",\"done\":false}\n{\"error\":\"the secret prompt\"}\n",
                ]),
                "service_error/service_unavailable",
                false,
            ),
            (
                "a stream without an end",
                Answer::events(&[b"{\"model\":\"m\",\"response\":\"a\",\"done\":false}\n"]),
                "response_error/corrupted_data",
                false,
            ),
            (
                "no line of its own",
                Answer::events(&[b"{\"choices\":[]}\n"]),
                "response_error/invalid_response_format",
                false,
            ),
        ],
    )
    .await;
    let llama =
        |code: u16, kind: &str| Answer::json(code, &json!({"error": {"code": code, "message": "x", "type": kind}}));
    hold(
        Flavour::LlamaCpp,
        "openai_text",
        &payload(),
        vec![
            ("loading", llama(503, "unavailable_error"), "service_error/service_unavailable", true),
            ("not started for this", llama(501, "not_supported_error"), "validation_error/component_error", true),
            ("too long", llama(400, "exceed_context_size_error"), "validation_error/invalid_payload", false),
            ("a key", llama(401, "authentication_error"), "auth_error/invalid_api_key", true),
        ],
    )
    .await;
}

#[tokio::test]
async fn llama_cpp_says_of_routes_and_of_models_that_they_are_not_found_and_they_are_told_apart() {
    let llama = |code: u16, kind: &str, message: &str| {
        Answer::json(code, &json!({"error": {"code": code, "message": message, "type": kind}}))
    };
    let server =
        stand_in_with(Options { flavour: Flavour::LlamaCpp, models: vec!["there".to_owned()], ..Options::default() })
            .await;
    let openai = super::connector(&server.url());
    assert!(openai.probe().await.is_healthy(), "from now on it knows what there is");
    let (missing, no_route) = (Reason::ModelNotFound, Reason::ComponentError);
    let rows = [
        ("a route, whatever the model", "elsewhere", llama(404, "not_found_error", "File Not Found"), no_route, true),
        ("a route", "there", llama(404, "not_found_error", "File Not Found"), no_route, true),
        ("a model", "elsewhere", llama(404, "not_found_error", "model is not found"), missing, true),
        ("not the model, which is listed", "there", llama(404, "not_found_error", "gone"), no_route, true),
        (
            "one of several",
            "elsewhere",
            llama(400, "invalid_request_error", "model 'elsewhere' not found"),
            missing,
            true,
        ),
        (
            "a bad request",
            "elsewhere",
            llama(400, "invalid_request_error", "model 'x' not found in grammar"),
            Reason::InvalidPayload,
            false,
        ),
    ];
    for (what, model, answer, reason, hosts) in rows {
        server.answer(answer);
        let (ended, _) = run_on(&openai, "openai_text", json!({ "prompt": "p", "model": model })).await;
        let failed = failure(ended);
        assert_eq!((failed.reason, failed.hosts_fault), (reason, hosts), "{what}: {failed}");
        assert_eq!(
            failed.message.contains("lacks the model `elsewhere`; it has `there`"),
            reason == missing,
            "{failed}"
        );
    }
}

#[tokio::test]
async fn a_403_is_about_the_model_that_was_asked_for_and_a_401_about_the_key() {
    let server = super::stand_in().await;
    let openai = super::connector(&server.url());
    let region = "unsupported_country_region_territory";
    let page = Answer { pieces: vec![b"<html>no</html>".to_vec()], ..Answer::json(403, &json!(null)) };
    for (what, answer, own_key, model) in [
        ("the model", refusal(403, "invalid_request_error", Value::Null), false, Some("m")),
        ("the model, in a word of its own", refusal(403, "permission_error", json!("no_access")), false, Some("m")),
        ("the place", refusal(403, "request_forbidden", json!(region)), false, None),
        ("somebody in between", page, false, None),
        ("the job's own key", refusal(403, "invalid_request_error", Value::Null), true, None),
        ("the key", refusal(401, "invalid_request_error", Value::Null), false, None),
    ] {
        server.answer(answer);
        let mut payload = payload();
        if own_key {
            payload["api_key"] = json!("sk-of-the-job");
        }
        let failed = failure(run_on(&openai, "openai_text", payload).await.0);
        assert_eq!((failed.model.as_deref(), failed.hosts_fault), (model, !own_key), "{what}: {failed}");
        assert_eq!(failed.kind(), FailureType::AuthError, "{what}: {failed}");
    }
}

#[tokio::test]
async fn a_full_queue_of_ollama_is_busy_and_not_broken_and_its_pause_is_kept() {
    let server =
        stand_in_with(Options { flavour: Flavour::Ollama, models: vec!["m".to_owned()], ..Options::default() });
    let server = server.await;
    let openai = super::connector(&server.url());
    let said = "server busy, please try again.  maximum pending requests exceeded";
    let common =
        || Answer::json(503, &json!({"error": {"message": said, "type": "api_error", "param": null, "code": null}}));
    let native = json!({ "prompt": "p", "model": "m", "num_ctx": 64 });
    for (what, service, payload, answer, pause) in [
        ("the common route", "openai_text", payload(), common(), None),
        ("with a pause", "openai_text", payload(), common().with("retry-after", "7"), Some(7)),
        ("its own route", "ollama", native, Answer::json(503, &json!({ "error": said })), None),
    ] {
        server.answer(answer);
        let failed = failure(run_on(&openai, service, payload).await.0);
        assert_eq!((failed.reason, failed.hosts_fault), (Reason::ConcurrentLimit, true), "{what}: {failed}");
        assert_eq!(failed.retry_after.map(|pause| pause.as_secs()), pause, "{what}");
    }
    // What stands in front of it has no such word.
    server.answer(Answer { pieces: vec![b"<html>sorry</html>".to_vec()], ..Answer::json(503, &json!(null)) });
    let failed = failure(run_on(&openai, "openai_text", payload()).await.0);
    assert_eq!(failed.reason, Reason::ServiceUnavailable, "{failed}");
}

#[tokio::test]
async fn a_missing_model_is_named_and_a_pause_is_honoured() {
    let server = super::stand_in().await;
    let openai = super::connector(&server.url());
    let asked = async |answer: Option<Answer>, model: &str| -> Failure {
        answer.into_iter().for_each(|answer| server.answer(answer));
        failure(run_on(&openai, "openai_text", json!({ "prompt": "p", "model": model })).await.0)
    };
    assert!(openai.probe().await.is_healthy(), "from now on it knows what there is");
    let lacking = asked(None, "gpt-99").await;
    assert_eq!((lacking.model.as_deref(), lacking.hosts_fault), (None, true), "no file of it is damaged");
    assert!(lacking.message.contains("`gpt-99`; it has `stand-in-"), "{lacking}");
    let limited = || refusal(429, "requests", json!("rate_limit_exceeded"));
    for (answer, seconds) in [
        (limited(), None),
        (limited().with("retry-after", "7"), Some(7.0)),
        (
            limited()
                .with("date", "Tue, 15 Nov 1994 08:12:31 GMT")
                .with("retry-after", "Tue, 15 Nov 1994 08:12:40 GMT"),
            Some(9.0),
        ),
        (limited().with("x-ratelimit-reset-requests", "1m2s"), Some(62.0)),
    ] {
        let failed = asked(Some(answer), "stand-in-text").await;
        assert_eq!(failed.retry_after.map(|pause| pause.as_secs_f64()), seconds);
    }
}
