//! NVIDIA's Xid numbers that this program knows: whose fault each one is, what to do, and when the card may work again.
//! In: a number. Out: its row.
//!
//! After NVIDIA's "Xid Errors" and "GPU Memory Error Management" (docs.nvidia.com/deploy). A number that is not here is told
//! and changes nothing.

/// What an Xid means for the card.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Course {
    /// The program on the card did something wrong, or was killed: the card is well.
    Application,
    /// The card may work again after a pause of so many seconds and a check.
    Pause(u64),
    /// The card needs a reset or a reboot: time does not mend it.
    Reset,
}

/// One row.
#[derive(Debug, PartialEq, Eq)]
pub struct Xid {
    /// As the kernel log shows it.
    pub number: u64,
    /// What follows.
    pub course: Course,
    /// Whether the job on the card is taken from it at once; else it may finish.
    pub hands_back: bool,
    /// A few words for a person.
    pub words: &'static str,
    /// What a person should do.
    pub remedy: &'static str,
}

const RESTART_APPLICATION: &str =
    "nothing if it stays rare; else look at what runs on the card (model, custom nodes, driver version)";
const RESET: &str = "stop this agent and what runs on the card, then `nvidia-smi --gpu-reset -i INDEX`, or reboot";
const RESET_OR_REPLACE: &str = "stop this agent and what runs on the card, then `nvidia-smi --gpu-reset -i INDEX`, or reboot; if it comes again have the card replaced";

/// The table, by number.
pub const XIDS: &[Xid] = &[
    row(13, Course::Application, "graphics engine exception in a program", RESTART_APPLICATION),
    row(31, Course::Application, "memory page fault in a program", RESTART_APPLICATION),
    row(43, Course::Application, "a program's channel was stopped", RESTART_APPLICATION),
    row(
        45,
        Course::Application,
        "a program's work was cleaned up early, mostly because it was killed",
        RESTART_APPLICATION,
    ),
    row(48, Course::Pause(600), "uncorrectable memory error (double-bit ECC)", RESET_OR_REPLACE),
    Xid {
        hands_back: false,
        ..row(63, Course::Pause(60), "memory repair recorded: it takes effect with the next reset", RESET)
    },
    row(64, Course::Reset, "memory repair could not be recorded", RESET_OR_REPLACE),
    row(
        74,
        Course::Pause(300),
        "NVLink error",
        "if it comes again look at the NVLink bridge or the fabric manager, reset the card, or reboot",
    ),
    row(
        79,
        Course::Reset,
        "fallen off the bus",
        "reboot; if it comes again look at power, seating and temperature of the card",
    ),
    row(
        94,
        Course::Pause(300),
        "contained memory error: the program that it hit has to be started again",
        RESTART_ENGINE,
    ),
    row(95, Course::Reset, "uncontained memory error", RESET_OR_REPLACE),
    row(119, Course::Reset, "the card's system processor (GSP) does not answer", RESET),
    row(120, Course::Reset, "the card's system processor (GSP) failed", RESET),
];

const RESTART_ENGINE: &str = "restart the engine on the card; at a convenient time reset the card";

const fn row(number: u64, course: Course, words: &'static str, remedy: &'static str) -> Xid {
    Xid { number, course, hands_back: true, words, remedy }
}

/// The row of a number.
pub fn xid(number: u64) -> Option<&'static Xid> {
    XIDS.iter().find(|row| row.number == number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_faults_fence_nothing_and_the_others_do() {
        let of = |wanted: fn(&Course) -> bool| {
            XIDS.iter().filter(|row| wanted(&row.course)).map(|row| row.number).collect::<Vec<_>>()
        };
        assert_eq!(of(|course| *course == Course::Application), [13, 31, 43, 45]);
        assert_eq!(of(|course| matches!(course, Course::Pause(_))), [48, 63, 74, 94]);
        assert_eq!(of(|course| *course == Course::Reset), [64, 79, 95, 119, 120]);
    }

    #[test]
    fn the_page_for_operators_shows_the_same_table() {
        let page = include_str!("../../docs/gpu-faults.md");
        for row in XIDS {
            let then = match row.course {
                Course::Application => "told, nothing fenced".to_owned(),
                Course::Pause(seconds) => format!("{} min, then the check", seconds / 60),
                Course::Reset => "a reset or reboot".to_owned(),
            };
            let job = match (row.course, row.hands_back) {
                (Course::Application, _) => "goes on",
                (_, true) => "handed back",
                (_, false) => "may finish",
            };
            let line = format!("| {} | {} | {job} | {then} |", row.number, row.words);
            assert!(page.contains(&line), "docs/gpu-faults.md lacks: {line}");
        }
    }
}
