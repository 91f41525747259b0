//! The mark that tells the files of one attempt from those of all others.
//! In: a job and its prompt's id. Out: the end of its file prefixes; names without it.

use crate::contract::Job;

/// The end that every file prefix of this attempt gets: job, attempt, and enough of the prompt id to be unique.
pub(super) fn mark(job: &Job, prompt_id: &str) -> String {
    format!("{}{}-{}", mark_start(job), job.attempt, &mark_end(prompt_id))
}

/// The name without the mark, as the user chose it. The attempt may be an earlier one's.
pub(super) fn unmarked(name: &str, job: &Job, prompt_id: &str) -> String {
    let (start, end) = (mark_start(job), format!("-{}", mark_end(prompt_id)));
    let found = name.rfind(&start).and_then(|at| {
        let attempt = &name[at + start.len()..];
        let digits = attempt.find(&end)?;
        let is_mark = attempt[..digits].bytes().all(|byte| byte.is_ascii_digit());
        is_mark.then(|| format!("{}{}", &name[..at], &attempt[digits + end.len()..]))
    });
    found.unwrap_or_else(|| name.to_owned())
}

fn mark_start(job: &Job) -> String {
    // Ids are plain by contract and 128 long at most; file names end at 255 bytes.
    let id: String = job.id.chars().filter(|c| c.is_ascii_alphanumeric() || "-_".contains(*c)).take(48).collect();
    format!("_{id}-")
}

fn mark_end(prompt_id: &str) -> String {
    prompt_id.chars().take(8).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    #[test]
    fn a_mark_is_taken_off_again_and_nothing_else_is() {
        let prompt = "1a2b3c4d-0000-4000-8000-000000000000";
        let job = |id: &str, attempt| Job {
            id: id.to_owned(),
            attempt,
            service: String::new(),
            payload: Value::Null,
            ctx: Value::Null,
        };
        let marked = format!("fox{}_00001_.png", mark(&job("j-1", 3), prompt));
        assert_eq!(marked, "fox_j-1-3-1a2b3c4d_00001_.png");
        // An earlier attempt's file, taken up by a later one.
        assert_eq!(unmarked(&marked, &job("j-1", 4), prompt), "fox_00001_.png");
        assert_eq!(unmarked(&marked, &job("j-2", 3), prompt), marked);
        assert_eq!(unmarked("fox_j-1-x-1a2b3c4d.png", &job("j-1", 3), prompt), "fox_j-1-x-1a2b3c4d.png");
        let long = job(&"a".repeat(128), 1);
        assert!(mark(&long, prompt).len() < 70);
        assert_eq!(unmarked(&format!("ü{}.png", mark(&long, prompt)), &long, prompt), "ü.png");
    }
}
