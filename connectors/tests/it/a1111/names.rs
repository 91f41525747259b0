//! What jobs may ask for: the kinds of requests, names as people write them, scripts and extensions.
//! In: payloads. Out: what the server was asked, and what the result holds.

use super::{PNG, failure, fox, fox_with, run, stand_in, stand_in_with};
use connectors::failure::Reason;
use serde_json::{Value, json};
use stand_ins::a1111::{Options, StandIn};

fn request(server: &StandIn) -> Value {
    server.executions().last().unwrap().request.clone()
}

#[tokio::test]
async fn txt2img_gives_pictures_seeds_and_infotext() {
    let server = stand_in().await;
    let (ended, bench) = run(&server, fox_with(json!({ "n_iter": 2 }))).await;
    let outcome = ended.unwrap();
    assert_eq!(outcome.outputs.len(), 2);
    assert_ne!(outcome.outputs[0].sha256, outcome.outputs[1].sha256);
    assert!(
        bench
            .outputs
            .files()
            .iter()
            .all(|file| file.bytes.starts_with(b"\x89PNG") && file.bytes.ends_with(b"IEND\xAE\x42\x60\x82"))
    );
    assert_eq!((&*outcome.outputs[0].kind, &*outcome.outputs[0].media_type), ("images", "image/png"));
    assert_eq!(outcome.data["seeds"], json!([42, 43]));
    let text = outcome.data["infotexts"][0].as_str().unwrap();
    assert!(text.starts_with("a red fox\nSteps: 3, Sampler: Euler") && text.contains("Seed: 42"), "{text}");
    assert_eq!(outcome.data["version"], "v1.10.1");
    assert_eq!(outcome.data["task_id"], bench.ledger.ids()[0].as_str());
    assert!(["prepare_ms", "run_ms", "fetch_ms"].iter().all(|name| outcome.timings.contains_key(*name)));
}

#[tokio::test]
async fn a_random_seed_is_in_the_result() {
    let server = stand_in().await;
    let outcome = run(&server, fox_with(json!({ "seed": -1 }))).await.0.unwrap();
    assert!(outcome.data["seeds"][0].as_u64().is_some());
}

#[tokio::test]
async fn init_pictures_make_it_img2img_and_a_mask_inpainting() {
    let server = stand_in().await;
    let outcome = run(&server, fox_with(json!({ "init_images": [PNG], "denoising_strength": 0.5 }))).await.0.unwrap();
    assert_eq!(outcome.outputs[0].name, "img2img-1.png");
    assert!(outcome.data["infotexts"][0].as_str().unwrap().contains("Denoising strength: 0.5"));
    assert_eq!(server.asked("POST /sdapi/v1/img2img"), 1);
    let more = json!({ "mode": "inpaint", "init_images": [format!("data:image/png;base64,{PNG}")], "mask": PNG, "inpainting_fill": 1 });
    run(&server, fox_with(more)).await.0.unwrap();
    assert_eq!((&request(&server)["mask"], &request(&server)["inpainting_fill"]), (&json!(PNG), &json!(1)));
    for (more, reason) in [
        (json!({ "mode": "inpaint", "init_images": [PNG] }), Reason::MissingRequiredField),
        (json!({ "mode": "img2img" }), Reason::MissingRequiredField),
        (json!({ "init_images": [] }), Reason::MissingRequiredField),
        (json!({ "init_images": ["!!!not base64"] }), Reason::InvalidFormat),
    ] {
        assert_eq!(failure(run(&server, fox_with(more.clone())).await.0).reason, reason, "{more}");
    }
}

#[tokio::test]
async fn pictures_are_upscaled_alone_and_in_batches() {
    let server = stand_in().await;
    let one = json!({ "image": PNG, "upscaler_1": "Lanczos", "upscaling_resize": 2 });
    let (ended, bench) = run(&server, one).await;
    let outcome = ended.unwrap();
    assert_eq!(outcome.outputs[0].name, "upscale-1.png");
    assert_eq!(bench.outputs.files()[0].bytes[16..24], [0, 0, 0, 64, 0, 0, 0, 48]);
    assert_eq!(outcome.data["info"], "Postprocess upscale by: 2.0, Postprocess upscaler: Lanczos");
    let many =
        json!({ "mode": "upscale", "imageList": [PNG, { "data": PNG, "name": "../b.png" }], "upscaler_1": "Nearest" });
    assert_eq!(run(&server, many).await.0.unwrap().outputs.len(), 2);
    assert_eq!(request(&server)["imageList"][1]["name"], "2.png");
    for (payload, reason) in [
        (json!({ "image": PNG, "upscaler_1": "NoSuchUpscaler" }), Reason::ModelNotFound),
        (json!({ "image": PNG }), Reason::MissingRequiredField),
        (json!({ "mode": "upscale", "upscaler_1": "Lanczos" }), Reason::MissingRequiredField),
        (json!({ "imageList": [], "upscaler_1": "Lanczos" }), Reason::InvalidPayload),
        (json!({ "image": "", "upscaler_1": "Lanczos" }), Reason::InvalidFormat),
        (json!({ "image": PNG, "upscaler_1": "Lanczos", "upscaling_resize": 0 }), Reason::InvalidPayload),
    ] {
        assert_eq!(failure(run(&server, payload.clone()).await.0).reason, reason, "{payload}");
    }
}

