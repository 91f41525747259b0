//! Which fields of a graph an input goes to, what suits them, and what files are called on the way.

use super::*;
use serde_json::json;
use std::path::Path;

fn plan(payload: &Value) -> Result<Vec<(String, Vec<String>)>, Failure> {
    let graph = Graph::read(payload)?;
    let fields = |fields: Vec<Field>| fields.iter().map(|field| format!("{}.{}", field.node, field.input)).collect();
    Ok(wanted(payload, &graph)?.into_iter().map(|wanted| (wanted.source, fields(wanted.fields))).collect())
}

fn node(class: &str, inputs: Value) -> Value {
    json!({ "class_type": class, "inputs": inputs })
}

#[test]
fn a_name_goes_wherever_it_stands_alone_and_a_url_where_a_loader_wants_a_file() {
    let payload = json!({
        "inputs": { "photo.png": "https://host/a", "sound": { "base64": "aGk=" } },
        "workflow": {
            "1": node("LoadImage", json!({ "image": "photo.png", "upload": "image" })),
            "2": node("LoadImageMask", json!({ "image": "{{photo.png}}", "channel": "alpha" })),
            "3": node("LoadAudio", json!({ "audio": "{{ sound }}" })),
            "4": node("VHS_LoadVideo", json!({ "video": "https://host/b.mp4", "link": ["1", 0] })),
            "5": node("LoadVideo", json!({ "file": "output:job-1/c.mp4" })),
            "6": node("LoadImage", json!({ "image": "data:image/png;base64,aGk=" })),
            "7": node("VHS_LoadVideo", json!({ "video": "https://host/b.mp4" })),
            // No file is expected in any of these.
            "8": node("CLIPTextEncode", json!({ "text": "like photo.png, see https://host/a" })),
            "9": node("LoadImageFromUrl", json!({ "image": "https://host/c" })),
            "10": node("LoadImageBase64", json!({ "image": "data:image/png;base64,aGk=" })),
            "11": node("SaveText", json!({ "file": "https://host/d" })),
            "12": node("LoadImage", json!({ "image": "here.png", "comment": "https://host/e" })),
        },
    });
    let expected = [
        ("data:image/png;base64,aGk=", vec!["6.image"]),
        ("https://host/b.mp4", vec!["4.video", "7.video"]),
        ("output:job-1/c.mp4", vec!["5.file"]),
        ("https://host/a", vec!["1.image", "2.image"]),
        ("data:;base64,aGk=", vec!["3.audio"]),
    ];
    let expected =
        expected.map(|(source, fields)| (source.to_owned(), fields.into_iter().map(str::to_owned).collect()));
    assert_eq!(plan(&payload).unwrap(), expected);
}

#[test]
fn a_payload_that_is_the_graph_itself_may_name_urls() {
    let payload = json!({ "1": node("LoadImage", json!({ "image": "http://host/a.png" })) });
    assert_eq!(plan(&payload).unwrap(), [("http://host/a.png".to_owned(), vec!["1.image".to_owned()])]);
}

#[test]
fn inputs_that_make_no_sense_are_refused_by_name() {
    let graph = json!({ "1": node("LoadImage", json!({ "image": "photo" })) });
    for (inputs, reason) in [
        (json!(["https://host/a"]), Reason::InvalidFormat),
        (json!({ "photo": "a.png" }), Reason::InvalidFormat),
        (json!({ "photo": { "path": "/etc/passwd" } }), Reason::InvalidFormat),
        (json!({ "photo": 7 }), Reason::InvalidFormat),
        (json!({ "": "https://host/a" }), Reason::InvalidFormat),
        (json!({ "photo": "https://host/a", "foto": "https://host/b" }), Reason::InvalidPayload),
    ] {
        let failure = plan(&json!({ "workflow": graph, "inputs": inputs })).unwrap_err();
        assert_eq!(failure.reason, reason, "{inputs}: {failure}");
    }
    let nodes =
        (0..=MOST).map(|at| (at.to_string(), node("LoadImage", json!({ "image": format!("http://host/{at}") }))));
    let many = Value::Object(nodes.collect());
    assert_eq!(plan(&many).unwrap_err().reason, Reason::InvalidPayload);
}

#[test]
fn kinds_suit_their_loaders() {
    let suits = |class: &str, input: &str, media_type: &str| {
        let field = Field { node: "1".to_owned(), class: class.to_owned(), input: input.to_owned() };
        suits(&field, media_type).is_ok()
    };
    for (class, input, good, bad) in [
        ("LoadImage", "image", "image/png", "video/mp4"),
        ("LoadImageMask", "mask", "image/webp", "application/octet-stream"),
        ("LoadAudio", "audio", "audio/x-flac", "image/png"),
        ("LoadAudio", "audio", "video/mp4", "text/html"),
        ("VHS_LoadVideo", "video", "video/webm", "image/png"),
        ("VHS_LoadVideo", "video", "image/gif", "audio/mpeg"),
        ("LoadVideo", "file", "video/mp4", "text/html"),
    ] {
        assert!(suits(class, input, good) && !suits(class, input, bad), "{class}");
    }
    assert!(suits("LoadLatent", "latent", "application/octet-stream"));
}

struct Odd;

impl Input for Odd {
    fn path(&self) -> &Path {
        Path::new("/")
    }
    fn bytes(&self) -> u64 {
        1
    }
    fn sha256(&self) -> &str {
        "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
    }
    fn media_type(&self) -> &str {
        "image/png"
    }
}

#[test]
fn file_names_are_plain_and_not_longer_than_file_systems_take() {
    let job = |id: &str| crate::conformance::job(id, "comfyui", Value::Null);
    assert_eq!(file_name(&job("job-1_x"), &Odd, "https://host/ä.jpg"), "job-1_x-0123456789abcdef.png");
    assert_eq!(file_name(&job("../ü j"), &Odd, ""), "j-0123456789abcdef.png");
    assert!(file_name(&job(&"a".repeat(500)), &Odd, "").len() < 80);
}
