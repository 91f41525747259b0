//! What is sent for which payload: names of Ollama, names of the reference, keys of a job's own.
//! In: payloads. Out: the requests that the stand-in got.

use super::{connector, failure, run_on, stand_in_with};
use connectors::openai::{OpenAi, Settings};
use serde_json::{Value, json};
use stand_ins::openai::{Flavour, Options};

async fn sent(flavour: Flavour, service: &str, payload: Value) -> (String, Value, Value) {
    let server = stand_in_with(Options { flavour, models: vec!["m".into()], ..Options::default() }).await;
    let (ended, _) = run_on(&connector(&server.url()), service, payload.clone()).await;
    let outcome = ended.unwrap_or_else(|error| panic!("{flavour:?} {service} {payload}: {error:?}"));
    let run = server.executions().pop().unwrap();
    (run.route, run.request, outcome.data)
}

#[tokio::test]
async fn each_payload_goes_to_the_route_that_can_carry_it() {
    let (ollama, openai, vllm, llama) = (Flavour::Ollama, Flavour::OpenAi, Flavour::Vllm, Flavour::LlamaCpp);
    let rows = [
        (ollama, "ollama", json!({"prompt": "p"}), "/v1/completions"),
        (ollama, "ollama", json!({"prompt": "p", "num_ctx": 512}), "/api/generate"),
        (ollama, "ollama", json!({"prompt": "p", "system": "s"}), "/api/generate"),
        (ollama, "ollama", json!({"prompt": "p", "job_type": "chat", "keep_alive": "5m"}), "/api/chat"),
        (ollama, "chat_completion", json!({"messages": [{"role": "user", "content": "p"}]}), "/v1/chat/completions"),
        (ollama, "embeddings", json!({"prompt": "p"}), "/v1/embeddings"),
        (vllm, "text_generation", json!({"prompt": "p"}), "/v1/completions"),
        (vllm, "text_generation", json!({"prompt": "p", "system_prompt": "s"}), "/v1/chat/completions"),
        (llama, "text_generation", json!({"prompt": "p"}), "/v1/completions"),
        (openai, "text_generation", json!({"prompt": "p"}), "/v1/chat/completions"),
        (openai, "text_generation", json!({"prompt": "p", "suffix": "s"}), "/v1/completions"),
        (openai, "openai", json!({"prompt": "p"}), "/v1/responses"),
        (openai, "openai_image", json!({"prompt": "p"}), "/v1/images/generations"),
    ];
    for (flavour, service, payload, expected) in rows {
        let (route, _, _) = sent(flavour, service, payload.clone()).await;
        assert_eq!(route, expected, "{flavour:?} {service} {payload}");
    }
}

#[tokio::test]
async fn names_are_put_into_the_servers_words_and_what_it_has_none_for_is_told() {
    let payload = json!({"prompt": "p", "system": "s", "num_predict": 7, "num_ctx": 512, "top_k": 3, "repeat_penalty": 1.1,
                         "temperature": 0.5, "keep_alive": "5m", "format": "json"});
    let (_, request, data) = sent(Flavour::Ollama, "ollama", payload.clone()).await;
    assert_eq!(
        request["options"],
        json!({"num_predict": 7, "num_ctx": 512, "top_k": 3, "repeat_penalty": 1.1, "temperature": 0.5})
    );
    assert_eq!(
        (&request["system"], &request["keep_alive"], &request["format"]),
        (&json!("s"), &json!("5m"), &json!("json"))
    );
    assert!(data.get("ignored").is_none());
    let (_, request, data) = sent(Flavour::Vllm, "ollama", payload.clone()).await;
    assert_eq!(request["messages"][0], json!({"role": "system", "content": "s"}));
    assert_eq!(
        (&request["max_tokens"], &request["repetition_penalty"], &request["top_k"]),
        (&json!(7), &json!(1.1), &json!(3))
    );
    assert_eq!(request["response_format"], json!({"type": "json_object"}));
    assert_eq!(data["ignored"], json!(["keep_alive", "num_ctx"]));
    let (_, request, data) = sent(Flavour::OpenAi, "openai_text", payload).await;
    assert!(request.get("top_k").is_none() && request.get("repeat_penalty").is_none());
    assert_eq!(data["ignored"], json!(["keep_alive", "top_k", "repeat_penalty", "num_ctx"]));
}

#[tokio::test]
async fn what_belongs_to_the_queue_is_not_sent() {
    let payload = json!({"dynamic_json": {"input": "p", "model": "m", "reasoning": {"effort": "low"}, "api_key": "sk-x"},
                         "bucket": "b", "prefix": "x", "ctx": {"storage": {"accountKey": "secret"}}});
    let (_, request, _) = sent(Flavour::OpenAi, "openai", payload).await;
    assert_eq!(request, json!({"input": "p", "model": "m", "reasoning": {"effort": "low"}, "stream": true}));
    let payload =
        json!({"prompt": "p", "system_prompt": "s", "bucket": "b", "ctx": {}, "user_id": "u", "temperature": 1});
    let (_, request, _) = sent(Flavour::OpenAi, "openai_responses", payload).await;
    assert_eq!(request, json!({"input": "p", "instructions": "s", "model": "m", "temperature": 1, "stream": true}));
}

