//! What the agent can be told to do.
//! In: a key on a chosen row. Out: the address to post to, the question that comes first, words for the status line.

/// An order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Order {
    Pause,
    Resume,
    Drain,
    /// Ask every engine now how it is.
    Probe,
    /// The job.
    Cancel(String),
    /// The job.
    Retry(String),
    /// The card's number.
    FreeVram(u32),
}

impl Order {
    /// Parts of the address below `/api/control`; whoever joins them writes what is no plain letter as `%xx`.
    pub fn path(&self) -> Vec<String> {
        let (word, of) = match self {
            Self::Pause => ("pause", None),
            Self::Resume => ("resume", None),
            Self::Drain => ("drain", None),
            Self::Probe => ("probe", None),
            Self::Cancel(job) => ("cancel-job", Some(job.clone())),
            Self::Retry(job) => ("retry-job", Some(job.clone())),
            Self::FreeVram(gpu) => ("free-vram", Some(gpu.to_string())),
        };
        [Some(word.to_owned()), of].into_iter().flatten().collect()
    }

    /// What is asked once before work is lost; what can be taken back is done at once.
    pub fn question(&self) -> Option<String> {
        match self {
            Self::Cancel(job) => Some(format!("Cancel job {job}? What it has done so far is lost.")),
            _ => None,
        }
    }

    /// While no answer has come.
    pub fn doing(&self) -> String {
        match self {
            Self::Pause => "pausing …".to_owned(),
            Self::Resume => "resuming …".to_owned(),
            Self::Drain => "draining …".to_owned(),
            Self::Probe => "asking the engines …".to_owned(),
            Self::Cancel(job) => format!("cancelling {job} …"),
            Self::Retry(job) => format!("giving {job} a new life …"),
            Self::FreeVram(gpu) => format!("freeing the memory of GPU {gpu} …"),
        }
    }
}
