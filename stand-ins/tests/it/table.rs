//! Every recording, and how it is replayed against the stand-in of its release.
//! In: `tests/recordings`. Out: one test per release that names each difference, and one that no recording is left out.

use std::path::PathBuf;

use serde_json::Value;
use stand_ins::comfyui::{Options, Release, StandIn};

use crate::player::Player;

enum Way {
    /// Every step is sent and compared.
    Whole,
    /// As `Whole` on the server that these were played on before: it leans on their cache, files or history.
    After(&'static [&'static str]),
    /// Independent branches run in any order, so node ids are not compared.
    AnyBranch,
    /// Prompts were submitted faster than they ran, so queue lengths in `status` messages are a matter of speed.
    AnyLength,
    /// Runs of many independent branches: messages are compared node by node, after the recordings named.
    Blocks,
    /// Cannot be replayed as it stands; why, and the test that checks its facts instead.
    Instead {
        why: &'static str,
        test: &'static str,
    },
}
use Way::{After, AnyBranch, AnyLength, Blocks, Instead, Whole};

const NEW: &[(&str, Way)] = &[
    (
        "body-size-limit",
        Instead {
            why: "the body of 101 MiB was cut out",
            test: "oddities::body_size_limit",
        },
    ),
    ("cached-name-reused-after-cleanup", Whole),
    ("checkpoint-broken-file", AnyBranch),
    ("client-chosen-prompt-id", Whole),
    ("extra-data-round-trip", Whole),
    ("feature-flags-not-first", Whole),
    ("free-clears-node-cache", Whole),
    ("info-endpoints", After(&["view-variants", "output-kinds"])),
    ("interrupt-by-prompt-id", Whole),
    ("interrupt-global", Whole),
    ("interrupt-misses", Whole),
    ("interrupt-node-that-never-polls", Whole),
    ("jobs-cancel", After(&["free-clears-node-cache"])),
    ("ksampler-run", AnyBranch),
    ("lost-answer-to-submission", Whole),
    ("no-client-id", Whole),
    ("node-exits-process", Whole),
    ("output-kinds", Blocks),
    ("preview-frames-legacy", Whole),
    ("preview-frames-with-metadata", Whole),
    ("prompt-validation-errors", Whole),
    ("queue-several-clients", After(&["success-first-run"])),
    (
        "queue-to-history-gap",
        Instead {
            why: "a summary without steps",
            test: "oddities::queue_to_history_gap",
        },
    ),
    (
        "race-history-after-success",
        Instead {
            why: "a summary without steps",
            test: "oddities::race_history_after_success",
        },
    ),
    ("runtime-error-exception", Whole),
    ("runtime-error-out-of-memory", Whole),
    ("runtime-error-two-branches", AnyBranch),
    ("server-frozen-mid-run", Whole),
    ("server-killed-mid-run", Whole),
    ("server-sigint-mid-run", Whole),
    ("server-sigterm-mid-run", Whole),
    (
        "slow-reader-blocks-everybody",
        Instead {
            why: "the socket that does not read was not recorded",
            test: "oddities::slow_reader_blocks_everybody",
        },
    ),
    ("success-first-run", Whole),
    (
        "success-identical-resubmission-cached",
        After(&["success-first-run"]),
    ),
    ("success-partly-cached", After(&["success-first-run"])),
    ("upload-image-and-load", Whole),
    ("view-variants", Whole),
    ("ws-late-subscriber", Whole),
    (
        "ws-ping-pong",
        Instead {
            why: "control frames were only summed up",
            test: "oddities::ws_ping_pong",
        },
    ),
    ("ws-reconnect-mid-run", Whole),
    ("ws-second-socket-same-client-id", Whole),
    ("ws-without-client-id", Whole),
];

