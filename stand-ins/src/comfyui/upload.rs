//! `POST /upload/image` and `/upload/mask`: files into the folders, content unchecked.
//! In: a multipart form. Out: the name the file really got.

use std::path::Path;
use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::multipart::MultipartRejection;
use axum::extract::{Multipart, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::json;

use super::folders;
use super::routes::trouble;
use super::server::Server;

#[derive(Default)]
struct Form {
    file: Option<(String, Bytes)>,
    subfolder: String,
    kind: Option<String>,
    overwrite: bool,
}

pub(crate) async fn image(
    State(server): State<Arc<Server>>,
    form: Result<Multipart, MultipartRejection>,
) -> Response {
    let Ok(form) = form else {
        return StatusCode::BAD_REQUEST.into_response();
    };
    let Some(form) = read(form).await else {
        return StatusCode::BAD_REQUEST.into_response();
    };
    let Some((name, bytes)) = form.file.filter(|(name, _)| !name.is_empty()) else {
        return StatusCode::BAD_REQUEST.into_response();
    };
    let kind = form.kind.unwrap_or_else(|| "input".to_owned());
    let Some(root) = server.folders.of(&kind) else {
        return trouble();
    };
    let Some(folder) = folders::inside(&root, &form.subfolder) else {
        return StatusCode::BAD_REQUEST.into_response();
    };
    let Some(mut path) = folders::inside(
        &root,
        &Path::new(&form.subfolder).join(&name).to_string_lossy(),
    ) else {
        return StatusCode::BAD_REQUEST.into_response();
    };
    let mut stored = name.clone();
    for copy in 1.. {
        match tokio::fs::read(&path).await {
            Ok(present) if !form.overwrite && present != bytes => {
                let (stem, ending) = name
                    .rsplit_once('.')
                    .map_or((name.as_str(), String::new()), |(stem, end)| {
                        (stem, format!(".{end}"))
                    });
                stored = format!("{stem} ({copy}){ending}");
                path.set_file_name(&stored);
            }
            _ => break,
        }
    }
    if tokio::fs::create_dir_all(&folder).await.is_err()
        || tokio::fs::write(&path, &bytes).await.is_err()
    {
        return trouble();
    }
    Json(json!({"name": stored, "subfolder": form.subfolder, "type": kind})).into_response()
}

async fn read(mut form: Multipart) -> Option<Form> {
    let mut read = Form::default();
    while let Some(field) = form.next_field().await.ok()? {
        match field.name() {
            Some("image") => {
                let name = field.file_name().unwrap_or_default().to_owned();
                read.file = Some((name, field.bytes().await.ok()?));
            }
            Some("subfolder") => read.subfolder = field.text().await.ok()?,
            Some("type") => read.kind = Some(field.text().await.ok()?),
            Some("overwrite") => {
                read.overwrite = ["true", "1"].contains(&field.text().await.ok()?.as_str())
            }
            _ => {}
        }
    }
    Some(read)
}