#[tokio::test]
async fn names_are_sent_as_the_server_writes_them() {
    let server = stand_in().await;
    for (sampler, scheduler, sent) in [
        ("Euler", Value::Null, ("Euler", Value::Null)),
        ("k_euler_a", Value::Null, ("Euler a", Value::Null)),
        ("euler A", json!("karras"), ("Euler a", json!("Karras"))),
        ("DPM++ 2M Karras", Value::Null, ("DPM++ 2M", json!("Karras"))),
        ("DPM++ 2M SDE sgm_uniform", Value::Null, ("DPM++ 2M SDE", json!("SGM Uniform"))),
        ("DPM++ 2M Karras", json!("Simple"), ("DPM++ 2M", json!("Simple"))),
    ] {
        let outcome =
            run(&server, fox_with(json!({ "sampler_name": sampler, "scheduler": scheduler }))).await.0.unwrap();
        assert_eq!(
            (request(&server)["sampler_name"].as_str().unwrap(), request(&server)["scheduler"].clone()),
            sent,
            "{sampler}"
        );
        assert_eq!(outcome.data["sampler"], sent.0);
    }
    let mut older = fox_with(json!({ "sampler_index": "Heun" }));
    older.as_object_mut().unwrap().remove("sampler_name");
    assert_eq!(run(&server, older).await.0.unwrap().data["sampler"], "Heun");
}

#[tokio::test]
async fn scripts_and_controlnet_are_passed_through() {
    let server = stand_in_with(Options { extensions: vec!["ControlNet".into()], ..Options::default() }).await;
    let unit = json!({ "args": [{ "enabled": true, "image": PNG, "module": "canny", "model": "control_canny", "weight": 0.8 }] });
    let outcome = run(&server, fox_with(json!({ "alwayson_scripts": { "controlnet": unit } }))).await.0.unwrap();
    assert_eq!(request(&server)["alwayson_scripts"]["controlnet"], unit);
    assert_eq!(outcome.outputs.len(), 2, "the extension adds its map");
    run(&server, fox_with(json!({ "script_name": "Prompt Matrix", "script_args": [false] }))).await.0.unwrap();
    assert_eq!(
        (&request(&server)["script_name"], &request(&server)["script_args"]),
        (&json!("Prompt Matrix"), &json!([false]))
    );
    for more in [json!({ "script_name": "no such script" }), json!({ "alwayson_scripts": { "nope": { "args": [] } } })]
    {
        let failure = failure(run(&server, fox_with(more)).await.0);
        assert_eq!((failure.reason, failure.hosts_fault), (Reason::ComponentError, true));
    }
    let failure = failure(run(&server, fox_with(json!({ "script_name": "x/y/z plot" }))).await.0);
    assert_eq!(failure.reason, Reason::InvalidPayload);
    assert!(failure.message.contains("TypeError"), "{failure}");
}

#[tokio::test]
async fn hires_names_models_and_styles_are_checked() {
    let server = stand_in().await;
    let hires = json!({ "enable_hr": true, "hr_scale": 2, "hr_upscaler": "Latent", "hr_sampler_name": "Use same sampler",
                        "hr_checkpoint_name": "Use same checkpoint" });
    run(&server, fox_with(hires)).await.0.unwrap();
    run(&server, fox_with(json!({ "prompt": "a fox <lora:lineart:0.8>" }))).await.0.unwrap();
    run(&server, fox_with(json!({ "override_settings": { "sd_vae": "None" } }))).await.0.unwrap();
    for (more, reason) in [
        (json!({ "enable_hr": true, "hr_upscaler": "NoSuchUpscaler" }), Reason::ModelNotFound),
        (json!({ "hr_sampler_name": "nope" }), Reason::InvalidPayload),
        (json!({ "refiner_checkpoint": "nope" }), Reason::ModelNotFound),
        (json!({ "prompt": "a fox <lora:missing:1>" }), Reason::ModelNotFound),
        (json!({ "override_settings": { "sd_vae": "nope.pt" } }), Reason::ModelNotFound),
        (json!({ "styles": ["nope"] }), Reason::ComponentError),
    ] {
        assert_eq!(failure(run(&server, fox_with(more.clone())).await.0).reason, reason, "{more}");
    }
}

#[tokio::test]
async fn what_the_server_would_fail_on_is_refused_before() {
    let server = stand_in().await;
    for (more, reason) in [
        (json!({ "steps": 0 }), Reason::InvalidPayload),
        (json!({ "steps": -3 }), Reason::InvalidPayload),
        (json!({ "width": 0 }), Reason::InvalidPayload),
        (json!({ "n_iter": 0 }), Reason::InvalidPayload),
        (json!({ "batch_size": 20, "n_iter": 20 }), Reason::InvalidPayload),
        (json!({ "prompt": null }), Reason::MissingRequiredField),
        (json!({ "prompt": 7 }), Reason::InvalidFormat),
        (json!({ "mode": "dance" }), Reason::InvalidPayload),
        (json!({ "infotext": "Steps: 20" }), Reason::InvalidPayload),
        (json!({ "override_settings": [] }), Reason::InvalidFormat),
        (
            json!({ "sd_model_checkpoint": "a", "override_settings": { "sd_model_checkpoint": "b" } }),
            Reason::InvalidPayload,
        ),
        (json!({ "sd_model_checkpoint": 3 }), Reason::InvalidFormat),
    ] {
        assert_eq!(failure(run(&server, fox_with(more.clone())).await.0).reason, reason, "{more}");
    }
    assert_eq!(failure(run(&server, json!("a fox")).await.0).reason, Reason::InvalidPayload);
    assert!(server.requests().is_empty());
    run(&server, fox_with(json!({ "cfg_scale": null, "steps": "2", "force_task_id": "mine", "send_images": false })))
        .await
        .0
        .unwrap();
    assert!(
        request(&server)["force_task_id"].as_str().unwrap().starts_with("task(txt2img-"),
        "ids are the connector's"
    );
    assert_eq!(run(&server, fox()).await.0.unwrap().outputs.len(), 1);
}
