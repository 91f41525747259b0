//! Websocket clients: who is registered under which id, and the one queue through which all messages go.
//! In: messages for everybody or for one client id. Out: frames, one socket after the other as on the real server.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::extract::ws::{Message, WebSocket};
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::info;
use super::messages;
use super::server::Server;

type Sink = Arc<tokio::sync::Mutex<SplitSink<WebSocket, Message>>>;

enum Audience {
    Everybody,
    Client(String),
}

struct Socket {
    sink: Sink,
    wants_metadata: bool,
}

#[derive(Default)]
struct Registry {
    sockets: HashMap<String, Socket>,
    /// Whose prompt runs, and at which node, for those who connect late.
    current: Option<(String, Option<String>)>,
    open: usize,
}

pub(crate) struct Hub {
    registry: Mutex<Registry>,
    queue: mpsc::UnboundedSender<(Audience, Message)>,
    outlet: Mutex<Option<mpsc::UnboundedReceiver<(Audience, Message)>>>,
}

impl Hub {
    pub(crate) fn new() -> Hub {
        let (queue, outlet) = mpsc::unbounded_channel();
        Hub { registry: Mutex::default(), queue, outlet: Mutex::new(Some(outlet)) }
    }

    fn registry(&self) -> MutexGuard<'_, Registry> {
        self.registry.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn everybody(&self, message: Message) {
        let _ = self.queue.send((Audience::Everybody, message));
    }

    pub(crate) fn client(&self, id: &str, message: Message) {
        let _ = self.queue.send((Audience::Client(id.to_owned()), message));
    }

    pub(crate) fn running_for(&self, client: Option<&str>) {
        self.registry().current = client.map(|client| (client.to_owned(), None));
    }

    pub(crate) fn running_node(&self, node: Option<&str>) {
        if let Some((_, current)) = &mut self.registry().current {
            *current = node.map(str::to_owned);
        }
    }

    pub(crate) fn wants_metadata(&self, client: &str) -> bool {
        self.registry().sockets.get(client).is_some_and(|socket| socket.wants_metadata)
    }

    pub(crate) fn open_sockets(&self) -> usize {
        self.registry().open
    }

    pub(crate) fn forget_all(&self) {
        let mut registry = self.registry();
        registry.sockets.clear();
        registry.current = None;
    }

    fn receivers(&self, audience: &Audience) -> Vec<Sink> {
        let registry = self.registry();
        match audience {
            Audience::Everybody => registry.sockets.values().map(|socket| socket.sink.clone()).collect(),
            Audience::Client(id) => registry.sockets.get(id).map(|socket| socket.sink.clone()).into_iter().collect(),
        }
    }

    /// The one sender. It waits for each socket in turn, so a client that does not read holds up all of them.
    pub(crate) async fn deliver(&self) {
        let outlet = self.outlet.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(mut outlet) = outlet else { return };
        while let Some((audience, message)) = outlet.recv().await {
            for sink in self.receivers(&audience) {
                // A socket that has gone is no concern of the others.
                let _ = sink.lock().await.send(message.clone()).await;
            }
        }
    }

    /// A second socket with an id takes over from the first, which stays open and silent.
    fn register(&self, sid: &str, sink: &Sink) -> Option<Option<String>> {
        let mut registry = self.registry();
        registry.open += 1;
        registry.sockets.insert(sid.to_owned(), Socket { sink: sink.clone(), wants_metadata: false });
        registry.current.as_ref().filter(|(client, _)| client == sid).map(|(_, node)| node.clone())
    }

    /// Whoever closes, the id is unregistered: the successor of the same id goes deaf, as on the real server.
    fn unregister(&self, sid: &str) {
        let mut registry = self.registry();
        registry.open -= 1;
        registry.sockets.remove(sid);
    }

    fn negotiate(&self, sid: &str, flags: &Value) {
        if let Some(socket) = self.registry().sockets.get_mut(sid) {
            socket.wants_metadata = flags["supports_preview_metadata"] == json!(true);
        }
    }
}

/// One socket from its first message to its end. Pings are answered by the websocket library.
pub(crate) async fn attend(server: Arc<Server>, socket: WebSocket, client_id: Option<String>) {
    let sid = client_id.filter(|id| !id.is_empty()).unwrap_or_else(|| uuid::Uuid::new_v4().simple().to_string());
    let (sink, stream) = socket.split();
    let sink = Arc::new(tokio::sync::Mutex::new(sink));
    // Held over the greeting, so that no message can come before it.
    let mut greeting = sink.lock().await;
    let running = server.hub.register(&sid, &sink);
    let remaining = server.ledger().remaining();
    let mut greeted = greeting.send(messages::status(remaining, Some(&sid))).await.is_ok();
    if let Some(Some(node)) = running {
        greeted &= greeting.send(messages::text("executing", json!({"node": node}))).await.is_ok();
    }
    drop(greeting);
    if greeted {
        listen(&server, &sid, &sink, stream).await;
    }
    server.hub.unregister(&sid);
}

async fn listen(server: &Server, sid: &str, sink: &Sink, mut stream: SplitStream<WebSocket>) {
    let mut first = true;
    while let Some(Ok(message)) = stream.next().await {
        let Message::Text(text) = message else {
            continue;
        };
        let message: Value = serde_json::from_str(&text).unwrap_or_default();
        let deaf = server.quirks().ignores_feature_flags;
        if std::mem::take(&mut first) && message["type"] == "feature_flags" && !deaf {
            server.hub.negotiate(sid, &message["data"]);
            let flags = messages::text("feature_flags", info::features(&server.options));
            if sink.lock().await.send(flags).await.is_err() {
                return;
            }
        }
    }
}
