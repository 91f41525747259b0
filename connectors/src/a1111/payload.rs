//! A job's payload as a request that the server takes as it is meant, or the fault in it.
//! In: the fields of the server's own API. Out: the route, the body, and what is seen to apart from it.
//!
//! The server ignores what it does not know and rounds what it cannot do, with 200; what it would answer with an
//! assortment of Python errors is refused here, too. Fields that decide where results go, or whose work is followed,
//! are the connector's.

use crate::contract::Stage;
use crate::failure::{Failure, Reason};
use crate::reference;
use serde_json::{Map, Value, json};

/// Pictures of one job; each is a file that is open until the last of them has arrived.
const PICTURES_MAX: u64 = 100;
/// Options that hold folders, file names or the API's own rules: a job has no business there.
const FOREIGN_OPTIONS: [&str; 8] = ["dir", "path", "folder", "pattern", "filename", "api_", "save", "extensions"];

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Txt2img,
    Img2img,
    Upscale,
    UpscaleBatch,
}

impl Kind {
    pub fn path(self) -> &'static str {
        match self {
            Self::Txt2img => "sdapi/v1/txt2img",
            Self::Img2img => "sdapi/v1/img2img",
            Self::Upscale => "sdapi/v1/extra-single-image",
            Self::UpscaleBatch => "sdapi/v1/extra-batch-images",
        }
    }

    /// The beginning of its files' names, and of its task ids.
    pub fn name(self) -> &'static str {
        match self {
            Self::Txt2img => "txt2img",
            Self::Img2img => "img2img",
            Self::Upscale | Self::UpscaleBatch => "upscale",
        }
    }

    /// A new id for a request of this kind. Any text is taken; the server's own look like this.
    pub fn new_id(self) -> String {
        format!("task({}-{})", self.name(), uuid::Uuid::new_v4())
    }

    /// Upscaling has no task ids, no progress, and no end but its own.
    pub fn is_generation(self) -> bool {
        matches!(self, Self::Txt2img | Self::Img2img)
    }
}

/// Whether an id is one of [`Kind::new_id`] for an upscaling.
pub(super) fn is_upscaling(id: &str) -> bool {
    id.starts_with("task(upscale-")
}

/// A job, read.
#[derive(Debug, Clone)]
pub(super) struct Plan {
    pub kind: Kind,
    pub body: Map<String, Value>,
    /// The checkpoint that it names.
    pub checkpoint: Option<String>,
    /// Options for this job alone, other than the checkpoint.
    pub overrides: Map<String, Value>,
    /// How many pictures it asks for, unless a script decides that.
    pub pictures: Option<usize>,
    /// Width and height that the pictures must have, unless something else decides that.
    pub size: Option<(u64, u64)>,
    /// Whether a grid that nobody asked for is expected before the pictures.
    pub expects_grid: bool,
    /// Whether a script does the work, as it likes.
    pub runs_script: bool,
    /// Whether that script goes through several checkpoints.
    pub varies_checkpoint: bool,
}

impl Plan {
    pub fn read(payload: &Value) -> Result<Self, Failure> {
        let Some(fields) = payload.as_object() else {
            return Err(wrong("the payload must be an object with the fields of the server's API, such as `prompt`"));
        };
        // Null is what clients write for "not given"; the server takes it at its word and fails.
        let given = fields.iter().filter(|(_, value)| !value.is_null());
        let mut body: Map<String, Value> = given.map(|(name, value)| (name.clone(), value.clone())).collect();
        let kind = kind(&mut body)?;
        // A text that sets any field and option behind our back.
        if body.contains_key("infotext") {
            return Err(wrong("`infotext` is not taken: give its values as fields"));
        }
        for ours in ["force_task_id", "send_images", "include_init_images", "override_settings_restore_afterwards"] {
            body.remove(ours);
        }
        if kind.is_generation() { generation(kind, body) } else { upscaling(kind, body) }
    }

    /// The models that it names, in the order in which they are loaded.
    pub fn models(&self) -> impl Iterator<Item = &str> {
        let later =
            ["refiner_checkpoint", "hr_checkpoint_name"].into_iter().filter_map(|key| self.body.get(key)?.as_str());
        let named = self.checkpoint.as_deref().into_iter().chain(later);
        named.filter(|name| !matches!(*name, "" | "None" | "Use same checkpoint"))
    }

