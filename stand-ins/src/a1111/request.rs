//! A generation request as the server reads it: numbers in texts are taken, what it does not know is dropped.
//! In: the body. Out: all fields with their defaults, as the answer echoes them; or a refusal with 422.

use super::lists;
use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value, json};

const WHOLE: &[&str] = &[
    "seed",
    "subseed",
    "seed_resize_from_h",
    "seed_resize_from_w",
    "batch_size",
    "n_iter",
    "steps",
    "width",
    "height",
    "firstphase_width",
    "firstphase_height",
    "hr_second_pass_steps",
    "hr_resize_x",
    "hr_resize_y",
    "resize_mode",
    "mask_blur_x",
    "mask_blur_y",
    "mask_blur",
    "inpainting_fill",
    "inpaint_full_res_padding",
    "inpainting_mask_invert",
];
const DECIMAL: &[&str] = &[
    "cfg_scale",
    "denoising_strength",
    "subseed_strength",
    "eta",
    "hr_scale",
    "image_cfg_scale",
    "initial_noise_multiplier",
    "refiner_switch_at",
];

/// The outermost object, or the refusal of what is none. An empty list counts as an empty object.
pub(crate) fn object(body: &[u8]) -> Result<Map<String, Value>, Box<Response>> {
    if body.is_empty() {
        return Err(refuse(json!({"loc": ["body"], "msg": "field required", "type": "value_error.missing"})));
    }
    match serde_json::from_slice(body) {
        Ok(Value::Object(fields)) => Ok(fields),
        Ok(Value::Array(list)) if list.is_empty() => Ok(Map::new()),
        Ok(_) => Err(refuse(json!({"loc": ["body"], "msg": "value is not a valid dict", "type": "type_error.dict"}))),
        Err(_) => {
            let why = "Expecting property name enclosed in double quotes";
            let doc = String::from_utf8_lossy(body);
            Err(refuse(json!({
                "loc": ["body", 1], "msg": format!("{why}: line 1 column 2 (char 1)"), "type": "value_error.jsondecode",
                "ctx": {"msg": why, "doc": doc, "pos": 1, "lineno": 1, "colno": 2},
            })))
        }
    }
}

fn refuse(fault: Value) -> Box<Response> {
    Box::new((StatusCode::UNPROCESSABLE_ENTITY, Json(json!({"detail": [fault]}))).into_response())
}

/// Every field of the request's kind.
pub(crate) fn read(kind: &str, sent: &Map<String, Value>) -> Result<Map<String, Value>, Box<Response>> {
    let mut fields = lists::object(kind);
    for (name, value) in sent {
        let Some(field) = fields.get_mut(name) else { continue };
        *field = if value.is_null() {
            Value::Null
        } else if WHOLE.contains(&name.as_str()) {
            let text = value.as_str().and_then(|text| text.trim().parse().ok());
            match value.as_i64().or(text).or_else(|| value.as_f64().map(|number| number as i64)) {
                Some(number) => json!(number),
                None => return Err(wrong(name, "integer")),
            }
        } else if DECIMAL.contains(&name.as_str()) {
            match value.as_f64().or_else(|| value.as_str()?.trim().parse().ok()) {
                Some(number) => json!(number),
                None => return Err(wrong(name, "float")),
            }
        } else {
            value.clone()
        };
    }
    Ok(fields)
}

fn wrong(name: &str, kind: &str) -> Box<Response> {
    refuse(
        json!({"loc": ["body", name], "msg": format!("value is not a valid {kind}"), "type": format!("type_error.{kind}")}),
    )
}
