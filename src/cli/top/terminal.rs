//! The terminal: taken, painted on, given back as it was, whatever happens.
//! In: painted buffers. Out: what differs from the last one; keys.
//!
//! It is given back when this is dropped, and by the hook of a panic before its message is written. Signals that end the
//! program are heard by the loop, which then ends and drops it.

use ratatui::Terminal;
use ratatui::backend::CrosstermBackend;
use ratatui::buffer::Buffer;
use ratatui::crossterm::cursor::Show;
use ratatui::crossterm::event::{self, Event};
use ratatui::crossterm::execute;
use ratatui::crossterm::terminal::{
    EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode, size,
};
use ratatui::layout::Rect;
use std::io::{self, Stdout};
use std::sync::Once;
use tokio::sync::mpsc::{Receiver, channel};

static HOOK: Once = Once::new();

/// The screen while it is ours.
pub(super) struct Screen {
    terminal: Terminal<CrosstermBackend<Stdout>>,
    shown: Option<Buffer>,
}

impl Screen {
    /// Takes the terminal.
    ///
    /// # Errors
    /// Standard output is none, or does not do what it is told.
    pub fn take() -> io::Result<Self> {
        HOOK.call_once(|| {
            let before = std::panic::take_hook();
            std::panic::set_hook(Box::new(move |panicked| {
                give_back();
                before(panicked);
            }));
        });
        enable_raw_mode()?;
        let entered = execute!(io::stdout(), EnterAlternateScreen);
        let terminal = entered.and_then(|()| Terminal::new(CrosstermBackend::new(io::stdout())));
        terminal.map(|terminal| Self { terminal, shown: None }).inspect_err(|_| give_back())
    }

    /// Its size now.
    pub fn area(&self) -> Rect {
        let (width, height) = size().unwrap_or((80, 24));
        Rect::new(0, 0, width, height)
    }

    /// Shows this; writes nothing where it is shown already.
    ///
    /// # Errors
    /// The terminal is gone.
    pub fn show(&mut self, painted: Buffer) -> io::Result<()> {
        if self.shown.as_ref() == Some(&painted) {
            return Ok(());
        }
        self.terminal.draw(|frame| {
            let target = frame.buffer_mut();
            // The size may have changed between painting and this.
            let both = target.area.intersection(painted.area);
            for (x, y) in both.positions().map(|at| (at.x, at.y)) {
                if let (Some(to), Some(from)) = (target.cell_mut((x, y)), painted.cell((x, y))) {
                    *to = from.clone();
                }
            }
        })?;
        self.shown = Some(painted);
        Ok(())
    }

    /// Forgets what is shown: somebody else has written there.
    ///
    /// # Errors
    /// The terminal is gone.
    pub fn clear(&mut self) -> io::Result<()> {
        self.shown = None;
        self.terminal.clear()
    }

    /// Gives the terminal back to the shell until this program is woken.
    ///
    /// # Errors
    /// The terminal is gone.
    pub fn suspend(&mut self) -> io::Result<()> {
        give_back();
        rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::TSTP)?;
        enable_raw_mode()?;
        execute!(io::stdout(), EnterAlternateScreen)?;
        self.clear()
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        give_back();
    }
}

/// As it was; nothing can be done about what does not work here.
fn give_back() {
    let _ = execute!(io::stdout(), LeaveAlternateScreen, Show);
    let _ = disable_raw_mode();
}

/// What is typed, and changes of size; ends with the terminal.
pub(super) fn events() -> Receiver<Event> {
    let (sender, receiver) = channel(64);
    // Reading blocks, and is not to keep the program: it ends with the process.
    std::thread::spawn(move || {
        while let Ok(event) = event::read() {
            if sender.blocking_send(event).is_err() {
                return;
            }
        }
    });
    receiver
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Command, Stdio};

    #[test]
    fn a_panic_gives_the_terminal_back_before_it_speaks() {
        let own = std::env::current_exe().unwrap();
        let name = "cli::top::terminal::tests::panics_on_a_terminal";
        let line = format!("{} --exact {name} --ignored --nocapture; stty -a", own.display());
        let mut script = Command::new("script");
        script.args(["-qec", &line, "/dev/null"]).stdin(Stdio::null());
        let said = String::from_utf8_lossy(&script.output().expect("script, of util-linux").stdout).into_owned();
        let at = |text: &str| said.find(text).unwrap_or_else(|| panic!("{text:?} is not in {said:?}"));
        assert!(at("\u{1b}[?1049h") < at("\u{1b}[?1049l"), "{said:?}");
        assert!(at("\u{1b}[?1049l") < at("on purpose"), "{said:?}");
        assert!(said.contains(" icanon") && said.contains(" echo "), "{said}");
    }

    #[test]
    #[ignore = "the test above runs it, on a terminal and in a process of its own"]
    fn panics_on_a_terminal() {
        let screen = Screen::take().unwrap();
        // As a panic that aborts, or one on another thread: nothing is dropped.
        std::mem::forget(screen);
        panic!("on purpose");
    }
}
