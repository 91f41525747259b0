//! Every recording of AUTOMATIC1111, and how it is replayed against the stand-in.
//! In: `tests/recordings/a1111-1.10.1`. Out: a test that names each difference, and one that no recording is left out.

use super::player::Player;
use serde_json::Value;
use stand_ins::a1111::{Checkpoint, Options, StandIn};
use std::path::PathBuf;

enum Way {
    /// Every step is sent and compared.
    Whole,
    /// As `Whole` on the server that this was played on before: it leans on what that left there.
    After(&'static str),
    /// As `Whole` but for these paths, and why.
    Except(&'static [&'static str], &'static str),
    /// Cannot be replayed as it stands; why, and the test that checks its facts instead.
    Instead { why: &'static str, test: &'static str },
    /// The stand-in has nothing of the kind; why.
    Left(&'static str),
}
use Way::{After, Except, Instead, Left, Whole};

const PAGES: &str = "the web page's own, or texts of the machine";

const ALL: &[(&str, Way)] = &[
    ("api-auth", Whole),
    ("checkpoint-override", Whole),
    ("errors-no-checkpoint", Whole),
    ("failed-task-looks-active", Whole),
    ("generate-no-checkpoint", After("errors-no-checkpoint")),
    ("info-no-checkpoint", Except(&["/", "/openapi.json", "/internal/sysinfo"], PAGES)),
    ("info-nowebui", Except(&["/openapi.json"], PAGES)),
    ("info-with-checkpoint", Whole),
    ("interrupt-hits-whatever-runs", Whole),
    ("interrupt-running", Whole),
    (
        "many-waiting-requests-starve-the-api",
        Instead { why: "the sixty requests were left out", test: "faults::forty_waiting_requests_starve_the_api" },
    ),
    ("nowebui-run", Whole),
    ("options-wait-for-running-job", Whole),
    ("override-settings-leak", Whole),
    ("params-leniency", Whole),
    ("progress-with-preview", Whole),
    ("queue-and-disconnect", Whole),
    (
        "saved-file-recovery",
        Left("it is about files that the server stores under names of its own, and none are stored here"),
    ),
    ("saved-images-and-grid", Whole),
    ("server-killed-mid-run", Whole),
    ("server-sigterm-mid-run", Whole),
    ("skip-running", Whole),
    (
        "tools-without-model",
        Except(&["/sdapi/v1/png-info"], "reading texts out of pictures is nothing that jobs ask for"),
    ),
    ("txt2img-success", Whole),
];

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/recordings/a1111-1.10.1")
}

fn read(name: &str) -> Value {
    let bytes = std::fs::read(folder().join(format!("{name}.json"))).expect("a recording");
    serde_json::from_slice(&bytes).expect("JSON")
}

fn options(name: &str) -> Options {
    let checkpoint =
        |name: &str, sha256: &str| Checkpoint { name: name.to_owned(), sha256: sha256.to_owned(), used: false };
    let mut checkpoints = vec![
        checkpoint("tiny-a", "680696342d987b30e1b62c56eeefbdef1ec255de228c75d72c2023fae470c9f0"),
        checkpoint("tiny-b", "70017b1b26acabe45aba9ae0c263d1af6b4d35597fe52340ea8b55b7524e39c5"),
    ];
    match name {
        "errors-no-checkpoint" | "info-no-checkpoint" | "tools-without-model" => checkpoints.clear(),
        "info-nowebui" => checkpoints[1].used = true,
        _ => {}
    }
    Options {
        checkpoints,
        loras: vec![],
        nowebui: name.contains("nowebui"),
        server_stop: name.contains("nowebui"),
        login: (name == "api-auth").then(|| ("user".to_owned(), "secret".to_owned())),
        ..Options::default()
    }
}

async fn replay(name: &'static str, way: &Way) -> Vec<String> {
    let before = if let After(before) = way { Some(*before) } else { None };
    let server = StandIn::start(options(before.unwrap_or(name))).await.expect("a stand-in");
    let mut differences = vec![];
    for part in before.into_iter().chain([name]) {
        let mut player = Player::new(&server);
        if let Except(paths, _) = way {
            player.except = paths.to_vec();
        }
        player.login = (name == "api-auth").then_some(("user", "secret"));
        player.play(&read(part)).await;
        differences.extend(player.differences.drain(..).map(|difference| format!("{part}: {difference}")));
    }
    server.stop().await;
    differences
}

#[tokio::test]
async fn recordings_of_a1111_replayed() {
    let mut replays = tokio::task::JoinSet::new();
    for (name, way) in ALL {
        if matches!(way, Whole | After(_) | Except(..)) && std::env::var("REPLAY").map_or(true, |only| only == *name) {
            replays.spawn(async move { replay(name, way).await });
        }
    }
    let differences: Vec<String> = replays.join_all().await.concat();
    assert!(differences.is_empty(), "{} differences:\n{}", differences.len(), differences.join("\n"));
}

#[test]
fn no_recording_of_a1111_is_left_out() {
    let files = std::fs::read_dir(folder()).expect("recordings").flatten();
    let mut files: Vec<String> = files.map(|file| file.file_name().to_string_lossy().replace(".json", "")).collect();
    files.sort();
    let listed: Vec<String> = ALL.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(files, listed);
    for (name, way) in ALL {
        match way {
            Except(_, why) | Left(why) => assert!(!why.is_empty(), "{name}"),
            Instead { why, test } => {
                let function = test.trim_start_matches("faults::");
                let there = include_str!("faults.rs").contains(&format!("async fn {function}("));
                assert!(!why.is_empty() && there, "{name} is checked by no test");
            }
            Whole | After(_) => {}
        }
    }
}
