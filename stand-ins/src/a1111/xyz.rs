//! X/Y/Z plot: a script that runs once for each cell of a grid and answers with the grid in front (read off the source).
//! In: numbers of axes and their values in `script_args`. Out: the grid, its cells if they are wanted, the first cell's `info`.

use super::generate::{Run, UNFINISHED};
use super::lists;
use super::options::Checkpoint;
use super::settings::Raised;
use crate::picture;
use axum::response::Response;
use serde_json::{Map, Value, json};

const TITLE: &str = "x/y/z plot";
/// Places in `script_args`; each axis has its number, a text of values, and a list of those that were chosen.
const AXES: [usize; 3] = [0, 3, 6];
const LONE_IMAGES: usize = 10;
const CSV_MODE: usize = 17;

struct Axis {
    label: &'static str,
    values: Vec<String>,
}

impl Run<'_> {
    pub(super) fn is_plot(&self) -> bool {
        self.fields["script_name"].as_str().is_some_and(|name| name.eq_ignore_ascii_case(TITLE))
    }

    pub(super) async fn plot(&mut self, seed: i64, subseed: u32) -> Result<(&'static str, Response), Raised> {
        let args = self.fields["script_args"].as_array().cloned().unwrap_or_default();
        let is = |at: usize| args.get(at).is_some_and(|value| *value == json!(true) || *value == "true");
        let [x, y, z] = AXES.map(|at| axis(self.kind, args.get(at..).unwrap_or_default(), is(CSV_MODE)));
        for value in
            [&x, &y, &z].into_iter().filter(|axis| axis.label == "Checkpoint name").flat_map(|axis| &axis.values)
        {
            if self.server.settings().resolve(value).is_none() {
                return Err(("RuntimeError", format!("Unknown checkpoint: {value}")));
            }
        }
        let base = self.fields.clone();
        let (mut texts, mut seeds, mut lone) = (Vec::new(), Vec::new(), Vec::new());
        let mut info = None;
        let (across, down) = (x.values.len() as u32, (y.values.len() * z.values.len()) as u32);
        self.server.progress().job_count = i64::from(across * down);
        for (at, [dx, dy, dz]) in cells(&x, &y, &z).enumerate() {
            let mut fields = base.clone();
            fields.insert("seed".to_owned(), json!(seed));
            let mut named = None;
            for (axis, value) in [(&x, dx), (&y, dy), (&z, dz)] {
                named = apply(&mut fields, axis.label, value).or(named);
            }
            self.fields = fields;
            let checkpoint = match named {
                Some(name) => self.load_named(&name).await?,
                None => self.load().await?,
            };
            self.server.progress().steps = self.whole("steps");
            let whole = !self.server.progress().interrupted && self.sample().await;
            self.server.progress().next_job();
            let facts = self.facts(&checkpoint, self.whole("seed"), subseed, 1);
            info.get_or_insert_with(|| facts.info(0, 0));
            texts.push(json!(facts.infotext(0)));
            seeds.push(json!(facts.seed));
            lone.push(self.cell(&checkpoint, at, whole));
        }
        self.fields = base;
        let mut info = info.unwrap_or_default();
        texts.insert(0, texts.first().cloned().unwrap_or_default());
        info["index_of_first_image"] = json!(1);
        (info["infotexts"], info["all_seeds"]) = (json!(texts), json!(seeds));
        let (width, height) = self.drawn();
        let mut pictures = vec![picture::png(width * across, height * down, 0x10_2030, &[])];
        if is(LONE_IMAGES) {
            pictures.extend(lone);
        }
        let outcome = if self.server.progress().interrupted { "interrupted" } else { "success" };
        Ok((outcome, self.reply(&pictures, &info)))
    }

    /// A cell that was not finished is blank, or not what it should be.
    fn cell(&self, checkpoint: &Checkpoint, at: usize, whole: bool) -> Vec<u8> {
        let (width, height) = self.drawn();
        let mix = checkpoint.name.bytes().fold(at as u32 + 1, |mix, byte| mix.wrapping_mul(31) + u32::from(byte));
        picture::png(width, height, if whole { mix & 0xff_ffff } else { UNFINISHED }, &[])
    }
}

/// In the order in which they run.
fn cells<'a>(x: &'a Axis, y: &'a Axis, z: &'a Axis) -> impl Iterator<Item = [&'a str; 3]> {
    let rows = z.values.iter().flat_map(move |dz| y.values.iter().map(move |dy| (dy, dz)));
    rows.flat_map(move |(dy, dz)| x.values.iter().map(move |dx| [dx.as_str(), dy, dz]))
}

fn axis(kind: &str, args: &[Value], csv_mode: bool) -> Axis {
    let of_kind = |script: &&Value| script["name"] == TITLE && script["is_img2img"] == json!(kind == "img2img");
    let script = lists::list("script-info").as_array().into_iter().flatten().find(of_kind);
    let number = args.first().and_then(Value::as_u64).unwrap_or(0) as usize;
    let label = script.and_then(|script| script["args"][0]["choices"][number].as_str()).unwrap_or("Nothing");
    let from_list = matches!(label, "Sampler" | "Checkpoint name") && !csv_mode;
    let values = match (label, from_list) {
        ("Nothing", _) => vec![String::new()],
        (_, true) => args
            .get(2)
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .map(str::to_owned)
            .collect(),
        (_, false) => {
            let text = args.get(1).and_then(Value::as_str).unwrap_or_default();
            text.split(',').map(|value| value.trim().to_owned()).collect()
        }
    };
    Axis { label, values }
}

/// Of all axes those that connectors care about; a checkpoint is given back, to be loaded.
fn apply(fields: &mut Map<String, Value>, label: &str, value: &str) -> Option<String> {
    let number = || json!(value.parse::<i64>().unwrap_or_default());
    match label {
        "Seed" => fields.insert("seed".to_owned(), number()),
        "Steps" => fields.insert("steps".to_owned(), number()),
        "Sampler" => fields.insert("sampler_name".to_owned(), json!(value)),
        "Checkpoint name" => return Some(value.to_owned()),
        _ => None,
    };
    None
}
