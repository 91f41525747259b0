//! What becomes of outputs on their way into the store: too large ones are refused before they are copied, and an engine of
//! one's own need not wait for large ones. In: engines, a store that refuses or waits. Out: failures, and who worked meanwhile.

use crate::process::{Lab, SOON, python, within};
use async_trait::async_trait;
use bytes::Bytes;
use connectors::conformance::{Bench, MemoryStore, job};
use connectors::contract::{Connector, OutputStore, OutputWriter, RunError, StoredOutput};
use connectors::failure::{Failure, Reason};
use serde_json::json;
use std::sync::Arc;
use tokio::sync::Semaphore;

fn refused<T: std::fmt::Debug>(ended: Result<T, RunError>) -> Failure {
    match ended {
        Err(RunError::Failed(failure)) => failure,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_file_that_is_larger_than_is_stored_is_refused_and_nothing_of_it_is_copied() {
    let lab = Lab::new(&python("with open(job.output('film.bin'), 'wb') as f:\n  f.truncate(8 << 20)"));
    let (engine, bench) = (lab.engine(), Bench::new());
    bench.outputs.take_at_most(1 << 20);
    let failure = refused(within("the run", engine.run(&job("j", "hello", json!({})), &bench.ctx)).await);
    assert_eq!((failure.reason, failure.hosts_fault), (Reason::UnsupportedOperation, false), "{failure}");
    assert!(failure.message.contains("8388608 bytes; 1048576"), "{failure}");
    assert_eq!(bench.outputs.taken(), 0);
}

#[tokio::test]
async fn a_download_that_is_announced_to_be_too_large_is_refused_by_its_announcement() {
    let files = endless(8 << 20).await;
    let definition = crate::rest::ASYNC.replace("kind = \"images\"", &format!("from = [\"{files}\"]"));
    let lab = crate::rest::Lab::new(&definition).await;
    let bench = Bench::new();
    bench.outputs.take_at_most(1 << 20);
    let wanted = job("j", "draw", json!({ "files": format!("{files}/film.mp4") }));
    let failure = refused(within("the run", lab.rest.run(&wanted, &bench.ctx)).await);
    assert_eq!(failure.reason, Reason::UnsupportedOperation, "{failure}");
    assert!(failure.message.contains("8388608 bytes; 1048576"), "{failure}");
    assert_eq!(bench.outputs.taken(), 0);
}

/// A server that announces a file of this length and sends nothing of it.
async fn endless(bytes: usize) -> String {
    use axum::body::Body;
    use axum::response::Response;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let answer = move || async move {
        let nothing = Body::from_stream(futures_util::stream::pending::<Result<Bytes, std::io::Error>>());
        Response::builder().header("content-length", bytes).body(nothing).unwrap()
    };
    let routes = axum::Router::new().route("/film.mp4", axum::routing::get(answer));
    tokio::spawn(async move { axum::serve(listener, routes).await });
    url
}

/// Begins an output only when it is let.
struct Slow {
    to: Arc<MemoryStore>,
    asked: Semaphore,
    let_go: Semaphore,
}

#[async_trait]
impl OutputStore for Slow {
    async fn create(&self, name: &str, kind: &str, claim: Option<&str>) -> Result<Box<dyn OutputWriter>, Failure> {
        self.asked.add_permits(1);
        self.let_go.acquire().await.unwrap().forget();
        self.to.create(name, kind, claim).await
    }
}

#[tokio::test]
async fn while_an_output_is_stored_its_engine_does_the_next_job() {
    let lab = Lab::new(&python("job.output('a.txt').write_text('x')"));
    let engine = lab.engine();
    engine.describe(SOON).await.unwrap();
    let (mut first, second) = (Bench::new(), Bench::new());
    let slow = Arc::new(Slow { to: first.outputs.clone(), asked: Semaphore::new(0), let_go: Semaphore::new(0) });
    first.ctx.outputs = slow.clone();
    let (one, two) = (job("one", "hello", json!({})), job("two", "hello", json!({})));
    let meanwhile = async {
        slow.asked.acquire().await.unwrap().forget();
        // The engine runs one job at a time, and this one ends before the first is stored.
        let ended: Vec<StoredOutput> = engine.run(&two, &second.ctx).await.unwrap().outputs;
        assert_eq!((ended.len(), first.outputs.files().len()), (1, 0));
        slow.let_go.add_permits(1);
    };
    let both = futures_util::future::join(engine.run(&one, &first.ctx), meanwhile);
    let (ended, ()) = within("both jobs", both).await;
    assert_eq!(ended.unwrap().outputs.len(), 1);
}
