//! What a REST engine's run made: where it may lie, and what it means that nothing is there.
//! In: answers of a real HTTP server. Out: stored files, or the failure of a run.

use crate::rest::{Lab, secrets};
use axum::Router;
use axum::http::HeaderMap;
use axum::routing::get;
use connectors::contract::RunError;
use connectors::failure::{Failure, Reason};
use connectors::rest::Definition;
use serde_json::{Value, json};

const ASYNC: &str = crate::rest::ASYNC;

fn failure<T: std::fmt::Debug>(ended: Result<T, RunError>) -> Failure {
    match ended {
        Err(RunError::Failed(failure)) => failure,
        other => panic!("{other:?}"),
    }
}

/// A server for files that says which of the engine's headers it was sent.
async fn files() -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let said = async |headers: HeaderMap| format!("key: {}", headers.contains_key("x-key"));
    tokio::spawn(async move { axum::serve(listener, Router::new().route("/a/b.txt", get(said))).await });
    url
}

#[tokio::test]
async fn files_on_another_server_are_fetched_where_the_definition_names_it_and_without_the_engines_credentials() {
    let other = files().await;
    let place = json!({ "files": format!("{other}/a/b.txt") });
    let refused = failure(Lab::new(ASYNC).await.run(place.clone()).await.0);
    assert_eq!((refused.reason, refused.hosts_fault), (Reason::ConfigError, false), "{refused:?}");
    assert!(refused.message.contains(&format!("from = [\"{other}\"]")), "the remedy, to be copied: {refused:?}");
    let allowed = ASYNC.replace("kind = \"images\"", &format!("from = [\"http://127.0.0.1:1\", \"{other}\"]"));
    let (ended, bench) = Lab::new(&allowed).await.run(place).await;
    ended.unwrap();
    assert_eq!(bench.outputs.files()[0].bytes, "key: false");
    assert_eq!(bench.outputs.files()[0].stored.name, "b.txt");
}

#[tokio::test]
async fn a_run_that_made_nothing_fails_unless_its_definition_allows_that() {
    let optional = ASYNC.replace("kind = \"images\"", "optional = true");
    for files in [json!([]), json!(null), json!(""), json!([""])] {
        let refused = failure(Lab::new(ASYNC).await.run(json!({ "files": files })).await.0);
        assert_eq!((refused.reason, refused.hosts_fault), (Reason::MissingExpectedData, false), "{files}: {refused:?}");
        assert!(refused.message.contains("/result/files") && refused.message.contains("optional"), "{refused:?}");
        let (ended, bench) = Lab::new(&optional).await.run(json!({ "files": files })).await;
        assert_eq!((ended.unwrap().outputs.len(), bench.outputs.begun()), (0, 0), "{files}");
    }
    let (ended, _) = Lab::new(&optional).await.run(json!({})).await;
    assert_eq!(ended.unwrap().outputs.len(), 1, "what is there is taken");
    let body = "services = ['draw']\nurl = 'URL'\n[submit]\npath = '/sync'\nbody = { bytes = 0 }\n\
                [[outputs]]\nas = 'body'\n";
    let refused = failure(Lab::new(body).await.run(json!({})).await.0);
    assert_eq!(refused.reason, Reason::MissingExpectedData, "{refused:?}");
    let (ended, _) = Lab::new(&format!("{body}optional = true\n")).await.run(json!({})).await;
    assert!(ended.unwrap().outputs.is_empty());
}

#[test]
fn a_definition_whose_jobs_end_with_nothing_is_warned_of() {
    let warnings = |text: &str| -> Vec<String> {
        let read = Definition::read(text, &secrets()).unwrap_or_else(|faults| panic!("{faults:?}"));
        read.warnings.iter().map(ToString::to_string).collect()
    };
    let bare = "services = ['draw']\nurl = 'http://127.0.0.1:1'\n[submit]\npath = '/sync'\n";
    for text in [bare.to_owned(), format!("outputs = []\n{bare}")] {
        let found = warnings(&text);
        assert!(found.len() == 1 && found[0].contains("nothing in their result"), "{found:?}");
    }
    for more in ["[result]\ndata = '/x'\n", "[[outputs]]\nas = 'body'\n"] {
        assert_eq!(warnings(&format!("{bare}{more}")), Vec::<String>::new(), "{more}");
    }
}

#[tokio::test]
async fn a_run_without_outputs_in_its_definition_ends_well_with_its_data_or_none() {
    let bare = "services = ['draw']\nurl = 'URL'\n[submit]\npath = '/sync'\nbody = '${payload}'\n";
    let (ended, _) = Lab::new(bare).await.run(json!({})).await;
    let outcome = ended.unwrap();
    assert_eq!((outcome.outputs.len(), outcome.data), (0, json!({})));
    let (ended, _) = Lab::new(&format!("{bare}[result]\ndata = '/facts'\n")).await.run(json!({ "for": 7 })).await;
    assert_eq!(ended.unwrap().data, json!({ "for": Value::from(7) }));
}
