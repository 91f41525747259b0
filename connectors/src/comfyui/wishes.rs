//! What a job wants beside its graph: previews, extra data, and whether a part of the result will do.
//! In: the job's payload and context. Out: checked wishes, and the extra data that goes to the server.

use super::features::Features;
use crate::contract::Job;
use crate::failure::{Failure, Reason};
use serde_json::{Map, Value, json};

const METHODS: [&str; 4] = ["none", "auto", "latent2rgb", "taesd"];
/// Keys to paid nodes, which older servers show to everybody who asks for their queue.
const KEYS: [&str; 2] = ["api_key_comfy_org", "auth_token_comfy_org"];

/// What a job wants beside its graph.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Wishes {
    preview_method: Option<&'static str>,
    extra_data: Map<String, Value>,
    /// What finished is taken, though the rest of the graph failed or would not run.
    pub accepts_part: bool,
}

impl Wishes {
    /// Reads `preview_method`, `extra_data` and `partial` beside `payload.workflow`.
    pub fn read(job: &Job) -> Result<Self, Failure> {
        // A payload that is itself the graph has nodes under its names.
        let beside = |name: &str| job.payload.get("workflow").and_then(|_| job.payload.get(name));
        let wrong = |name: &str, what: &str| Failure::new(Reason::InvalidPayload, format!("`payload.{name}` {what}"));
        let preview_method = match beside("preview_method") {
            None | Some(Value::Null) if job.wants_previews() => Some("auto"),
            None | Some(Value::Null) => None,
            Some(method) => {
                let known = METHODS.into_iter().find(|known| method == known);
                Some(known.ok_or_else(|| wrong("preview_method", "must be one of none, auto, latent2rgb, taesd"))?)
            }
        };
        let accepts_part = match beside("partial").and_then(Value::as_str) {
            None if beside("partial").is_none_or(Value::is_null) => false,
            Some("refuse") => false,
            Some("accept") => true,
            _ => return Err(wrong("partial", "must be `accept` or `refuse`")),
        };
        let extra_data = match beside("extra_data") {
            None | Some(Value::Null) => Map::new(),
            Some(Value::Object(extra)) => extra.clone(),
            Some(_) => return Err(wrong("extra_data", "must be an object")),
        };
        Ok(Self { preview_method, extra_data, accepts_part })
    }

    /// The extra data of a submission to a server that can do this.
    pub fn extra_data(&self, job: &Job, features: Option<&Features>) -> Result<Value, Failure> {
        let shows_keys = features.is_none_or(|features| !features.hides_keys);
        if shows_keys && KEYS.iter().any(|key| self.extra_data.contains_key(*key)) {
            let what = "the job brings an API key, and this ComfyUI would show it to everybody who asks for its queue; \
                        0.3.68 and newer keep it to themselves";
            // Not this engine's fault, and not the job's: another worker may have a newer one.
            return Err(Failure::of_host(Reason::ComponentError, what));
        }
        let mut extra = self.extra_data.clone();
        let method = self.preview_method.filter(|_| features.is_none_or(|features| features.previews_by_prompt));
        if let Some(method) = method {
            extra.insert("preview_method".to_owned(), json!(method));
        }
        extra.insert("gpu_worker".to_owned(), json!({ "job_id": job.id, "attempt": job.attempt }));
        Ok(Value::Object(extra))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job(payload: Value, ctx: Value) -> Job {
        Job { id: "j".to_owned(), attempt: 2, service: String::new(), payload, ctx }
    }

    fn read(payload: Value) -> Result<Wishes, Failure> {
        Wishes::read(&job(payload, Value::Null))
    }

    #[test]
    fn wishes_stand_beside_the_workflow_and_are_checked() {
        assert_eq!(read(json!({ "workflow": {} })).unwrap(), Wishes::default());
        let wishes = read(json!({ "workflow": {}, "preview_method": "taesd", "partial": "accept" })).unwrap();
        assert_eq!((wishes.preview_method, wishes.accepts_part), (Some("taesd"), true));
        // In a bare graph these are nodes.
        assert_eq!(read(json!({ "partial": { "class_type": "X" } })).unwrap(), Wishes::default());
        for wrong in [
            json!({ "workflow": {}, "preview_method": "loud" }),
            json!({ "workflow": {}, "partial": true }),
            json!({ "workflow": {}, "partial": "all" }),
            json!({ "workflow": {}, "extra_data": [] }),
        ] {
            assert_eq!(read(wrong.clone()).unwrap_err().reason, Reason::InvalidPayload, "{wrong}");
        }
        let asked = job(json!({ "workflow": {} }), json!({ "previews": true }));
        assert_eq!(Wishes::read(&asked).unwrap().preview_method, Some("auto"));
        let refused = job(json!({ "workflow": {}, "preview_method": "none" }), json!({ "previews": true }));
        assert_eq!(Wishes::read(&refused).unwrap().preview_method, Some("none"));
    }

    #[test]
    fn an_api_key_goes_to_no_server_that_would_show_it() {
        let job = job(json!({ "workflow": {}, "extra_data": { "api_key_comfy_org": "secret" } }), Value::Null);
        let wishes = Wishes::read(&job).unwrap();
        let failure = wishes.extra_data(&job, None).unwrap_err();
        assert!(failure.hosts_fault && !failure.message.contains("secret"), "{failure}");
    }
}
