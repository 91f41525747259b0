//! Hardware discovery, against a stand-in NVML and made-up kernel files.
//! In: nothing. Out: each state as the agent sees it.

mod cards;
mod driver;
mod files;
mod machine;

pub use machine::compile;

use gpu_worker::config::DeclaredHardware;
use gpu_worker::hardware::{self, GpuHealth, Sampler, Settings};

#[tokio::test]
async fn simulated_cards_stand_on_the_real_host() {
    let mut settings = Settings::new("/", DeclaredHardware::default());
    settings.simulated = Some((2, 24.0));
    let sampler = Sampler::start(settings).unwrap();
    let inventory = sampler.inventory().await;
    assert_eq!((inventory.units().len(), inventory.host.cpu_cores > 0, inventory.host.disk.is_some()), (2, true, true));
    // Spawned, because a web handler needs a future that can move between threads.
    let sample = tokio::spawn(async move { sampler.sample().await }).await.unwrap();
    assert_eq!(sample.gpus[1].metrics.memory_free_bytes, Some(24 << 30));
}

#[tokio::test]
async fn a_script_can_take_a_card_away() {
    let (script, read) = tokio::sync::watch::channel(hardware::simulated(1, 24.0));
    let sampler = Sampler::scripted(read);
    assert_eq!(sampler.inventory().await.units().len(), 1);
    script.send_modify(|inventory| inventory.gpus[0].health = GpuHealth::Lost);
    assert_eq!(sampler.inventory().await.units().len(), 0);
}
