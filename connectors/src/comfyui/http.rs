//! HTTP to one ComfyUI server.
//! In: the settings. Out: the way to the server, and what its troubles are called.

use super::settings::Settings;
use crate::failure::Failure;
use crate::http::{Access, Engine, Policy};
pub(super) use crate::http::{Answer, Body, Http, Trouble, content_type, head};

/// Queue answers carry whole graphs, with pictures inside if people put them there; beyond this it is nonsense.
const ANSWER_MAX: usize = 256 << 20;

pub(super) const ENGINE: &Engine = &Engine {
    name: "ComfyUI",
    forbidden: "check the credentials, and that nothing between rewrites the Host header",
    too_large: "the workflow is larger than the server accepts (--max-upload-size)",
};

pub(super) fn open(settings: &Settings) -> Result<Http, Failure> {
    let access = match &settings.api_key {
        Some(key) => Access::Bearer(key.clone()),
        None => Access::basic(settings.username.as_deref(), settings.password.as_ref()),
    };
    let policy = Policy { connect: settings.timing.connect, keepalive: None, reuse: true, answer_max: ANSWER_MAX };
    Http::new(&settings.base_url, access, &policy)
}
