//! Which engines to drive, and how each is reached.
//! In: resolved values. Out: `Engines`; faults for engines that don't exist and for settings that don't fit together.

use super::build::Derived;
use super::engine_folder::engine_folder;
use super::nearest::nearest;
use super::reader::Reader;
use super::report::Report;
use super::settings::{EngineFiles, Engines, HttpEngine, OpenAiEngine, SimulationEngine};
use secrecy::{ExposeSecret, SecretString};
use url::Url;

/// Engines, and the reference's names for workers that drive them.
const KNOWN: [(&str, &str); 16] = [
    ("comfyui", "comfyui"),
    ("comfyui-remote", "comfyui"),
    ("a1111", "a1111"),
    ("openai", "openai"),
    ("openai-response", "openai"),
    ("openai_text", "openai"),
    ("openai_image", "openai"),
    ("openai_img2img", "openai"),
    ("openai_responses", "openai"),
    ("ollama", "openai"),
    ("text_generation", "openai"),
    ("chat_completion", "openai"),
    ("embeddings", "openai"),
    ("simulation", "simulation"),
    ("simulation-http", "simulation"),
    ("simulation-websocket", "simulation"),
];
/// Engines of the reference whose connectors come in a later release.
const RESERVED: [&str; 3] = ["gemini", "gem-nano-banana", "websocket"];
/// Kinds of engines that are files: what they offer stands in them.
const FILES: [&str; 4] = ["rest", "rest-sync", "rest-async", "process"];

struct Names {
    engine: &'static str,
    url: &'static str,
    gpus: &'static str,
    username: &'static str,
    password: &'static str,
    api_key: Option<&'static str>,
}

const COMFYUI: Names = Names {
    engine: "comfyui",
    url: "COMFYUI_URL",
    gpus: "COMFYUI_GPUS",
    username: "COMFYUI_USERNAME",
    password: "COMFYUI_PASSWORD",
    api_key: Some("COMFYUI_API_KEY"),
};
const A1111: Names = Names {
    engine: "a1111",
    url: "A1111_URL",
    gpus: "A1111_GPUS",
    username: "A1111_USERNAME",
    password: "A1111_PASSWORD",
    api_key: None,
};

pub(super) fn engines(reader: &Reader<'_>, derived: &mut Derived, report: &mut Report) -> Engines {
    let chosen = chosen(reader, report);
    derived.insert("SERVICES", Some(chosen.join(",")));
    let openai = openai(reader, report);
    let drives_openai = chosen.contains(&"openai");
    if !drives_openai {
        derived.insert("OPENAI_URL", None);
        if reader.stated("OPENAI_URL") {
            report.warn(&reader.origin("OPENAI_URL"), "OPENAI_URL", "does nothing: SERVICES does not name openai");
        }
    }
    let mut http = |names: &Names, report: &mut Report| {
        // Read even if it isn't chosen: what is wrong in it is told all the same.
        let engine = http(names, reader, report);
        let used = chosen.contains(&names.engine);
        if !used {
            derived.insert(names.url, None);
            if reader.stated(names.url) {
                let message = format!("does nothing: SERVICES does not name {}", names.engine);
                report.warn(&reader.origin(names.url), names.url, message);
            }
        }
        used.then_some(engine)
    };
    let services = reader.list("SIMULATION_SERVICES");
    Engines {
        comfyui: http(&COMFYUI, report),
        a1111: http(&A1111, report),
        openai: drives_openai.then_some(openai),
        simulation: chosen.contains(&"simulation").then_some(SimulationEngine { services }),
        // Filled in by whoever knows the environment.
        files: EngineFiles {
            dir: engine_folder(reader, report),
            memory: reader.decimal("CONNECTORS_MEMORY_GB").map(|gb| (gb * f64::from(1 << 30)) as u64),
            ..EngineFiles::default()
        },
    }
}