    /// What a step of it counts as. Upscaling tells no steps; where a model may be loaded between two steps, or a script
    /// does what it likes, no usual time says anything of the next one.
    pub fn stage(&self) -> Stage {
        let changes_course = self.pictures.is_none() || self.models().count() > usize::from(self.checkpoint.is_some());
        match () {
            () if !self.kind.is_generation() => Stage::Unseen,
            () if changes_course => Stage::Working,
            () => {
                let number = |name: &str| whole(&self.body, name, 0).unwrap_or_default();
                let (width, height, count) = (number("width"), number("height"), number("batch_size").max(1));
                let model = self.checkpoint.as_deref().map_or_else(String::new, short);
                let hires = if self.body.get("enable_hr") == Some(&json!(true)) { " hires" } else { "" };
                Stage::Kind(format!("{} {model} {width}x{height}x{count}{hires}", self.kind.name()))
            }
        }
    }
}

fn kind(body: &mut Map<String, Value>) -> Result<Kind, Failure> {
    let mode = body.remove("mode");
    let has = |name: &str| body.contains_key(name);
    let upscale = if has("imageList") { Kind::UpscaleBatch } else { Kind::Upscale };
    match mode.as_ref().map(|mode| mode.as_str().unwrap_or_default()) {
        Some("txt2img") => Ok(Kind::Txt2img),
        Some("img2img") => Ok(Kind::Img2img),
        Some("inpaint") if !has("mask") => Err(missing("inpainting needs `mask`")),
        Some("inpaint") => Ok(Kind::Img2img),
        Some("extras" | "upscale") => Ok(upscale),
        Some(_) => Err(wrong("`mode` is one of txt2img, img2img, inpaint and upscale")),
        None if has("image") || has("imageList") => Ok(upscale),
        None if has("init_images") || has("mask") => Ok(Kind::Img2img),
        None => Ok(Kind::Txt2img),
    }
}

fn generation(kind: Kind, mut body: Map<String, Value>) -> Result<Plan, Failure> {
    for name in ["prompt", "negative_prompt"] {
        if body.get(name).is_some_and(|text| !text.is_string()) {
            return Err(Failure::new(Reason::InvalidFormat, format!("`{name}` must be text")));
        }
    }
    if !body.contains_key("prompt") {
        return Err(missing("`prompt` is required"));
    }
    let (count, runs) = (whole(&body, "batch_size", 1)?, whole(&body, "n_iter", 1)?);
    let pictures = count.saturating_mul(runs);
    if pictures > PICTURES_MAX {
        return Err(wrong(&format!("`batch_size` times `n_iter` is {pictures}; the most is {PICTURES_MAX}")));
    }
    whole(&body, "steps", 20)?;
    let (width, height) = (whole(&body, "width", 512)?, whole(&body, "height", 512)?);
    for (name, side) in [("width", width), ("height", height)] {
        if side % 8 != 0 {
            let drawn = side / 8 * 8;
            return Err(wrong(&format!("`{name}` must be a multiple of 8: the server would draw {drawn}, not {side}")));
        }
    }
    if kind == Kind::Img2img {
        let pictures = body.get("init_images").and_then(Value::as_array).filter(|list| !list.is_empty());
        let pictures =
            pictures.ok_or_else(|| missing("img2img needs `init_images`, a list of pictures in base64 or of URLs"))?;
        pictures.iter().try_for_each(|picture| embedded("init_images", picture))?;
        body.get("mask").map_or(Ok(()), |mask| embedded("mask", mask))?;
        body.insert("include_init_images".to_owned(), json!(false));
    }
    let (checkpoint, overrides) = settings(&mut body)?;
    let set = |name: &str| body.get(name).is_some_and(|value| !matches!(value, Value::Bool(false)) && !is_empty(value));
    let scripted = set("script_name") || set("alwayson_scripts");
    // Hires decides the size by its own rules, inpainting by the picture, scripts as they like.
    let sized = !scripted && !set("enable_hr") && !set("mask");
    let runs_script = set("script_name");
    let expects_grid = set("save_images") && !set("do_not_save_grid") && pictures > 1 && !runs_script;
    body.insert("send_images".to_owned(), json!(true));
    Ok(Plan {
        kind,
        checkpoint,
        overrides,
        pictures: (!scripted).then_some(pictures as usize),
        size: sized.then_some((width, height)),
        expects_grid,
        runs_script,
        varies_checkpoint: false,
        body,
    })
}

