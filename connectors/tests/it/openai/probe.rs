//! Health, flavour, version and models, and what is said when something is wrong with them.
//! In: each flavour of the stand-in. Out: probes.

use super::{connector, stand_in, stand_in_with};
use connectors::contract::{Connector, Health};
use connectors::openai::{OpenAi, Settings};
use stand_ins::openai::{Flavour, Options};

#[tokio::test]
async fn a_server_is_told_by_what_it_answers() {
    for (flavour, version, last) in [
        (Flavour::OpenAi, "openai", "openai_img2img"),
        (Flavour::Vllm, "vllm 0.11.0", "openai_responses"),
        (Flavour::LlamaCpp, "llama.cpp b6500-stand-in", "embeddings"),
        (Flavour::Ollama, "ollama 0.12.0", "embeddings"),
    ] {
        let server = stand_in_with(Options { flavour, models: vec!["a:latest".into()], ..Options::default() }).await;
        let openai = connector(&server.url());
        let probe = openai.probe().await;
        assert_eq!(openai.services().last().map(String::as_str), Some(last), "what it has no route for is not offered");
        assert_eq!((probe.health, probe.version.as_deref()), (Health::Healthy, Some(version)));
        let expected: &[&str] = if flavour == Flavour::Ollama { &["a:latest", "a"] } else { &["a:latest"] };
        assert_eq!(probe.models["models"], expected, "a name without a tag means the latest one there");
    }
}

#[tokio::test]
async fn models_are_listed_anew_by_each_probe() {
    let server = stand_in().await;
    let openai = connector(&format!("{}/v1/", server.url()));
    assert_eq!(openai.probe().await.models["models"].len(), 3);
    server.remove_model("stand-in-image");
    assert_eq!(openai.probe().await.models["models"], ["stand-in-text", "stand-in-embedding"]);
}

#[tokio::test]
async fn what_is_wrong_is_said_with_its_remedy_and_without_the_key() {
    let server = stand_in_with(Options { api_key: Some("sk-right-0123456789".into()), ..Options::default() }).await;
    let with_key = |key: Option<&str>| {
        let settings = Settings { api_key: key.map(Into::into), ..Settings::at(&server.url()).unwrap() };
        OpenAi::new(settings).unwrap()
    };
    let why = async |openai: &OpenAi| match openai.probe().await.health {
        Health::Healthy => "healthy".to_owned(),
        Health::Unhealthy(why) => why,
    };
    assert_eq!(why(&with_key(Some("sk-right-0123456789"))).await, "healthy");
    let wrong = why(&with_key(Some("sk-wrong-0123456789"))).await;
    assert!(wrong.ends_with("refuses us; check OPENAI_API_KEY"), "{wrong}");
    assert!(why(&with_key(None)).await.ends_with("set OPENAI_API_KEY"));
    assert!(
        !format!("{:?}", Settings { api_key: Some("sk-x-0123".into()), ..Settings::at("http://h").unwrap() })
            .contains("0123")
    );
    let empty = stand_in_with(Options { models: Vec::new(), flavour: Flavour::Ollama, ..Options::default() }).await;
    assert!(why(&connector(&empty.url())).await.contains("ollama pull"));
    empty.kill().await;
    assert!(why(&connector(&empty.url())).await.contains("nothing answers"));
}

#[tokio::test]
async fn an_address_may_end_with_v1_or_not_and_has_no_credentials() {
    for (given, api) in [
        ("http://h:8000", "http://h:8000/v1"),
        ("http://h:8000/v1", "http://h:8000/v1"),
        ("http://h:8000/v1?theme=dark#top", "http://h:8000/v1"),
        ("https://api.example/openai/v1/", "https://api.example/openai/v1"),
    ] {
        assert_eq!(Settings::at(given).unwrap().api.as_str(), api);
    }
    for wrong in ["nonsense", "ftp://h", "http://u:secret@h"] {
        let failure = Settings::at(wrong).unwrap_err();
        assert!(!failure.message.contains("secret"), "{failure}");
    }
}
