//! What each class of node does: how long it takes, what it hands on, and which files it leaves.
//! In: inputs of one node and the results upstream. Out: its result, or why it stopped.

use std::time::Duration;

use serde_json::{Value, json};

use super::cache::{Made, link};
use super::execute::{Run, Stop};
use super::messages::{PREVIEW_JPEG, PictureFormat};
use super::options::OutOfMemory;
use super::picture;
use super::saving;

/// A value on a link between nodes.
#[derive(Clone, Debug)]
pub(crate) enum Thing {
    /// Pixels; a latent knows the size it will have as a picture.
    Picture {
        width: u32,
        height: u32,
        count: u32,
        tint: u32,
    },
    Opaque,
    /// Whatever takes it is not run; the first one says why, those after it are silent.
    Blocked(Option<String>),
}

/// Inputs of one node.
pub(crate) struct Work<'r, 'a> {
    pub run: &'r mut Run<'a>,
    pub node: String,
    pub inputs: Value,
}

impl Work<'_, '_> {
    pub(crate) fn number(&self, name: &str) -> f64 {
        self.inputs[name].as_f64().unwrap_or_default()
    }

    pub(crate) fn text(&self, name: &str) -> &str {
        self.inputs[name].as_str().unwrap_or_default()
    }

    /// A text that stands here, or in the node that it is linked to.
    pub(crate) fn text_or_linked(&self, name: &str) -> &str {
        match link(&self.inputs[name]) {
            Some((from, _)) => self.run.item.graph[from]["inputs"]["value"].as_str().unwrap_or_default(),
            None => self.text(name),
        }
    }

    pub(crate) fn linked(&self, name: &str) -> Thing {
        let made = link(&self.inputs[name]).and_then(|(from, slot)| self.run.made.get(from)?.things.get(slot as usize));
        made.cloned().unwrap_or(Thing::Opaque)
    }

    fn size(&self, tint: u32) -> Thing {
        let [width, height, count] = ["width", "height", "batch_size"].map(|name| self.number(name) as u32);
        Thing::Picture { width, height, count, tint }
    }

    fn preview(&self) -> Option<(PictureFormat, bytes::Bytes)> {
        match self.text("preview") {
            "JPEG" => Some((PictureFormat::Jpeg, PREVIEW_JPEG)),
            "PNG" => Some((PictureFormat::Png, picture::png(64, 64, 0x28_3C5A, &[]).into())),
            _ => None,
        }
    }

    async fn steps(&mut self, time: Duration, preview: Option<(PictureFormat, bytes::Bytes)>) -> Result<(), Stop> {
        let steps = self.number("steps") as u64;
        for step in 1..=steps {
            self.run.step(time).await?;
            self.run.progress(&self.node, step, steps, preview.clone());
        }
        Ok(())
    }

    fn seconds(&self) -> Duration {
        Duration::from_secs_f64(self.number("seconds").clamp(0.0, 3600.0))
    }
}

fn hands_on(things: impl Into<Vec<Thing>>) -> Made {
    Made { things: things.into(), shown: None }
}

fn raised(kind: &str, message: impl Into<String>) -> Stop {
    Stop::Raised { kind: kind.to_owned(), message: message.into() }
}

/// Runs one node to its end.
pub(crate) async fn perform(mut work: Work<'_, '_>, class: &str) -> Result<Made, Stop> {
    if let Some(made) = saving::save(&mut work, class).await? {
        return Ok(made);
    }
    match class {
        "EmptyImage" => Ok(hands_on([work.size(work.number("color") as u32)])),
        "EmptyLatentImage" => Ok(hands_on([work.size(0)])),
        "CheckpointLoaderSimple" | "LoraLoader" | "VAELoader" => load_model(&work),
        "KSampler" => sample(work).await,
        "LoadImage" => load_picture(&work),
        "ImageInvert" => Ok(hands_on([match work.linked("image") {
            Thing::Picture { width, height, count, tint } => {
                Thing::Picture { width, height, count, tint: !tint & 0xFF_FFFF }
            }
            other => other,
        }])),
        "ImageScale" => Ok(hands_on([match work.linked("image") {
            Thing::Picture { count, tint, .. } => {
                let [width, height] = ["width", "height"].map(|name| work.number(name).max(1.0) as u32);
                Thing::Picture { width, height, count, tint }
            }
            other => other,
        }])),
        "LabSteps" | "LabNoisyPreview" => {
            let (time, preview) = (work.seconds(), work.preview());
            let preview =
                if class == "LabNoisyPreview" { preview.map(|(format, _)| (format, noise())) } else { preview };
            work.steps(time, preview).await?;
            Ok(hands_on([work.linked("image")]))
        }
        "LabBlock" => {
            let time = work.seconds();
            work.run.block(time).await;
            Ok(hands_on([work.linked("image")]))
        }
        "LabBlocker" => {
            Ok(hands_on([Thing::Blocked(Some(format!("no picture was chosen for {}", work.text("message"))))]))
        }
        "LabFail" => Err(match work.text("kind") {
            "ValueError" => raised("ValueError", "synthetic value failure\n"),
            "OOM" => out_of_memory(),
            // Not recorded: PyTorch's words for a card that has failed.
            "CUDA" => raised("torch.AcceleratorError", "CUDA error: uncorrectable ECC error encountered\n"),
            "Exit" => Stop::Exit,
            _ => raised("RuntimeError", "synthetic runtime failure\n"),
        }),
        "LabText" => Ok(Made { things: vec![], shown: Some(json!({"text": [work.text("text")]})) }),
        "PreviewAny" => Ok(Made { things: vec![], shown: Some(json!({"text": ["a value made by the stand-in"]})) }),
        "VAEDecode" => Ok(hands_on([work.linked("samples")])),
        "VAEEncode" => Ok(hands_on([work.linked("pixels")])),
        "ImageBlur" => Ok(hands_on([work.linked("image")])),
        _ => Ok(hands_on([Thing::Opaque, Thing::Opaque, Thing::Opaque])),
    }
}