fn settings(body: &mut Map<String, Value>) -> Result<(Option<String>, Map<String, Value>), Failure> {
    let mut overrides = match body.remove("override_settings") {
        None => Map::new(),
        Some(Value::Object(overrides)) => overrides,
        Some(_) => return Err(Failure::new(Reason::InvalidFormat, "`override_settings` must be an object")),
    };
    overrides.retain(|_, value| !value.is_null());
    let named = [body.remove("sd_model_checkpoint"), overrides.remove("sd_model_checkpoint")];
    let mut checkpoint = None;
    for name in named.into_iter().flatten() {
        let Value::String(name) = name else {
            return Err(Failure::new(Reason::InvalidFormat, "`sd_model_checkpoint` must be the name of a checkpoint"));
        };
        if checkpoint.as_ref().is_some_and(|known| *known != name) {
            return Err(wrong("two different checkpoints are named"));
        }
        checkpoint = Some(name).filter(|name| !name.is_empty());
    }
    if let Some(name) = overrides.keys().find(|name| FOREIGN_OPTIONS.iter().any(|part| name.contains(part))) {
        return Err(wrong(&format!("`override_settings` may not change `{}`", short(name))));
    }
    Ok((checkpoint, overrides))
}

fn upscaling(kind: Kind, mut body: Map<String, Value>) -> Result<Plan, Failure> {
    let mut pictures = 1;
    if kind == Kind::Upscale {
        let picture =
            body.get("image").ok_or_else(|| missing("upscaling needs `image`, a picture in base64 or a URL"))?;
        embedded("image", picture)?;
    } else {
        let list = body.remove("imageList").and_then(|list| list.as_array().cloned()).unwrap_or_default();
        if list.is_empty() || list.len() as u64 > PICTURES_MAX {
            return Err(wrong(&format!("`imageList` must hold 1 to {PICTURES_MAX} pictures")));
        }
        pictures = list.len();
        let mut named = Vec::with_capacity(pictures);
        for (at, picture) in list.into_iter().enumerate() {
            let data = if picture.get("data").is_some() { picture["data"].clone() } else { picture };
            embedded("imageList", &data)?;
            named.push(json!({ "data": data, "name": format!("{}.png", at + 1) }));
        }
        body.insert("imageList".to_owned(), Value::Array(named));
    }
    if let Some(factor) = body.get("upscaling_resize") {
        let good = factor.as_f64().is_some_and(|factor| factor > 0.0 && factor <= 16.0);
        good.then_some(()).ok_or_else(|| wrong("`upscaling_resize` must be a number above 0, 16 at most"))?;
    }
    Ok(Plan {
        kind,
        body,
        checkpoint: None,
        overrides: Map::new(),
        pictures: Some(pictures),
        size: None,
        expects_grid: false,
        runs_script: false,
        varies_checkpoint: false,
    })
}

/// A whole number above 0, which may be written as text; the server fails on all others in various ways.
fn whole(body: &Map<String, Value>, name: &str, otherwise: u64) -> Result<u64, Failure> {
    let Some(value) = body.get(name) else { return Ok(otherwise) };
    let text = value.as_str().map(str::trim);
    let number = value.as_u64().or_else(|| text?.parse().ok());
    let number =
        number.or_else(|| value.as_f64().filter(|number| number.fract() == 0.0 && *number > 0.0).map(|n| n as u64));
    number.filter(|number| *number > 0).ok_or_else(|| wrong(&format!("`{name}` must be a whole number above 0")))
}

/// Base64, or what is fetched before the request is sent.
fn embedded(name: &str, picture: &Value) -> Result<(), Failure> {
    let given = picture.as_str().is_some_and(|text| !text.is_empty()) || reference::source(picture).is_some();
    let wrong = || Failure::new(Reason::InvalidFormat, format!("`{name}` must hold pictures, in base64 or as URLs"));
    given.then_some(()).ok_or_else(wrong)
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::String(text) => text.is_empty(),
        Value::Array(list) => list.is_empty(),
        Value::Object(map) => map.is_empty(),
        _ => false,
    }
}

fn wrong(what: &str) -> Failure {
    Failure::new(Reason::InvalidPayload, what)
}

fn missing(what: &str) -> Failure {
    Failure::new(Reason::MissingRequiredField, what)
}

/// Names from a payload, as they are shown.
pub(super) fn short(text: &str) -> String {
    text.chars().filter(|letter| !letter.is_control()).take(80).collect()
}
