//! What a program says of itself, and how long it is waited for what does not go.

use super::*;
use std::process::{Child, Command, Stdio};

/// Ended with all that is in its group.
struct Group(Child);

impl Group {
    fn of(command: &mut Command) -> Self {
        use std::os::unix::process::CommandExt;
        Self(command.process_group(0).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap())
    }

    fn pid(&self) -> Pid {
        Pid::from_child(&self.0)
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let _ = rustix::process::kill_process_group(self.pid(), Signal::KILL);
        let _ = self.0.wait();
    }
}

fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < Duration::from_secs(30), "{what}");
        std::thread::yield_now();
    }
}

#[test]
fn an_empty_environment_leaves_no_doubt_whose_a_program_is() {
    let helper = Group::of(Command::new("sleep").arg("600").env_clear());
    let program = Program::look(helper.pid().as_raw_nonzero().get()).unwrap();
    until("it says that it is not the run's", || program.bears("run-1") == Some(false));
    let of_run = Group::of(Command::new("sleep").arg("600").env_clear().env(VARIABLE, "run-1"));
    let program = Program::look(of_run.pid().as_raw_nonzero().get()).unwrap();
    until("it says that it is the run's", || program.bears("run-1") == Some(true));
}

#[test]
fn what_comes_back_over_and_over_is_given_up() {
    // A guard; its engine, which starts helpers of the run again as soon as they are gone, and does not bear the id itself.
    let engine = r#"run=run-; for _ in 1 2 3 4; do while :; do sh -c "sleep 600; : ${run}1"; done & done; wait; :"#;
    let guard = Group::of(Command::new("sh").args(["-c", "sh -c \"$0\"; :", engine]));
    until("it is there", || below(guard.pid()).iter().any(|program| program.bears("run-1") == Some(true)));
    assert!(!end(guard.pid(), "run-1").is_empty());
    until("and is again", || below(guard.pid()).iter().any(|program| program.bears("run-1") == Some(true)));
}
