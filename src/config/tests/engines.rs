//! Which engines are driven, and how they are reached.
//! In: sources. Out: nothing.

use super::{file, load_env, load_file, shown};
use crate::config::{Engines, Loaded, Sources, load};
use secrecy::ExposeSecret;

fn driven(loaded: &Loaded) -> Vec<&'static str> {
    let Engines { comfyui, a1111, openai, simulation, .. } = &loaded.config.engines;
    let all = [
        ("comfyui", comfyui.is_some()),
        ("a1111", a1111.is_some()),
        ("openai", openai.is_some()),
        ("simulation", simulation.is_some()),
    ];
    all.into_iter().filter(|(_, driven)| *driven).map(|(name, _)| name).collect()
}

fn urls(loaded: &Loaded) -> Vec<String> {
    loaded.config.engines.comfyui.as_ref().unwrap().urls.iter().map(ToString::to_string).collect()
}

#[test]
fn services_select_engines() {
    type Env = &'static [(&'static str, &'static str)];
    let rows: &[(Env, &[&str])] = &[
        (&[], &["comfyui"]),
        (&[("COMFYUI_URL", "http://a")], &["comfyui"]),
        (&[("A1111_URL", "http://a")], &["a1111"]),
        (&[("A1111_HOST", "a")], &["a1111"]),
        (&[("A1111_URL", "http://a"), ("COMFYUI_URL", "http://a")], &["comfyui", "a1111"]),
        (&[("SIMULATION_SERVICES", "x")], &["simulation"]),
        (&[("SERVICES", "simulation")], &["simulation"]),
        (&[("SERVICES", "Simulation, ComfyUI")], &["comfyui", "simulation"]),
        (&[("SERVICES", "[\"a1111\"]")], &["a1111"]),
        (&[("WORKERS", "comfyui:1")], &["comfyui"]),
        (&[("WORKER_CONNECTORS", "a1111:1,comfyui")], &["comfyui", "a1111"]),
        (&[("OPENAI_URL", "http://a/v1")], &["openai"]),
        (&[("OPENAI_BASE_URL", "http://a")], &["openai"]),
        (&[("WORKERS", "openai:2,openai-response:1,ollama")], &["openai"]),
        (&[("CONNECTORS", "comfyui-remote")], &["comfyui"]),
        (&[("CONNECTORS", "simulation-websocket,simulation-http")], &["simulation"]),
    ];
    for (env, expected) in rows {
        let loaded = load_env(env).unwrap();
        assert_eq!(driven(&loaded), *expected, "{env:?}");
        let counts = |warning: &crate::config::Finding| warning.to_string().contains("counts are ignored");
        assert!(loaded.warnings.iter().all(counts), "{env:?}: {:?}", loaded.warnings);
    }
}

#[test]
fn engines_without_an_address_have_the_usual_one() {
    let loaded = load_env(&[("SERVICES", "comfyui,a1111")]).unwrap();
    assert_eq!(urls(&loaded), ["http://127.0.0.1:8188/"]);
    assert_eq!(loaded.config.engines.a1111.as_ref().unwrap().urls[0].as_str(), "http://127.0.0.1:7860/");
    let loaded = load_env(&[("SERVICES", "simulation")]).unwrap();
    assert_eq!(shown(&loaded, "COMFYUI_URL").0, None, "an address that isn't used is not shown as in effect");
    assert_eq!(shown(&load_env(&[]).unwrap(), "SERVICES"), (Some("comfyui".into()), "default".into()));
}

#[test]
fn what_does_not_fit_is_told() {
    let loaded = load_env(&[("SERVICES", "comfyui,gemini")]).unwrap();
    assert!(loaded.warnings[0].to_string().contains("gemini: no connector for it in this release"));
    let loaded = load_env(&[("WORKERS", "comfyui:2")]).unwrap();
    assert!(loaded.warnings[0].message.contains("counts are ignored"), "{}", loaded.warnings[0]);
    let loaded = load_env(&[("SERVICES", "simulation"), ("COMFYUI_URL", "http://a")]).unwrap();
    assert!(loaded.warnings[0].message.contains("does not name comfyui"), "{}", loaded.warnings[0]);
    for (services, message) in [
        ("gemini", "names no engine"),
        ("comfyiu", "did you mean comfyui?"),
        ("zzzzzzzzzzzzz", "there are comfyui"),
        ("comfyui:x", "`name:count`"),
        (",", "comma list of engines"),
        (":1", "comma list of engines"),
    ] {
        let report = load_env(&[("SERVICES", services)]).unwrap_err();
        assert_eq!(report.faults.len(), 1, "{report}");
        assert!(report.faults[0].message.contains(message), "{report}");
    }
}