fn out_of_memory() -> Stop {
    raised(
        "torch.OutOfMemoryError",
        "CUDA out of memory. Tried to allocate 20.00 GiB (synthetic)\nThis error means you ran out of memory on your GPU.\n\n\
         TIPS: If the workflow worked before you might have accidentally set the batch_size to a large number.",
    )
}

fn load_model(work: &Work<'_, '_>) -> Result<Made, Stop> {
    let file =
        ["ckpt_name", "lora_name", "vae_name"].into_iter().map(|name| work.text(name)).find(|name| !name.is_empty());
    if file.is_some_and(|name| name.contains("broken")) {
        let message = "Error while deserializing header: incomplete metadata, file not fully covered\n";
        return Err(raised("safetensors._safetensors_rust.SafetensorError", message));
    }
    work.run.server.model_loaded.store(true, std::sync::atomic::Ordering::SeqCst);
    Ok(hands_on([Thing::Opaque, Thing::Opaque, Thing::Opaque]))
}

async fn sample(mut work: Work<'_, '_>) -> Result<Made, Stop> {
    let quirk = work.run.server.quirks().out_of_memory;
    if quirk != OutOfMemory::Never {
        // Real servers unload their models then.
        work.run.server.model_loaded.store(false, std::sync::atomic::Ordering::SeqCst);
        return Err(out_of_memory());
    }
    let wished = work.run.item.extra_data["preview_method"].as_str().unwrap_or("none");
    let preview =
        (work.run.server.options.release.is_new() && wished != "none").then_some((PictureFormat::Jpeg, PREVIEW_JPEG));
    let time = work.run.server.options.step_time;
    work.steps(time, preview).await?;
    // Any spread of the seed over the colours will do, so long as it is always the same.
    let seed = work.inputs["seed"].as_u64().unwrap_or_default();
    let tint = (seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 40) as u32;
    Ok(hands_on([match work.linked("latent_image") {
        Thing::Picture { width, height, count, .. } => Thing::Picture { width, height, count, tint },
        other => other,
    }]))
}

fn load_picture(work: &Work<'_, '_>) -> Result<Made, Stop> {
    let name = work.text("image");
    let bytes = work.run.server.folders.input(name).and_then(|path| std::fs::read(path).ok()).unwrap_or_default();
    let known: [&[u8]; 4] = [b"\x89PNG", b"\xFF\xD8", b"RIFF", b"GIF8"];
    if !known.iter().any(|magic| bytes.starts_with(magic)) {
        return Err(if work.run.server.options.release.is_new() {
            let message =
                format!("[Errno 1094995529] Invalid data found when processing input: '/opt/comfyui/input/{name}'\n");
            raised("av.error.InvalidDataError", message)
        } else {
            raised("PIL.UnidentifiedImageError", format!("cannot identify image file '/opt/comfyui/input/{name}'\n"))
        });
    }
    let side = |at: usize| bytes.get(at..at + 4).and_then(|part| part.try_into().ok()).map_or(64, u32::from_be_bytes);
    let (width, height) = if bytes.starts_with(b"\x89PNG") { (side(16), side(20)) } else { (64, 64) };
    let tint = bytes.iter().fold(0u32, |sum, byte| sum.wrapping_mul(31).wrapping_add(u32::from(*byte))) & 0xFF_FFFF;
    Ok(hands_on([Thing::Picture { width, height, count: 1, tint }, Thing::Opaque]))
}

/// A large preview that does not compress, to fill a socket whose client does not read.
fn noise() -> bytes::Bytes {
    picture::png(512, 512, 0x80_4020, &[]).into()
}
