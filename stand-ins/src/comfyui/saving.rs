//! Nodes that leave files or send pictures: stills, previews, animations, video, audio and latents.
//! In: what is linked to a save node. Out: files in the server's folders and the entry that names them.

use std::path::PathBuf;

use bytes::Bytes;
use serde_json::{Value, json};

use super::cache::Made;
use super::execute::Stop;
use super::messages::{ANIMATION_WEBP, PictureFormat};
use super::picture;
use super::works::{Thing, Work};

/// A save class: kind in the outputs, folder, what follows the number, and the bytes.
struct Sort {
    kind: &'static str,
    folder: &'static str,
    ending: &'static str,
    animated: bool,
    content: fn() -> Bytes,
}

fn sort_of(class: &str, new: bool) -> Option<Sort> {
    let sort = |kind, folder, ending, animated, content| Some(Sort { kind, folder, ending, animated, content });
    match class {
        "SaveImage" => sort("images", "output", "_.png", false, Bytes::new),
        "PreviewImage" => sort("images", "temp", "_.png", false, Bytes::new),
        "SaveAnimatedPNG" => sort("images", "output", "_.png", true, || picture::png(64, 64, 0x28_3C5A, &[]).into()),
        "SaveAnimatedWEBP" => sort("images", "output", "_.webp", true, || ANIMATION_WEBP),
        "SaveWEBM" => {
            sort("images", "output", "_.webm", true, || marked(b"\x1A\x45\xDF\xA3\x9F\x42\x86\x81\x01\x42\x82\x84webm"))
        }
        "SaveVideo" => sort("images", "output", "_.mp4", true, || {
            marked(b"\x00\x00\x00\x20ftypisom\x00\x00\x02\x00isomiso2avc1mp41")
        }),
        // The newer release leaves out the underscore here.
        "SaveAudio" | "PreviewAudio" if !new => {
            sort("audio", if class == "SaveAudio" { "output" } else { "temp" }, "_.flac", false, || {
                marked(b"fLaC\x80\x00\x00\x22")
            })
        }
        "SaveAudio" => sort("audio", "output", ".flac", false, || marked(b"fLaC\x80\x00\x00\x22")),
        "PreviewAudio" => sort("audio", "temp", ".flac", false, || marked(b"fLaC\x80\x00\x00\x22")),
        "SaveLatent" => sort("latents", "output", "_.latent", false, || marked(b"\x02\x00\x00\x00\x00\x00\x00\x00{}")),
        _ => None,
    }
}

/// Only the start of such a file is real, enough to tell its type; it cannot be played.
fn marked(magic: &[u8]) -> Bytes {
    [magic, b" made by the stand-in, nothing to play"].concat().into()
}

/// `None` if the class saves nothing.
pub(crate) async fn save(work: &mut Work<'_, '_>, class: &str) -> Result<Option<Made>, Stop> {
    if class == "SaveImageWebsocket" {
        send(work);
        return Ok(Some(Made::default()));
    }
    let Some(sort) = sort_of(class, work.run.server.options.release.is_new()) else {
        return Ok(None);
    };
    let prefix = match sort.folder {
        "temp" => format!(
            "ComfyUI_temp_{}",
            &work.run.item.id.replace(|c: char| !c.is_ascii_alphanumeric(), "x").chars().take(5).collect::<String>()
        ),
        _ => work.text_or_linked("filename_prefix").to_owned(),
    };
    let pictures = match (class, work.linked("images")) {
        ("SaveImage" | "PreviewImage", Thing::Picture { width, height, count, tint }) => {
            let mut texts = vec![("prompt", work.run.item.graph.to_string())];
            if let Some(workflow) = work.run.item.extra_data["extra_pnginfo"].get("workflow") {
                texts.push(("workflow", workflow.to_string()));
            }
            (0..count)
                .map(|number| (width, height, tint.wrapping_add(number * 0x10) & 0xFF_FFFF, texts.clone()))
                .collect()
        }
        _ => vec![],
    };
    let slot = work.run.server.folders.slot(sort.folder, &prefix).map_err(|error| failed(&error))?;
    let name = |offset: u32| format!("{}_{:05}{}", slot.stem, slot.counter + offset, sort.ending);
    let count = pictures.len().max(1) as u32;
    let paths: Vec<PathBuf> = (0..count).map(|offset| slot.folder.join(name(offset))).collect();
    let entries: Vec<Value> = (0..count)
        .map(|offset| json!({"filename": name(offset), "subfolder": slot.subfolder, "type": sort.folder}))
        .collect();
    let (targets, content) = (paths.clone(), (sort.content)());
    // Drawing a large picture takes a while and would hold up the sockets.
    let written = tokio::task::spawn_blocking(move || {
        for (at, path) in targets.iter().enumerate() {
            match pictures.get(at) {
                Some((width, height, tint, texts)) => {
                    std::fs::write(path, picture::png(*width, *height, *tint, texts))?;
                }
                None => std::fs::write(path, &content)?,
            }
        }
        Ok::<(), std::io::Error>(())
    });
    written.await.map_err(std::io::Error::other).and_then(|result| result).map_err(|error| failed(&error))?;
    work.run.server.written().extend(paths);
    let mut shown = json!({});
    shown[sort.kind] = json!(entries);
    if sort.animated {
        shown["animated"] = json!([true]);
    }
    Ok(Some(Made { things: vec![], shown: Some(shown) }))
}

fn failed(error: &std::io::Error) -> Stop {
    Stop::Raised { kind: "Exception".to_owned(), message: format!("{error}\n") }
}

/// Full-size pictures as preview frames, with nothing left in the outputs.
fn send(work: &mut Work<'_, '_>) {
    let Thing::Picture { width, height, count, tint } = work.linked("images") else {
        return;
    };
    for number in 0..u64::from(count) {
        let picture = picture::png(width, height, tint, &[]).into();
        work.run.progress(&work.node, number, u64::from(count), Some((PictureFormat::Png, picture)));
    }
    work.run.set_bar(&work.node, u64::from(count), u64::from(count));
}
