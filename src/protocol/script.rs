//! How a script is called: shared arguments in front, flat lists of texts as answers.
//! In: Lua text at build time, arguments at run time. Out: [`Reply`], which the typed functions read.

use redis::aio::ConnectionLike;
use redis::{ErrorKind, RedisError, RedisResult, Script, ScriptInvocation, Value};
use std::sync::LazyLock;

/// A script with the shared prelude in front; loaded into Redis at first use and again after a `SCRIPT FLUSH`.
pub(super) type Lua = LazyLock<Script>;

/// How often a script may vanish between its loading and its call.
const FORGOTTEN: usize = 3;

macro_rules! lua {
    ($name:ident, $file:literal) => {
        static $name: $crate::protocol::script::Lua = std::sync::LazyLock::new(|| {
            redis::Script::new(concat!(include_str!("lua/prelude.lua"), include_str!(concat!("lua/", $file))))
        });
    };
}
pub(super) use lua;

/// Where the queue lies in Redis, and the rules that every script of one deployment shares.
#[derive(Debug, Clone)]
pub struct Space {
    /// In front of every key and channel.
    pub prefix: String,
    /// Serve the reference's readers: its channels, result hashes and attestations.
    pub reference_events: bool,
    /// Guard on the length of an event stream, in entries.
    pub stream_max: u64,
    /// How long completed and cancelled jobs stay, in ms.
    pub retention_ms: u64,
    /// How long failed jobs stay, in ms.
    pub failed_retention_ms: u64,
}

impl Space {
    /// A key or channel of this deployment.
    pub fn key(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }

    pub(super) fn call(&self, script: &'static Lua) -> Call {
        let mut invocation = script.key(self.key("jobs:pending"));
        invocation
            .arg(&self.prefix)
            .arg(u8::from(self.reference_events))
            .arg(self.stream_max)
            .arg(self.retention_ms)
            .arg(self.failed_retention_ms);
        Call(invocation)
    }
}

/// A call being put together.
pub(super) struct Call(ScriptInvocation<'static>);

impl Call {
    pub(super) fn arg(mut self, value: impl redis::ToRedisArgs) -> Self {
        self.0.arg(value);
        self
    }

    pub(super) async fn send(self, con: &mut (impl ConnectionLike + Send)) -> RedisResult<Reply> {
        let mut answer = self.0.invoke_async(con).await;
        // The library loads a script that Redis does not know. A flush, restart or failover may come just behind that.
        for _ in 0..FORGOTTEN {
            match &answer {
                Err(error) if error.code() == Some("NOSCRIPT") => answer = self.0.invoke_async(con).await,
                _ => break,
            }
        }
        Reply::read(answer?)
    }
}

/// An answer: a flat list of byte strings, the first usually a word that says which kind it is.
pub(super) struct Reply(Vec<Vec<u8>>);

impl Reply {
    fn read(value: Value) -> RedisResult<Self> {
        let Value::Array(items) = value else { return Err(unexpected(&format!("{value:?}"))) };
        items
            .into_iter()
            .map(|item| match item {
                Value::BulkString(bytes) => Ok(bytes),
                Value::SimpleString(text) => Ok(text.into_bytes()),
                Value::Int(n) => Ok(n.to_string().into_bytes()),
                other => Err(unexpected(&format!("{other:?}"))),
            })
            .collect::<RedisResult<_>>()
            .map(Reply)
    }

    pub(super) fn text(&self, at: usize) -> String {
        self.0.get(at).map(|bytes| String::from_utf8_lossy(bytes).into_owned()).unwrap_or_default()
    }

    pub(super) fn int(&self, at: usize) -> i64 {
        self.text(at).parse().unwrap_or(0)
    }

    pub(super) fn count(&self, at: usize) -> u64 {
        self.text(at).parse().unwrap_or(0)
    }

    pub(super) fn texts(&self, from: usize) -> Vec<String> {
        (from..self.0.len()).map(|at| self.text(at)).collect()
    }

    pub(super) fn bytes(self, from: usize) -> Vec<Vec<u8>> {
        self.0.into_iter().skip(from).collect()
    }

    /// An answer that this program does not know: another version's script under the same name cannot be, so a bug.
    pub(super) fn unknown(&self) -> RedisError {
        unexpected(&self.texts(0).join(" "))
    }
}

fn unexpected(what: &str) -> RedisError {
    RedisError::from((ErrorKind::UnexpectedReturnType, "a script answered something unknown", what.to_owned()))
}