#[test]
fn each_address_may_have_its_gpu() {
    let two = ("COMFYUI_URL", "http://a:8188, http://b:8188/");
    let loaded = load_env(&[two, ("COMFYUI_GPUS", "1,0")]).unwrap();
    assert_eq!(urls(&loaded), ["http://a:8188/", "http://b:8188/"]);
    assert_eq!(loaded.config.engines.comfyui.unwrap().gpus, Some(vec![1, 0]));
    let report = load_env(&[two, ("COMFYUI_GPUS", "0")]).unwrap_err();
    assert!(report.faults[0].message.contains("has 1 entries, but COMFYUI_URL has 2"), "{report}");
}

#[test]
fn addresses_come_in_parts() {
    let rows: &[(&str, &str)] = &[
        ("COMFYUI_HOST=gpu\n", "http://gpu:8188/"),
        ("COMFYUI_PORT=9000\n", "http://127.0.0.1:9000/"),
        ("COMFYUI_BASE_PORT=9000\n", "http://127.0.0.1:9000/"),
        ("COMFYUI_HOST=gpu\nCOMFYUI_PORT=443\nCOMFYUI_SECURE=true\n", "https://gpu/"),
        ("COMFYUI_SECURE=1\n", "https://127.0.0.1:8188/"),
        ("COMFYUI_HOST=[::1]\n", "http://[::1]:8188/"),
        (
            "WORKER_COMFYUI_REMOTE_HOST=r\nWORKER_COMFYUI_REMOTE_PORT=1\nWORKER_COMFYUI_REMOTE_SECURE=no\n",
            "http://r:1/",
        ),
        ("WORKER_COMFYUI_HOST=w\nWORKER_COMFYUI_PORT=2\nWORKER_COMFYUI_USE_SSL=yes\n", "https://w:2/"),
        ("COMFYUI_WS_URL=wss://gpu:9000/ws\n", "https://gpu:9000/"),
        ("COMFYUI_WS_URL=ws://wshost\n", "http://wshost/"),
    ];
    for (text, expected) in rows {
        let loaded = load_file(text).unwrap_or_else(|report| panic!("{text}: {report}"));
        assert_eq!(urls(&loaded), [*expected], "{text}");
    }
    for (text, message) in [
        ("COMFYUI_HOST=http://gpu\n", "must be a host name alone"),
        ("COMFYUI_HOST=gpu:1\n", "must be a host name alone"),
        ("COMFYUI_PORT=high\n", "must be a port"),
        ("COMFYUI_HOST=g\nCOMFYUI_SECURE=perhaps\n", "must be true or false"),
    ] {
        let report = load_file(text).unwrap_err();
        assert!(report.faults[0].message.contains(message), "{report}");
    }
    let loaded = load_file("COMFYUI_URL=http://a\nCOMFYUI_SECURE=true\n").unwrap();
    assert!(loaded.warnings[0].message.contains("does nothing beside COMFYUI_URL"));
}

#[test]
fn parts_join_across_sources() {
    let (_folder, path) = file("COMFYUI_HOST=gpu\n");
    let env = super::pairs(&[("COMFYUI_PORT", "9000")]);
    let loaded = load(&Sources { env, env_file: Some(path), ..Sources::default() }).unwrap();
    assert_eq!(urls(&loaded), ["http://gpu:9000/"]);
    assert_eq!(shown(&loaded, "COMFYUI_URL").1, "environment");
}

#[test]
fn links_between_containers_are_no_ports() {
    let loaded = load_env(&[("COMFYUI_PORT", "tcp://10.0.0.1:8188")]).unwrap();
    assert_eq!(urls(&loaded), ["http://127.0.0.1:8188/"]);
}

