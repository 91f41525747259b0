//! What the server tells about itself: versions, memory, features, models, node classes.
//! In: release, options and model names. Out: the read-only routes.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde_json::{Map, Value, json};

use super::catalog;
use super::options::Options;
use super::server::Server;

type App = State<Arc<Server>>;

const RAM: u64 = 25_276_510_208;
const RAM_FREE: u64 = 23_416_991_744;
const MODEL_SIZE: u64 = 502_118_526;

/// In the order of the newer release.
const FOLDERS: [&str; 26] = [
    "checkpoints",
    "configs",
    "loras",
    "vae",
    "text_encoders",
    "diffusion_models",
    "clip_vision",
    "style_models",
    "embeddings",
    "diffusers",
    "vae_approx",
    "controlnet",
    "gligen",
    "upscale_models",
    "latent_upscale_models",
    "custom_nodes",
    "hypernetworks",
    "photomaker",
    "classifiers",
    "model_patches",
    "audio_encoders",
    "background_removal",
    "frame_interpolation",
    "geometry_estimation",
    "optical_flow",
    "detection",
];
const ONLY_NEW: [&str; 6] = [
    "latent_upscale_models",
    "background_removal",
    "frame_interpolation",
    "geometry_estimation",
    "optical_flow",
    "detection",
];

pub(crate) fn routes() -> Router<Arc<Server>> {
    Router::new()
        .route("/system_stats", get(system_stats))
        .route("/features", get(|State(server): App| async move { Json(features(&server.options)) }))
        .route("/object_info", get(|State(server): App| async move { Json(catalog::object_info(None, &server)) }))
        .route("/object_info/{class}", get(object_info_of))
        .route("/models", get(|State(server): App| async move { Json(folders(&server)) }))
        .route("/models/{folder}", get(models_in))
        .route("/experiment/models", get(model_folders))
        .route("/experiment/models/{folder}", get(model_files))
        .route("/embeddings", get(|| async { Json(json!([])) }))
        .route("/view_metadata/{folder}", get(|| async { StatusCode::NOT_FOUND }))
        .route("/internal/folder_paths", get(folder_paths))
        .route("/internal/logs/raw", get(logs))
        .route("/users", get(|| async { Json(json!({"storage": "server", "migrated": false})) }))
}

pub(crate) fn features(options: &Options) -> Value {
    let mut features = json!({"supports_preview_metadata": true, "max_upload_size": options.max_upload_size});
    if options.release.is_new() {
        features["extension"] = json!({"manager": {"supports_v4": true}});
        features["node_replacements"] = json!(true);
        features["assets"] = json!(false);
    }
    features
}

async fn system_stats(State(server): App) -> Json<Value> {
    let new = server.options.release.is_new();
    let version = server.quirks().version.clone().unwrap_or_else(|| server.options.release.version().to_owned());
    let free = RAM_FREE - if server.model_loaded.load(Ordering::SeqCst) { MODEL_SIZE } else { 0 };
    let mut system = json!({
        "os": if new { "linux" } else { "posix" }, "ram_total": RAM, "ram_free": free,
        "comfyui_version": version,
        "required_frontend_version": if new { "1.45.20" } else { "1.27.10" },
        "installed_templates_version": "0.11.1", "required_templates_version": if new { "0.11.1" } else { "0.1.95" },
        "python_version": "3.11.7 (stand-in: no Python here)", "pytorch_version": "2.9.1+cu128", "embedded_python": false,
        "argv": ["main.py", "--stand-in"],
    });
    if new {
        let package = json!({"name": "comfyui-frontend-package", "installed": "1.45.20", "required": "1.45.20"});
        system["comfy_package_versions"] = json!([package]);
        system["deploy_environment"] = json!("local-git");
    }
    let device = json!({
        "name": "cpu", "type": "cpu", "index": null, "vram_total": RAM, "vram_free": free, "torch_vram_total": RAM, "torch_vram_free": free,
    });
    Json(json!({"system": system, "devices": [device]}))
}

async fn object_info_of(State(server): App, Path(class): Path<String>) -> Json<Value> {
    Json(catalog::object_info(Some(&class), &server))
}

fn folders(server: &Server) -> Vec<String> {
    let new = server.options.release.is_new();
    let known = FOLDERS.into_iter().filter(|folder| new || !ONLY_NEW.contains(folder));
    let mut folders: Vec<String> = known.map(str::to_owned).collect();
    folders.extend(server.models().keys().filter(|folder| !FOLDERS.contains(&folder.as_str())).cloned());
    folders
}

fn files(server: &Server, folder: &str) -> Option<Vec<String>> {
    folders(server)
        .iter()
        .any(|known| known == folder)
        .then(|| server.models().get(folder).cloned().unwrap_or_default())
}

async fn models_in(State(server): App, Path(folder): Path<String>) -> Response {
    files(&server, &folder).map_or_else(|| StatusCode::NOT_FOUND.into_response(), |files| Json(files).into_response())
}

fn paths(folder: &str) -> Value {
    json!([format!("/opt/comfyui/models/{folder}")])
}

async fn model_folders(State(server): App) -> Json<Value> {
    let shown = folders(&server).into_iter().filter(|folder| folder != "configs" && folder != "custom_nodes");
    Json(shown.map(|folder| json!({"name": folder, "folders": paths(&folder)})).collect())
}

async fn model_files(State(server): App, Path(folder): Path<String>) -> Response {
    let Some(files) = files(&server, &folder) else {
        return StatusCode::NOT_FOUND.into_response();
    };
    let described = |name: &String| json!({"name": name, "pathIndex": 0, "modified": 1795326999.5, "created": 1795326999.5, "size": MODEL_SIZE});
    Json(files.iter().map(described).collect::<Value>()).into_response()
}

async fn folder_paths(State(server): App) -> Json<Value> {
    Json(folders(&server).into_iter().map(|folder| (folder.clone(), paths(&folder))).collect::<Map<_, _>>().into())
}

async fn logs() -> Json<Value> {
    let entry = json!({"t": "2026-11-22T05:43:23.385508", "m": "this is a stand-in\n"});
    Json(json!({"entries": [entry], "size": {"cols": 80, "rows": 24}}))
}