#[tokio::test]
async fn a_jobs_own_key_is_used_and_shown_nowhere() {
    let server = stand_in_with(Options { api_key: Some("sk-the-jobs-own".into()), ..Options::default() }).await;
    let settings = Settings { api_key: Some("sk-of-the-worker".into()), ..Settings::at(&server.url()).unwrap() };
    let openai = OpenAi::new(settings).unwrap();
    let payload = json!({ "prompt": "p", "model": "stand-in-text", "api_key": "sk-the-jobs-own" });
    let (ended, bench) = run_on(&openai, "openai_text", payload).await;
    let outcome = ended.unwrap();
    assert!(!outcome.data.to_string().contains("sk-the"), "{}", outcome.data);
    assert!(!server.executions()[0].request.to_string().contains("sk-the"));
    assert!(!format!("{:?}", bench.progress.reports()).contains("sk-the"));
    // A wrong one is the job's fault, a wrong one of the worker's is not.
    let own = failure(
        run_on(&openai, "openai_text", json!({ "prompt": "p", "model": "stand-in-text", "api_key": "sk-bad" })).await.0,
    );
    let workers = failure(run_on(&openai, "openai_text", json!({ "prompt": "p", "model": "stand-in-text" })).await.0);
    assert_eq!((own.reason.as_str(), own.hosts_fault), ("invalid_api_key", false));
    assert_eq!((workers.reason.as_str(), workers.hosts_fault), ("invalid_api_key", true));
    assert!(!format!("{own} {workers}").contains("sk-"), "{own} {workers}");
}

#[tokio::test]
async fn what_a_payload_lacks_is_named() {
    let server = stand_in_with(Options { models: vec!["a".into(), "b".into()], ..Options::default() }).await;
    let openai = connector(&server.url());
    openai_probe(&openai).await;
    for (service, payload, reason, says) in [
        ("openai_text", json!({}), "missing_required_field", "`messages` or `prompt`"),
        ("openai_text", json!([]), "invalid_payload", "not a JSON object"),
        ("openai_text", json!({"prompt": 3}), "invalid_format", "`prompt` must be a text"),
        ("openai_text", json!({"messages": []}), "invalid_format", "`messages` must be"),
        ("openai_text", json!({"prompt": "p", "n": 2}), "unsupported_operation", "`n` must be 1"),
        ("openai_text", json!({"prompt": "p"}), "missing_required_field", "OPENAI_MODELS"),
        ("openai", json!({"model": "a"}), "missing_required_field", "`input` or `prompt`"),
        ("embeddings", json!({"model": "a"}), "missing_required_field", "`input`"),
        ("openai_image", json!({"model": "a"}), "missing_required_field", "`prompt`"),
        ("openai_img2img", json!({"model": "a", "prompt": "p"}), "missing_required_field", "`image`"),
    ] {
        let failed = failure(run_on(&openai, service, payload.clone()).await.0);
        assert_eq!(failed.reason.as_str(), reason, "{service} {payload}: {failed}");
        assert!(failed.message.contains(says), "{service} {payload}: {failed}");
    }
    assert!(server.executions().is_empty(), "nothing of it was sent");
}

async fn openai_probe(openai: &OpenAi) {
    use connectors::contract::Connector;
    assert!(openai.probe().await.is_healthy());
}

#[tokio::test]
async fn pictures_of_earlier_jobs_are_put_into_messages_and_texts_that_look_like_them_stay() {
    use connectors::conformance::{Bench, job};
    use connectors::contract::{Connector, Input, InputSource};
    use std::sync::Arc;
    struct Earlier(tempfile::TempDir);
    struct Picture(std::path::PathBuf);
    impl Input for Picture {
        fn path(&self) -> &std::path::Path {
            &self.0
        }
        fn bytes(&self) -> u64 {
            8
        }
        fn sha256(&self) -> &str {
            ""
        }
        fn media_type(&self) -> &str {
            "image/png"
        }
    }
    #[async_trait::async_trait]
    impl InputSource for Earlier {
        async fn fetch(&self, source: &str) -> Result<Box<dyn Input>, connectors::failure::Failure> {
            assert_eq!(source, "output:job-0/fox.png");
            let path = self.0.path().join("fox.png");
            std::fs::write(&path, b"\x89PNG\r\n\x1a\n").unwrap();
            Ok(Box::new(Picture(path)))
        }
    }
    let server = stand_in_with(Options { models: vec!["m".into()], ..Options::default() }).await;
    let mut bench = Bench::new();
    bench.ctx.inputs = Arc::new(Earlier(tempfile::tempdir().unwrap()));
    let content = json!([{"type": "text", "text": "output:job-0/fox.png"},
                         {"type": "image_url", "image_url": {"url": "output:job-0/fox.png"}}]);
    let payload = json!({"messages": [{"role": "user", "content": content}], "stop": ["output:x"], "model": "m"});
    connector(&server.url()).run(&job("job-1", "chat_completion", payload), &bench.ctx).await.unwrap();
    let sent = &server.executions()[0].request;
    assert_eq!(sent["messages"][0]["content"][0]["text"], "output:job-0/fox.png");
    assert_eq!(sent["messages"][0]["content"][1]["image_url"]["url"], "data:image/png;base64,iVBORw0KGgo=");
    assert_eq!(sent["stop"], json!(["output:x"]));
}
