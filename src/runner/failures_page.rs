//! The page about failures, written from the retry table.
//! In: the table. Out: the text of docs/failures.md; a test compares it with the file.

use super::retry::row;
use crate::protocol::outcome::{ASKED_PAUSE_MAX_MS, BACKOFF_MAX_MS, HAND_ONS_MAX, Verdict};
use connectors::failure::{FailureType, Reason};

const HEAD: &str = "\
# Failures

<!-- Written from the retry table; a test compares. To write it anew: UPDATE_DOCS=1 cargo test --lib failures_page -->

Every failed attempt has a type, a reason and a message. They are typed where the failure happens: from a status code, an
exception's class, an exact answer that was recorded from a running engine, an error of the operating system; never from words
that a message happens to hold.

| where | what it says |
|---|---|
| event `retry_scheduled` | `failure_type`, `failure_reason`, `error`, `will_retry` true, `due`, `charged` (false: a machine's fault, the job pays nothing) |
| event `failure` | the same with `will_retry` false |
| job hash, attestations | `failure_type`, `failure_reason`, `error` or `error_message` |
| `gpu-worker watch`, `jobs`, `jobs show` | the same, and the remedy |
| log | `attempt failed` with `kind`, `reason`, `remedy`, `then` |
| `/metrics` | `gpu_worker_jobs_failed_total{service,type,reason,end}` |

What happens next is decided in one table, by the reason:

";

const FOOT: &str = "
Two ends are written by nobody who ran the job:

| reason | type | what has happened | what to do |
|---|---|---|---|
| `worker_lost` | `system_error` | its workers died or fell silent more than `MAX_STALLS` times | see what they died of; `gpu-worker jobs replay ID` |
| none | none | another program ended the job in the hash | its message is in `error` |
";

/// docs/failures.md.
pub fn page() -> String {
    let mut page = HEAD.to_owned();
    let longest = BACKOFF_MAX_MS / 1000;
    let nexts = [
        ("never", "the job fails at once: asking again gets the same answer".to_owned()),
        (
            "again",
            format!(
                "another attempt, by any worker, after a pause that doubles from `RETRY_BACKOFF_MS` up to {longest} s; an \
                 engine's own pause counts if it is longer, up to {} min; `max_retries` attempts in all",
                ASKED_PAUSE_MAX_MS / 60_000
            ),
        ),
        (
            "elsewhere",
            format!(
                "the same, for {} min not by this worker if there is another; an engine's own pause counts up to {longest} s",
                longest * 4 / 60
            ),
        ),
        (
            "handed on",
            format!(
                "whatever the reason, where this machine is at fault (its engine is down, a model is missing or damaged \
                 here, its disk is full): an engine's own pause counts up to {longest} s, and no attempt is charged, up to \
                 {HAND_ONS_MAX} times; of an engine that ends while it works on the job only if the job was never handed on before; of a model that is missing \
                 here not counted while another live worker lists it"
            ),
        ),
    ];
    page += "| next | what that is |\n|---|---|\n";
    for (word, what) in nexts {
        page += &format!("| {word} | {what} |\n");
    }
    for kind in FailureType::ALL {
        page += &format!("\n## {kind}\n\n| reason | what has happened | next | what to do |\n|---|---|---|---|\n");
        for reason in Reason::ALL.iter().filter(|reason| reason.kind() == *kind) {
            let row = row(*reason);
            let next = match row.verdict {
                Verdict::Never => "never",
                Verdict::Retry => "again",
                Verdict::Elsewhere => "elsewhere",
                Verdict::Uncharged => "handed on",
            };
            page += &format!("| `{reason}` | {} | {next} | {} |\n", row.meaning, row.remedy);
        }
    }
    page + FOOT
}

#[cfg(test)]
mod tests {
    #[test]
    fn failures_page_is_what_the_table_says() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/failures.md");
        let page = super::page();
        if std::env::var_os("UPDATE_DOCS").is_some() {
            std::fs::write(path, &page).unwrap();
        }
        assert_eq!(
            std::fs::read_to_string(path).unwrap_or_default(),
            page,
            "UPDATE_DOCS=1 cargo test --lib failures_page"
        );
    }
}
