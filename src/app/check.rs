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
    let kept = |name: &str| -> Option<(OsString, OsString)> { Some((name.into(), std::env::var_os(name)?)) };
    let mut child = Command::new(MYSELF);
    child.arg("check-gpu").env_clear().envs(KEPT.into_iter().filter_map(kept)).env("CUDA_VISIBLE_DEVICES", uuid);
    child.stdin(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true);
    match tokio::time::timeout(DEADLINE, child.output()).await {
        Ok(Ok(output)) => {
            let said = String::from_utf8_lossy(&output.stdout);
            serde_json::from_str(said.trim()).unwrap_or_else(|_| match output.status.code() {
                Some(code) => Checked::CannotTell(format!("the check ended with code {code}")),
                None => Checked::Failed(format!("the check was ended by a signal ({})", output.status)),
            })
        }
        Ok(Err(error)) => Checked::CannotTell(format!("the check could not be started: {error}")),
        Err(_) => Checked::Failed(format!("no answer within {} s", DEADLINE.as_secs())),
    }
}
