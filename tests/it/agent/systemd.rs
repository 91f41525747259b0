//! What systemd hears: ready although Redis is away, the watchdog fed, stopping.

use super::super::support::{Agent, PATIENCE, free_port};
use tokio::net::UnixDatagram;

struct Systemd {
    socket: UnixDatagram,
    heard: String,
}

impl Systemd {
    async fn hears(&mut self, word: &str) {
        let listening = async {
            let mut buffer = [0; 4096];
            while !self.heard.lines().any(|line| line == word) {
                let length = self.socket.recv(&mut buffer).await.unwrap();
                self.heard += &String::from_utf8_lossy(&buffer[..length]);
                self.heard += "\n";
            }
        };
        let heard = tokio::time::timeout(PATIENCE, listening).await;
        assert!(heard.is_ok(), "{word} is not among: {}", self.heard);
    }
}

#[tokio::test]
async fn systemd_hears_ready_watchdog_and_stopping_while_redis_is_away() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notify");
    let mut systemd = Systemd { socket: UnixDatagram::bind(&path).unwrap(), heard: String::new() };
    let env = [("NOTIFY_SOCKET", path.to_str().unwrap()), ("WATCHDOG_USEC", "300000")];
    let mut agent = Agent::spawn_at(&format!("redis://127.0.0.1:{}/", free_port()), "unit", &env);
    systemd.hears("READY=1").await;
    systemd.hears("WATCHDOG=1").await;
    systemd.heard.clear();
    systemd.hears("WATCHDOG=1").await;
    assert!(!systemd.heard.contains("STOPPING"));
    agent.signal("TERM");
    systemd.hears("STOPPING=1").await;
    assert_eq!(agent.ended().await, Some(0), "{}", agent.log());
}

#[tokio::test]
async fn without_a_watchdog_nothing_is_fed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notify");
    let mut systemd = Systemd { socket: UnixDatagram::bind(&path).unwrap(), heard: String::new() };
    let redis = format!("redis://127.0.0.1:{}/", free_port());
    let mut agent = Agent::spawn_at(&redis, "unit", &[("NOTIFY_SOCKET", path.to_str().unwrap())]);
    systemd.hears("READY=1").await;
    agent.signal("TERM");
    systemd.hears("STOPPING=1").await;
    assert_eq!(agent.ended().await, Some(0));
    assert!(!systemd.heard.contains("WATCHDOG"), "{}", systemd.heard);
}
