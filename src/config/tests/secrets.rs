//! Secrets are shown nowhere: not by `show`, not in reports, not by `Debug`.
//! In: sources with secrets. Out: nothing.

use super::super::mask::mask_url;
use super::{file, from_env, load_env, load_file, shown};
use crate::config::{Sources, check_text, load, show_json, show_text};
use secrecy::ExposeSecret;

const WORD: &str = "hunter2";

#[test]
fn a_good_configuration_shows_none() {
    let sources = from_env(&[
        ("HUB_REDIS_URL", "redis://user:hunter2@host:6379/1"),
        ("COMFYUI_URL", "http://me:hunter2@gpu:8188,http://gpu2:8188"),
        ("COMFYUI_PASSWORD", WORD),
        ("COMFYUI_API_KEY", WORD),
        ("A1111_PASSWORD", WORD),
        ("OPENAI_API_KEY", WORD),
        ("HUB_AUTH_TOKEN", WORD),
        ("OUTPUT_STORE", "s3://pictures"),
        ("AWS_ACCESS_KEY_ID", "me"),
        ("AWS_SECRET_ACCESS_KEY", WORD),
        ("AWS_SESSION_TOKEN", WORD),
        ("AZURE_STORAGE_KEY", WORD),
    ]);
    let loaded = load(&sources).unwrap();
    assert_eq!(loaded.config.redis.url.expose_secret(), "redis://user:hunter2@host:6379/1");
    assert_eq!(shown(&loaded, "HUB_REDIS_URL").0.as_deref(), Some("redis://user:***@host:6379/1"));
    assert_eq!(shown(&loaded, "COMFYUI_URL").0.as_deref(), Some("http://me:***@gpu:8188,http://gpu2:8188"));
    assert_eq!(shown(&loaded, "COMFYUI_PASSWORD").0.as_deref(), Some("***"));
    for text in [
        show_text(&loaded),
        show_json(&loaded).to_string(),
        format!("{loaded:?}"),
        format!("{sources:?}"),
        check_text(&Ok(loaded.clone())),
    ] {
        assert!(!text.contains(WORD), "{text}");
    }
}

#[test]
fn a_report_shows_none() {
    for text in [
        "HUB_REDIS_URL=redis://:hunter2@\n",
        "HUB_REDIS_URL=http://:hunter2@host\n",
        "HUB_REDIS_URL=:hunter2@host\n",
        "HUB_REDIS_URL=redis://:hun/hunter2@ho st\n",
        "HUB_REDIS_URL=redis://:a@hunter2@host:x\n",
        "HUB_REDIS_URL=redis://host/zero?password=hunter2\n",
        "HUB_REDIS_URL=redis://:hunter2@a\nREDIS_URL=redis://:hunter2@b\n",
        "HUB_REDIS_URL=redis://a\n:hunter2@b=\n",
        "OUTPUT_STORE=s3://me:hunter2@bucket\n",
        "OUTPUT_PUBLIC_URL=https://cdn?sig=hunter2\n",
        "AWS_ENDPOINT_URL=https://me:hunter2@h\n",
        "COMFYUI_URL=http://me:hunter2@h/path\n",
        "COMFYUI_URL=me:hunter2@h\n",
        "COMFYUI_URL=http://me:a,hunter2@h,http://b\n",
        "COMFYUI_URL=http://h?token=hunter2\n",
        "COMFYUI_URL=http://me:hunter2@h\nCOMFYUI_USERNAME=you\n",
        "COMFYUI_URL=http://me:hunter2@h\nCOMFYUI_HOST=x\n",
        "COMFYUI_HOST=me:hunter2@h\n",
        "COMFYUI_PASSWORD=one\nWORKER_COMFYUI_PASSWORD=hunter2\n",
        "COMFYUI_PASSWORD=\"hunter2\n\"\n",
        "COMFYUI_PASSWORD='hunter2\n",
        "COMFYUI_WS_URL=http://me:hunter2@h\n",
        "hunter2\n",
        "hunter2 and=so on\n",
        "UNKNOWN_NAME=hunter2\n",
    ] {
        let report = load_file(text).expect_err(text);
        assert!(!report.to_string().contains(WORD), "{text}: {report}");
        assert!(!format!("{report:?}").contains(WORD), "{text}: {report:?}");
    }
}

#[test]
fn addresses_are_masked() {
    for (text, masked) in [
        ("redis://host:6379", "redis://host:6379"),
        ("redis://:word@host", "redis://:***@host"),
        ("redis://user:word@host/0", "redis://user:***@host/0"),
        ("redis://word@host", "redis://***@host"),
        ("redis://:a@b@host", "redis://:***@host"),
        ("redis+unix:///run/redis.sock?db=1&pass=x", "redis+unix:///run/redis.sock?***"),
        ("word@host", "***@host"),
        ("host", "host"),
        ("", ""),
    ] {
        assert_eq!(mask_url(text), masked);
    }
}

#[test]
fn show_gives_values_and_places() {
    let (_folder, path) = file("REGION=eu\nNODE_ENV=x\n");
    let loaded = load(&Sources { env_file: Some(path.clone()), ..Sources::default() }).unwrap();
    let text = show_text(&loaded);
    let line = |name: &str| text.lines().find(|line| line.starts_with(name)).unwrap().to_string();
    assert!(line("REGION ").ends_with(&format!("{}:1", path.display())), "{text}");
    assert!(line("LEASE_SECONDS ").ends_with("default"), "{text}");
    assert!(line("warning: ").contains("NODE_ENV"), "{text}");
    let json = show_json(&loaded);
    let entry = json["variables"].as_array().unwrap().iter().find(|entry| entry["name"] == "REGION").unwrap();
    assert_eq!(entry["value"], "eu");
    assert_eq!(entry["from"], "file");
    assert_eq!(entry["line"], 1);
    assert_eq!(json["warnings"].as_array().unwrap().len(), 1);
}

#[test]
fn check_says_ok_or_why_not() {
    assert_eq!(check_text(&load_env(&[])), "ok\n");
    let warned = check_text(&load_env(&[("NODE_ENV", "x")]));
    assert!(warned.starts_with("warning: environment: NODE_ENV: retired") && warned.ends_with("\nok\n"), "{warned}");
    let refused = check_text(&load_env(&[("MAX_STALLS", "x")]));
    assert!(refused.starts_with("the configuration has a fault:\n  environment: MAX_STALLS: "), "{refused}");
}
