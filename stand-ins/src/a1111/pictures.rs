//! An answer of a generation: its pictures, the grid before them, what extensions add, and the echo of the request.
//! In: what was sampled, and the facts of it. Out: the answer of 200 as the server writes it.

use super::base64;
use super::generate::{Run, UNFINISHED};
use super::info::Facts;
use super::options::Difference;
use crate::picture;
use axum::Json;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

impl Run<'_> {
    /// Width and height that are drawn: rounded down, whatever was asked for.
    pub(super) fn drawn(&self) -> (u32, u32) {
        let wide = u32::from(self.server.quirks().differs == Some(Difference::Size)) * 8;
        let (width, height) = (self.whole("width") as u32 / 8 * 8, self.whole("height") as u32 / 8 * 8);
        let hires = self.fields.get("enable_hr") == Some(&json!(true));
        let scale = if hires { self.fields["hr_scale"].as_f64().unwrap_or(2.0) } else { 1.0 };
        ((f64::from(width + wide) * scale) as u32, (f64::from(height) * scale) as u32)
    }

    pub(super) fn answer(&self, facts: &Facts<'_>, finished: &[bool]) -> Response {
        let (width, height) = self.drawn();
        let words = self.fields["prompt"].as_str().unwrap_or_default().bytes();
        let mix =
            words.chain(facts.checkpoint.name.bytes()).fold(7_u64, |mix, byte| mix * 31 % 0xff_fff1 + u64::from(byte));
        let mut pictures = Vec::new();
        for (number, whole) in finished.iter().enumerate() {
            let spread = (mix + facts.seed as u64 + number as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 40;
            let tint = if *whole { spread as u32 } else { UNFINISHED };
            let texts = [("parameters", facts.infotext(number))];
            pictures.push(picture::png(width, height, tint, &texts));
        }
        if self.server.quirks().differs == Some(Difference::Count) {
            pictures.pop();
        }
        let grid = self.is("save_images") && pictures.len() > 1;
        let info = facts.info(pictures.len(), usize::from(grid));
        if grid {
            let count = pictures.len() as u32;
            let rows = (1..=count.isqrt()).rev().find(|rows| count.is_multiple_of(*rows)).unwrap_or(1);
            let (columns, texts) = (count / rows, [("parameters", facts.infotext(0))]);
            pictures.insert(0, picture::png(width * columns, height * rows, 0x10_2030, &texts));
        }
        // The extension shows what it made of its input, behind the pictures.
        let always = self.fields["alwayson_scripts"].as_object();
        if always.is_some_and(|all| all.keys().any(|name| name.eq_ignore_ascii_case("controlnet"))) {
            pictures.push(picture::png(width, height, 0x0a_0b0c, &[]));
        }
        self.reply(&pictures, &info)
    }

    pub(super) fn reply(&self, pictures: &[Vec<u8>], info: &Value) -> Response {
        let mut pictures: Vec<String> = pictures.iter().map(|picture| base64::encode(picture)).collect();
        if self.server.quirks().garble_pictures {
            pictures.iter_mut().for_each(|picture| picture.insert(40, '?'));
        }
        if !self.is("send_images") {
            pictures.clear();
        }
        let mut echo = self.fields.clone();
        if self.kind == "img2img" && !self.is("include_init_images") {
            echo.insert("init_images".to_owned(), Value::Null);
            echo.insert("mask".to_owned(), Value::Null);
        }
        Json(json!({"images": pictures, "parameters": echo, "info": info.to_string()})).into_response()
    }
}