fn chosen(reader: &Reader<'_>, report: &mut Report) -> Vec<&'static str> {
    let listed = reader.list("SERVICES");
    if !reader.stated("SERVICES") {
        let set = [
            ("comfyui", "COMFYUI_URL"),
            ("a1111", "A1111_URL"),
            ("openai", "OPENAI_URL"),
            ("simulation", "SIMULATION_SERVICES"),
        ];
        let set: Vec<_> = set.into_iter().filter(|(_, name)| reader.stated(name)).map(|(engine, _)| engine).collect();
        return if set.is_empty() && !reader.stated("CONNECTORS_DIR") { vec!["comfyui"] } else { set };
    }
    if reader.shown("SERVICES").split(',').any(|item| item.contains(':') && !item.trim().ends_with(":1")) {
        let message = "counts are ignored: there are CONCURRENT_JOBS slots for each GPU";
        report.warn(&reader.origin("SERVICES"), "SERVICES", message);
    }
    let mut engines = Vec::new();
    let mut wrong = listed.is_empty();
    for name in &listed {
        if let Some((_, engine)) = KNOWN.iter().find(|(known, _)| known == name) {
            if !engines.contains(engine) {
                engines.push(*engine);
            }
        } else if FILES.contains(&name.as_str()) {
            if !reader.stated("CONNECTORS_DIR") {
                let message = format!("{name}: such engines are files of CONNECTORS_DIR, which is not set");
                report.warn(&reader.origin("SERVICES"), "SERVICES", message);
            }
        } else if RESERVED.contains(&name.as_str()) {
            report.warn(&reader.origin("SERVICES"), "SERVICES", format!("{name}: no connector for it in this release"));
        } else {
            wrong = true;
            let known = KNOWN.iter().map(|(known, _)| *known).chain(RESERVED).chain(FILES);
            let hint = match nearest(name, known, (name.len() / 3).max(2)) {
                Some(meant) => format!("did you mean {meant}?"),
                None => "there are comfyui, a1111, openai and simulation".into(),
            };
            let name: String = name.escape_debug().take(40).collect();
            reader.fault("SERVICES", format!("no engine is called `{name}`; {hint}"), report);
        }
    }
    if engines.is_empty() && !wrong && !reader.stated("CONNECTORS_DIR") {
        reader.fault("SERVICES", "names no engine that this release can drive", report);
    }
    engines
}

fn openai(reader: &Reader<'_>, report: &mut Report) -> OpenAiEngine {
    let urls = reader.urls("OPENAI_URL");
    OpenAiEngine {
        gpus: gpus("OPENAI_GPUS", "OPENAI_URL", &urls, reader, report),
        urls,
        api_key: reader.secret("OPENAI_API_KEY"),
        services: reader.list("OPENAI_SERVICES"),
        models: reader.list("OPENAI_MODELS"),
        concurrency: reader.count("OPENAI_CONCURRENCY"),
    }
}

/// The GPU of each address, one for each.
fn gpus(
    name: &'static str,
    of: &'static str,
    urls: &[Url],
    reader: &Reader<'_>,
    report: &mut Report,
) -> Option<Vec<u32>> {
    let gpus = reader.indexes(name)?;
    if !urls.is_empty() && gpus.len() != urls.len() {
        let message = format!("has {} entries, but {of} has {}: one for each", gpus.len(), urls.len());
        reader.fault(name, message, report);
    }
    Some(gpus)
}

fn http(names: &Names, reader: &Reader<'_>, report: &mut Report) -> HttpEngine {
    let mut urls = reader.urls(names.url);
    let gpus = gpus(names.gpus, names.url, &urls, reader, report);
    let (mut username, mut password) = (reader.text(names.username), reader.secret(names.password));
    // Credentials leave the addresses, which are logged; there is one pair for each engine.
    for url in &mut urls {
        let Some((user, word)) = take_credentials(url) else {
            continue;
        };
        let same_user = username.as_ref().is_none_or(|known| *known == user);
        let same_word = match (&password, &word) {
            (Some(known), Some(word)) => known.expose_secret() == word,
            _ => true,
        };
        if !same_user || !same_word {
            let message = format!(
                "the credentials in front of {url} differ from others of this engine; use {} and {}",
                names.username, names.password
            );
            reader.fault(names.url, message, report);
        }
        username = Some(user);
        password = word.map(SecretString::from).or(password);
    }
    HttpEngine { urls, gpus, username, password, api_key: names.api_key.and_then(|name| reader.secret(name)) }
}

/// User name and password out of the address, with `%40` and the like decoded.
fn take_credentials(url: &mut Url) -> Option<(String, Option<String>)> {
    if url.username().is_empty() && url.password().is_none() {
        return None;
    }
    let found = (decode(url.username()), url.password().map(decode));
    // These fail only for addresses without a host, which were refused.
    let _ = url.set_username("");
    let _ = url.set_password(None);
    Some(found)
}

/// Decodes `%40` and the like; what is no code stays as it is.
fn decode(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        let hex = tail.get(..2).filter(|_| first == b'%').and_then(|hex| std::str::from_utf8(hex).ok());
        match hex.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = &tail[2..];
            }
            None => {
                bytes.push(first);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
