//! The check of a GPU before it may work again, by a child process: a hang or a crash of CUDA costs the agent nothing.
//! In: the card. Out: how it went, within a deadline.

use crate::hardware::{Checked, Gpu, Vendor};
use std::ffi::OsString;
use std::process::Stdio;
use std::time::Duration;
use tokio::process::Command;

/// CUDA takes seconds to come up on a machine with many cards.
const DEADLINE: Duration = Duration::from_secs(60);
/// This very program, also after its file was replaced.
const MYSELF: &str = "/proc/self/exe";
/// The child loads NVIDIA's libraries; of the configuration, which holds passwords, it needs nothing.
const KEPT: [&str; 3] = ["PATH", "HOME", "LD_LIBRARY_PATH"];

/// Makes the card show that it works.
pub(super) async fn check(gpu: &Gpu) -> Checked {
    let unit = gpu.mig.iter().find_map(|instance| instance.uuid.as_ref()).or(gpu.uuid.as_ref());
    let (Vendor::Nvidia, Some(uuid)) = (gpu.vendor, unit) else {
        return Checked::CannotTell("only NVIDIA cards can be asked".into());
    };
    let mut myself = Command::new(MYSELF);
    myself.arg("check-gpu");
    ask(myself, uuid, DEADLINE).await
}

async fn ask(mut child: Command, uuid: &str, deadline: Duration) -> Checked {
    let kept = |name: &str| -> Option<(OsString, OsString)> { Some((name.into(), std::env::var_os(name)?)) };
    child.env_clear().envs(KEPT.into_iter().filter_map(kept)).env("CUDA_VISIBLE_DEVICES", uuid);
    child.stdin(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true);
    match tokio::time::timeout(deadline, child.output()).await {
        Ok(Ok(output)) => {
            let said = String::from_utf8_lossy(&output.stdout);
            serde_json::from_str(said.trim()).unwrap_or_else(|_| match output.status.code() {
                Some(code) => Checked::CannotTell(format!("the check ended with code {code}")),
                None => Checked::Failed(format!("the check was ended by a signal ({})", output.status)),
            })
        }
        Ok(Err(error)) => Checked::CannotTell(format!("the check could not be started: {error}")),
        Err(_) => Checked::Failed(format!("no answer within {} s", deadline.as_secs())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn asked(script: &str, deadline: Duration) -> Checked {
        let mut child = Command::new("sh");
        child.args(["-c", script]);
        ask(child, "GPU-1", deadline).await
    }

    #[tokio::test]
    async fn a_check_that_hangs_or_crashes_has_failed() {
        let hanging = asked("exec sleep 1000", Duration::from_millis(50)).await;
        assert_eq!(hanging, Checked::Failed("no answer within 0 s".into()));
        let crashing = asked("kill -SEGV $$", DEADLINE).await;
        assert!(matches!(&crashing, Checked::Failed(why) if why.contains("signal")), "{crashing:?}");
    }

    #[tokio::test]
    async fn a_check_that_cannot_be_made_says_nothing_about_the_card() {
        for checked in [asked("exit 3", DEADLINE).await, ask(Command::new("/nonexistent"), "GPU-1", DEADLINE).await] {
            assert!(matches!(&checked, Checked::CannotTell(_)), "{checked:?}");
        }
    }

    #[tokio::test]
    async fn the_child_sees_one_card_and_nothing_of_the_configuration() {
        let script = r#"[ "$CUDA_VISIBLE_DEVICES" = GPU-1 ] && [ -z "$CARGO_MANIFEST_DIR" ] && echo '"passed"'"#;
        assert_eq!(asked(script, DEADLINE).await, Checked::Passed);
    }
}