#[test]
fn credentials_leave_the_address() {
    let loaded = load_env(&[("COMFYUI_URL", "http://me:p%40ss+%zz@gpu:1,http://me@gpu:2")]).unwrap();
    let engine = loaded.config.engines.comfyui.as_ref().unwrap();
    assert_eq!(urls(&loaded), ["http://gpu:1/", "http://gpu:2/"]);
    assert_eq!(engine.username.as_deref(), Some("me"));
    assert_eq!(engine.password.as_ref().unwrap().expose_secret(), "p@ss+%zz");
    for env in [
        &[("COMFYUI_URL", "http://a:1@h"), ("COMFYUI_USERNAME", "b")][..],
        &[("COMFYUI_URL", "http://a:1@h"), ("COMFYUI_PASSWORD", "2")],
        &[("COMFYUI_URL", "http://a:1@h,http://b:1@h")],
    ] {
        let report = load_env(env).unwrap_err();
        assert!(report.faults[0].message.contains("differ"), "{report}");
    }
    let loaded = load_env(&[("COMFYUI_URL", "http://a@h"), ("COMFYUI_PASSWORD", "2")]).unwrap();
    assert_eq!(loaded.config.engines.comfyui.unwrap().password.unwrap().expose_secret(), "2");
}

#[test]
fn the_simulation_answers_services() {
    let loaded = load_env(&[("SERVICES", "simulation"), ("SIMULATION_SERVICES", "text,image")]).unwrap();
    assert_eq!(loaded.config.engines.simulation.unwrap().services, ["text", "image"]);
}

#[test]
fn servers_of_the_openai_api_have_addresses_a_key_and_no_gpu_unless_told() {
    let env = [
        ("OPENAI_URL", "http://a:8000,https://api.example/openai/v1"),
        ("OPENAI_API_KEY", "sk-hunter2"),
        ("OPENAI_MODELS", "llama,embed"),
        ("OPENAI_CONCURRENCY", "8"),
    ];
    let loaded = load_env(&env).unwrap();
    let openai = loaded.config.engines.openai.as_ref().unwrap();
    let urls: Vec<&str> = openai.urls.iter().map(url::Url::as_str).collect();
    assert_eq!(urls, ["http://a:8000/", "https://api.example/openai/v1"]);
    assert_eq!((openai.gpus.as_ref(), openai.concurrency), (None, Some(8)));
    assert_eq!(loaded.config.traits.models["openai"], ["llama", "embed"]);
    assert!(!format!("{loaded:?}").contains("hunter2"));
    let report = load_env(&[env[0], ("OPENAI_GPUS", "0")]).unwrap_err();
    assert!(report.faults[0].message.contains("has 1 entries, but OPENAI_URL has 2"), "{report}");
    for (url, message) in
        [("http://me:hunter2@a", "must hold no credentials"), ("http://a/v1?key=hunter2", "without path or query")]
    {
        let report = load_env(&[("OPENAI_URL", url)]).unwrap_err().to_string();
        assert!(report.contains(message) && !report.contains("hunter2"), "{report}");
    }
    let alone = load_env(&[("SERVICES", "openai")]).unwrap().config.engines.openai.unwrap();
    assert_eq!(alone.urls[0].as_str(), "https://api.openai.com/v1");
}

#[test]
fn a_folder_of_engines_that_is_not_there_is_told_with_the_one_that_was_probably_meant() {
    let folder = tempfile::tempdir().unwrap();
    let place = |name: &str| folder.path().join(name).display().to_string();
    std::fs::create_dir_all(place("engines/mine")).unwrap();
    std::fs::write(place("enginez"), "").unwrap();
    let warned = |dir: &str| {
        let loaded = load_env(&[("CONNECTORS_DIR", dir)]).unwrap();
        let warnings: Vec<String> = loaded.warnings.iter().map(ToString::to_string).collect();
        assert_eq!(loaded.config.engines.files.dir, Some(dir.into()), "it may come yet");
        warnings.join("\n")
    };
    assert_eq!(warned(&place("engines")), "");
    for (given, meant) in [("engnies", "engines"), ("engine", "engines"), ("engins/mine", "engines/mine")] {
        let (given, meant) = (place(given), place(meant));
        let said = warned(&given);
        let expected = format!("environment: CONNECTORS_DIR: there is no folder {given}; did you mean {meant}? ");
        assert!(said.starts_with(&expected), "{said}");
    }
    for far in ["something-else", "engins/yours"] {
        let said = warned(&place(far));
        assert!(said.contains("there is no folder") && !said.contains("did you mean"), "{said}");
    }
    assert!(warned(&place("enginez")).ends_with("is a file, no folder"), "{}", warned(&place("enginez")));
    // Relative to where the program stands, and told so.
    assert!(warned("scr").contains("there is no folder scr; did you mean src? "), "{}", warned("scr"));
}