const OLD: &[(&str, Way)] = &[
    ("client-chosen-prompt-id", Whole),
    ("feature-flags-not-first", Whole),
    ("free-clears-node-cache", Whole),
    ("info-endpoints", Whole),
    ("interrupt-by-prompt-id", Whole),
    ("interrupt-global", Whole),
    ("interrupt-misses", Whole),
    ("interrupt-node-that-never-polls", Whole),
    ("jobs-cancel", Whole),
    ("no-client-id", Whole),
    ("output-kinds", Blocks),
    ("preview-frames-legacy", Whole),
    ("preview-frames-with-metadata", Whole),
    ("prompt-validation-errors", AnyLength),
    ("queue-several-clients", After(&["success-first-run"])),
    ("runtime-error-exception", Whole),
    ("runtime-error-out-of-memory", Whole),
    ("runtime-error-two-branches", AnyBranch),
    ("success-first-run", Whole),
    (
        "success-identical-resubmission-cached",
        After(&["success-first-run"]),
    ),
    ("success-partly-cached", After(&["success-first-run"])),
    ("ws-late-subscriber", Whole),
    ("ws-reconnect-mid-run", Whole),
    ("ws-second-socket-same-client-id", Whole),
    ("ws-without-client-id", Whole),
];

fn folder(release: Release) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("tests/recordings")
        .join(release.version())
}

fn read(release: Release, name: &str) -> Value {
    let bytes = std::fs::read(folder(release).join(format!("{name}.json"))).expect("a recording");
    serde_json::from_slice(&bytes).expect("JSON")
}

fn options(release: Release, name: &str) -> Options {
    let mut options = Options {
        release,
        ..Options::default()
    };
    let checkpoints: &[&str] = match name {
        "checkpoint-broken-file" => &["broken.safetensors", "tiny-sd15-random.safetensors"],
        "prompt-validation-errors" if release == Release::V0_27_0 => &[],
        _ => &["tiny-sd15-random.safetensors"],
    };
    options.models.insert(
        "checkpoints".to_owned(),
        checkpoints.iter().map(|name| (*name).to_owned()).collect(),
    );
    if name == "cached-name-reused-after-cleanup" {
        options.cached_graphs = 20;
    }
    options
}

async fn replay(release: Release, name: &'static str, way: &Way) -> Vec<String> {
    let server = StandIn::start(options(release, name))
        .await
        .expect("a stand-in");
    let before: &[&str] = if let After(before) = way { before } else { &[] };
    let mut differences = vec![];
    for part in before.iter().chain([&name]) {
        let mut player = Player::new(&server);
        player.names.any_branch = matches!(way, AnyBranch);
        player.names.any_length = matches!(way, AnyLength);
        player.blocks = matches!(way, Blocks) || *part == "output-kinds";
        player.play(&read(release, part)).await;
        differences.extend(
            player
                .differences
                .drain(..)
                .map(|difference| format!("{} {part}: {difference}", release.version())),
        );
    }
    server.stop().await;
    differences
}

async fn replay_all(release: Release, rows: &'static [(&'static str, Way)]) {
    let mut replays = tokio::task::JoinSet::new();
    for (name, way) in rows {
        if !matches!(way, Instead { .. })
            && std::env::var("REPLAY").map_or(true, |only| only == *name)
        {
            replays.spawn(async move { replay(release, name, way).await });
        }
    }
    let differences: Vec<String> = replays.join_all().await.concat();
    assert!(
        differences.is_empty(),
        "{} differences:\n{}",
        differences.len(),
        differences.join("\n")
    );
}

#[tokio::test]
async fn recordings_of_0_27_0_replayed() {
    replay_all(Release::V0_27_0, NEW).await;
}

#[tokio::test]
async fn recordings_of_0_3_64_replayed() {
    replay_all(Release::V0_3_64, OLD).await;
}

#[test]
fn no_recording_is_left_out() {
    for (release, rows) in [(Release::V0_27_0, NEW), (Release::V0_3_64, OLD)] {
        let files = std::fs::read_dir(folder(release))
            .expect("recordings")
            .flatten()
            .map(|file| file.file_name().to_string_lossy().replace(".json", ""));
        let mut files: Vec<String> = files.collect();
        files.sort();
        let listed: Vec<String> = rows.iter().map(|(name, _)| (*name).to_owned()).collect();
        assert_eq!(files, listed, "{}", release.version());
        for (name, way) in rows {
            if let Instead { why, test } = way {
                let source = include_str!("oddities.rs");
                let function = test.trim_start_matches("oddities::");
                assert!(
                    !why.is_empty() && source.contains(&format!("async fn {function}(")),
                    "{name} is checked by no test"
                );
            }
        }
    }
}
