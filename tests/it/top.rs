//! `gpu-worker top` beside a real agent: one picture as text, and the live one on a real terminal.
//! In: agents, pseudo-terminals. Out: what is printed, what is painted, and that the terminal is given back.

use super::dashboard::{address, agent};
use super::support::{Agent, Queue, RedisServer, cli_at, command, until};
use rustix::fs::{Mode, OFlags};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcgetattr, tcsetwinsize};
use std::fs::File;
use std::io::{Read, Write};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};

const JOB: &str = r#"{"service_required":"simulation","payload":{"steps":2,"step_ms":1,"outputs":1}}"#;
const BAD_JOB: &str = r#"{"service_required":"simulation","payload":{"steps":"many"},"max_retries":"0"}"#;

async fn submitted(server: &RedisServer, job: &str) -> String {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("job.json");
    std::fs::write(&file, job).unwrap();
    let output = cli_at(&server.url, &[], &["submit", file.to_str().unwrap(), "--json"]).await;
    let told: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    told["job_id"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn one_picture_of_a_real_agent_is_understood_whole() {
    let server = RedisServer::start().await;
    let (_agent, at) = agent(&server, "w1", &[]).await;
    let (good, bad) = (submitted(&server, JOB).await, submitted(&server, BAD_JOB).await);
    let queue = Queue::of(&server);
    queue.reaches(&good, "completed").await;
    queue.reaches(&bad, "failed").await;
    let url = format!("http://{at}");
    let env = [("LANG", "C.UTF-8")];
    let text = until("both jobs are in the picture", || async {
        let output = cli_at(&server.url, &env, &["top", &url, "--once"]).await;
        assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
        let text = String::from_utf8(output.stdout).unwrap();
        (text.contains(&good) && text.contains(&bad)).then_some(text)
    })
    .await;
    for word in [
        "idle",
        "heartbeat",
        "answers in",
        "w1",
        "simulation",
        "1 completed",
        "healthy",
        "nothing waits",
        "→ ",
        "slot w1",
    ] {
        assert!(text.contains(word), "{word:?} is missing:\n{text}");
    }
    assert!(!text.contains("not understood"), "{text}");
    assert!(!text.chars().any(|c| c.is_control() && c != '\n'), "{text:?}");
    println!("{text}");
}

#[tokio::test]
async fn the_agents_of_this_machine_are_found_and_none_is_said() {
    let server = RedisServer::start().await;
    // The first free port of the usual ones, as without any setting.
    let agent = Agent::start(&server, "here-is-w7", &[("WORKER_DASHBOARD_ENABLED", "true")]).await;
    address(&agent).await;
    let output = cli_at(&server.url, &[], &["top", "--once"]).await;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(text.contains("here-is-w7"), "{text}\n{}", String::from_utf8_lossy(&output.stderr));
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let output = cli_at(&server.url, &[], &["top", &nobody.to_string(), "--once"]).await;
    assert_eq!(output.status.code(), Some(69));
    assert!(String::from_utf8_lossy(&output.stderr).contains("connection refused"), "{output:?}");
}

/// A terminal, and `top` on it.
struct Terminal {
    master: File,
    slave: File,
    child: Child,
    painted: Arc<Mutex<Vec<u8>>>,
    before: String,
    _folder: tempfile::TempDir,
}

impl Terminal {
    fn open(server: &RedisServer, at: SocketAddr) -> Self {
        Self::with(server, at, &[])
    }

    fn with(server: &RedisServer, at: SocketAddr, more: &[(&str, &str)]) -> Self {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        let name = ptsname(&master, Vec::new()).unwrap();
        let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
        let slave = File::from(rustix::fs::open(&name, flags, Mode::empty()).unwrap());
        size(&slave, 80, 24);
        let before = settings(&slave);
        let folder = tempfile::tempdir().unwrap();
        let env = [&[("TERM", "xterm-256color"), ("LANG", "C.UTF-8")], more].concat();
        let program = command(&server.url, folder.path(), &env);
        // A session of its own, so that this terminal is the one that it hears of.
        let mut child = Command::new("setsid");
        child.arg("--ctty").arg(program.get_program()).args(program.get_args()).args(["top", &format!("http://{at}")]);
        child.env_clear().current_dir(folder.path());
        child.envs(program.get_envs().filter_map(|(name, value)| Some((name, value?))));
        let end = || Stdio::from(slave.try_clone().unwrap());
        let child = child.stdin(end()).stdout(end()).stderr(end()).spawn().expect("setsid, of util-linux");
        let painted = Arc::new(Mutex::new(Vec::new()));
        let (master, sink) = (File::from(master), painted.clone());
        let mut reader = master.try_clone().unwrap();
        std::thread::spawn(move || {
            let mut part = [0; 4096];
            while let Ok(read @ 1..) = reader.read(&mut part) {
                sink.lock().unwrap().extend_from_slice(&part[..read]);
            }
        });
        Self { master, slave, child, painted, before, _folder: folder }
    }

    fn raw(&self) -> String {
        String::from_utf8_lossy(&self.painted.lock().unwrap()).into_owned()
    }

    /// Waits until this stands on the screen.
    async fn shows(&self, text: &str) {
        until(&format!("{text:?} is shown"), || async { screen(&self.raw()).contains(text).then_some(()) }).await;
    }

    /// Waits for the end; answers how the terminal differs from before.
    async fn ended(&mut self) -> (Option<i32>, bool) {
        let child = std::cell::RefCell::new(&mut self.child);
        let code = until("top ends", || async { child.borrow_mut().try_wait().unwrap() }).await.code();
        until("the terminal is given back", || async { self.raw().contains("\x1b[?1049l").then_some(()) }).await;
        (code, settings(&self.slave) == self.before && self.raw().contains("\x1b[?25h"))
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn settings(terminal: &File) -> String {
    format!("{:?}", tcgetattr(terminal).unwrap())
}

fn size(terminal: &File, columns: u16, rows: u16) {
    tcsetwinsize(terminal, Winsize { ws_col: columns, ws_row: rows, ws_xpixel: 0, ws_ypixel: 0 }).unwrap();
}

/// What stands on the screen: signs that move the cursor and those that clear are followed, colours are not.
fn screen(raw: &str) -> String {
    let mut lines = vec![vec![' '; 200]; 60];
    let (mut row, mut column) = (0, 0);
    let mut chars = raw.chars();
    while let Some(c) = chars.next() {
        if c == '\x1b' {
            let mut numbers = String::new();
            let end = chars.by_ref().skip(1).find(|c| {
                numbers.push(*c);
                c.is_ascii_alphabetic()
            });
            let mut numbers = numbers.split([';', 'H']).map(|text| text.parse().unwrap_or(1_usize) - 1);
            match end {
                Some('H') => (row, column) = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0)),
                Some('J') => lines.iter_mut().for_each(|line| line.fill(' ')),
                _ => {}
            }
        } else if let Some(cell) = lines.get_mut(row).and_then(|line| line.get_mut(column)) {
            *cell = c;
            column += 1;
        }
    }
    lines.iter().map(|line| line.iter().collect::<String>() + "\n").collect()
}

#[tokio::test]
async fn a_real_agent_is_seen_live_and_q_leaves_the_terminal_as_it_was() {
    let server = RedisServer::start().await;
    let (_agent, at) = agent(&server, "w1", &[]).await;
    let mut terminal = Terminal::open(&server, at);
    terminal.shows("Ready and idle").await;
    assert!(terminal.raw().starts_with("\x1b[?1049h"), "{:?}", terminal.raw());
    assert_ne!(settings(&terminal.slave), terminal.before, "keys come one by one");
    submitted(&server, JOB).await;
    terminal.shows("completed").await;
    size(&terminal.slave, 160, 50);
    terminal.shows("nothing waits").await;
    terminal.master.write_all(b"q").unwrap();
    assert_eq!(terminal.ended().await, (Some(0), true));
}

/// A job that goes on and on, in steps that can be seen.
const LONG_JOB: &str = r#"{"service_required":"simulation","payload":{"steps":100000,"step_ms":20,"outputs":0}}"#;

#[tokio::test]
async fn progress_is_seen_moving_and_keys_pause_resume_drain_and_cancel_after_a_question() {
    let server = RedisServer::start().await;
    let queue = Queue::of(&server);
    let (agent, at) = agent(&server, "w1", &[]).await;
    // As the agent's user, who may read the token that it made.
    let mut terminal = Terminal::with(&server, at, &[("HOME", agent.folder.path().to_str().unwrap())]);
    terminal.shows("Ready and idle").await;
    let id = submitted(&server, LONG_JOB).await;
    let step = || {
        let shown = screen(&terminal.raw());
        let (before, _) = shown.split_once(" of 100000")?;
        before.rsplit_once("step ")?.1.parse::<u64>().ok()
    };
    let first = until("a step is seen", || async { step() }).await;
    until("a later step is seen", || async { step().filter(|now| *now > first) }).await;
    terminal.master.write_all(b"p").unwrap();
    terminal.shows("may claim no more jobs; one job still runs").await;
    assert_eq!(server.hget("worker:w1:control", "state").await.as_deref(), Some("paused"));
    terminal.master.write_all(b"r").unwrap();
    terminal.shows("may claim jobs again").await;
    assert_eq!(server.hget("worker:w1:control", "state").await.as_deref(), Some("running"));
    terminal.master.write_all(b"d").unwrap();
    terminal.shows("drains: one job still runs").await;
    assert_eq!(server.hget("worker:w1:control", "state").await.as_deref(), Some("draining"));
    terminal.master.write_all(b"r").unwrap();
    terminal.shows("may claim jobs again").await;
    // Narrow, tiny, huge: it goes on, and asks there too.
    for (columns, rows, seen) in
        [(40, 12, &["1 in 1 slot", " % "][..]), (20, 5, &["too small"]), (200, 60, &["nothing waits", "healthy"])]
    {
        size(&terminal.slave, columns, rows);
        let is_fitted = |shown: &str| {
            let frame = shown.lines().find(|line| line.starts_with('┌')).map(|line| line.trim_end().chars().count());
            frame == Some(usize::from(columns)) || columns < 40
        };
        let seen = async || {
            let shown = screen(&terminal.raw());
            (is_fitted(&shown) && seen.iter().all(|text| shown.contains(text))).then_some(())
        };
        until(&format!("{columns} x {rows} is filled"), seen).await;
    }
    terminal.master.write_all(b"c").unwrap();
    terminal.shows(&format!("Cancel job {id}?")).await;
    terminal.master.write_all(b"n").unwrap();
    terminal.shows("nothing was done").await;
    assert_eq!(queue.field(&id, "status").await, "in_progress");
    terminal.master.write_all(b"c").unwrap();
    terminal.shows(&format!("Cancel job {id}?")).await;
    terminal.master.write_all(b"y").unwrap();
    queue.reaches(&id, "cancelled").await;
    terminal.shows("cancelled").await;
    terminal.master.write_all(b"q").unwrap();
    assert_eq!(terminal.ended().await, (Some(0), true));
}

#[tokio::test]
async fn a_locked_agent_is_told_from_one_that_does_not_answer() {
    let server = RedisServer::start().await;
    let (_agent, at) = agent(&server, "w1", &[("WORKER_DASHBOARD_TOKEN", "0123456789abcdef0123")]).await;
    let mut terminal = Terminal::open(&server, at);
    terminal.shows("locked").await;
    terminal.shows("--token-file").await;
    assert!(!screen(&terminal.raw()).contains("no answer"), "{}", screen(&terminal.raw()));
    terminal.master.write_all(b"q").unwrap();
    assert_eq!(terminal.ended().await, (Some(0), true));
}

#[tokio::test]
async fn one_picture_into_a_pipe_that_is_closed_ends_quietly() {
    let server = RedisServer::start().await;
    let (_agent, at) = agent(&server, "w1", &[]).await;
    let folder = tempfile::tempdir().unwrap();
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let mut top = tokio::process::Command::from(command(&server.url, folder.path(), &[]));
    top.args(["top", &format!("http://{at}")]).stdin(Stdio::null()).stdout(writer).stderr(Stdio::piped());
    let output = top.kill_on_drop(true).spawn().unwrap().wait_with_output().await.unwrap();
    assert_eq!((output.status.code(), String::from_utf8_lossy(&output.stderr).as_ref()), (Some(0), ""));
}

#[tokio::test]
async fn signals_and_ctrl_c_give_the_terminal_back_too() {
    let server = RedisServer::start().await;
    let (agent, at) = agent(&server, "w1", &[]).await;
    for end in ["ctrl-c", "TERM", "INT", "HUP"] {
        let mut terminal = Terminal::open(&server, at);
        terminal.shows("Ready and idle").await;
        if end == "ctrl-c" {
            terminal.master.write_all(b"\x03").unwrap();
        } else {
            let status = Command::new("kill").args([&format!("-{end}"), &terminal.child.id().to_string()]).status();
            assert!(status.unwrap().success());
        }
        assert_eq!(terminal.ended().await, (Some(0), true), "after {end}");
    }
    // And where the agent goes away the picture stays, and says so.
    let mut terminal = Terminal::open(&server, at);
    terminal.shows("Ready and idle").await;
    drop(agent);
    terminal.shows("STALE since").await;
    terminal.shows("connection refused; trying again").await;
    terminal.master.write_all(b"q").unwrap();
    assert_eq!(terminal.ended().await, (Some(0), true));
}
