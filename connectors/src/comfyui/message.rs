//! What the server says on the websocket about a run.
//! In: the text of one frame. Out: a message about our prompt, or nothing.

use serde_json::Value;

/// A message about our prompt, cut to what progress and waiting need.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Message {
    Started,
    Cached(Vec<String>),
    /// The state of every node begun so far.
    Nodes(Vec<NodeState>),
    /// This node begins.
    Executing(String),
    /// A step inside a node.
    Step {
        node: String,
        value: f64,
        max: f64,
    },
    /// This node, which shows something, is done.
    Executed(String),
    /// The run is over, or about to be: history says how.
    Over,
    /// A node failed: history says how.
    Error,
    /// A node got nothing to work on, because one before it blocks its branch; the run goes on. Told here alone.
    Blocked(Value),
}

#[derive(Debug, Clone, PartialEq)]
pub(super) struct NodeState {
    pub id: String,
    /// The node of the graph that it is shown as, if it was made by one during the run.
    pub shown_as: Option<String>,
    pub value: f64,
    pub max: f64,
    pub finished: bool,
}

impl Message {
    /// `None` for other people's messages, for those that name no prompt, and for those that say nothing to us.
    pub fn read(text: &str, prompt_id: &str) -> Option<Self> {
        let message: Value = serde_json::from_str(text).ok()?;
        let data = message.get("data")?;
        if data.get("prompt_id")?.as_str()? != prompt_id {
            return None;
        }
        let node = || data.get("node")?.as_str().map(str::to_owned);
        Some(match message.get("type")?.as_str()? {
            "execution_start" => Self::Started,
            "execution_cached" => {
                let nodes = data.get("nodes")?.as_array()?;
                Self::Cached(nodes.iter().filter_map(Value::as_str).map(str::to_owned).collect())
            }
            "progress_state" => {
                let nodes = data.get("nodes")?.as_object()?;
                Self::Nodes(nodes.iter().map(|(id, state)| NodeState::read(id, state)).collect())
            }
            "progress" => Self::Step { node: node()?, value: number(data, "value"), max: number(data, "max") },
            "executing" => {
                let shown = data.get("display_node").and_then(Value::as_str).map(str::to_owned);
                node().map_or(Self::Over, |node| Self::Executing(shown.unwrap_or(node)))
            }
            "executed" => Self::Executed(node()?),
            "execution_success" | "execution_interrupted" => Self::Over,
            "execution_error" => match data.get("exception_type").and_then(Value::as_str) {
                Some("ExecutionBlocked") => Self::Blocked(data.clone()),
                _ => Self::Error,
            },
            _ => return None,
        })
    }
}

impl Message {
    /// The server's answer to our first message: pictures come with a description from now on.
    pub fn describes_previews(text: &str) -> bool {
        let Ok(message) = serde_json::from_str::<Value>(text) else { return false };
        let answer = message.get("type").and_then(Value::as_str) == Some("feature_flags");
        answer && message.pointer("/data/supports_preview_metadata").and_then(Value::as_bool) == Some(true)
    }
}

impl NodeState {
    fn read(id: &str, state: &Value) -> Self {
        let finished = state.get("state").and_then(Value::as_str) == Some("finished");
        let shown = state.get("display_node_id").and_then(Value::as_str).filter(|shown| *shown != id);
        Self {
            id: id.to_owned(),
            shown_as: shown.map(str::to_owned),
            value: number(state, "value"),
            max: number(state, "max"),
            finished,
        }
    }
}

fn number(data: &Value, name: &str) -> f64 {
    data.get(name).and_then(Value::as_f64).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_messages_that_name_our_prompt_are_taken() {
        let read = |text: &str| Message::read(text, "ours");
        assert_eq!(read(r#"{"type":"executing","data":{"node":null,"prompt_id":"ours"}}"#), Some(Message::Over));
        for not_ours in [
            r#"{"type":"executing","data":{"node":null,"prompt_id":"another"}}"#,
            // What a client is told that connects in mid-run: it names no prompt.
            r#"{"type":"executing","data":{"node":"2"}}"#,
            r#"{"type":"status","data":{"status":{"exec_info":{"queue_remaining":1}}}}"#,
            r#"{"type":"crystools.monitor","data":{"prompt_id":"ours"}}"#,
            r#"{"type":"progress","data":{"prompt_id":"ours","value":1}}"#,
            r#"{"data":[]}"#,
            "not json",
            "",
        ] {
            assert_eq!(read(not_ours), None, "{not_ours}");
        }
    }
}
