//! The table: what was taken out of which script, what is then done, and what must be found.
//! In: nothing. Out: its rows.

use crate::storm::tool::record::Wrong;

/// What is done with the broken scripts.
#[derive(Clone, Copy)]
pub enum Drive {
    /// Claimed, started, completed.
    Life,
    /// Two claims, one after the other.
    TwoClaims,
    /// The same, of two jobs in one class.
    TwoJobs,
    /// Whoever lost the job to another says this.
    Loser(&'static str),
    /// The holder says this, with a job that it holds in order.
    Holder(&'static str),
    /// The holder says this once more behind the end.
    Again(&'static str),
    /// A stranger takes the job over.
    Stranger,
    /// A tick, another claim behind it, and a tick when jobs are old.
    Ticks,
}

/// What was taken out: script, text, what stands there instead.
pub type Cut = (&'static str, &'static str, &'static str);

const NOT_MINE: &str = "if not mine(job, token, attempt, life) then return { 'lost', job.status } end\n";
const BLIND_TO_ENDS: Cut =
    ("prelude", "local function ended(job)\n", "local function ended(job)\n  if true then return nil end\n");
const HELD_IS_TRUE: Cut = (
    "prelude",
    "local function held(job, token)\n",
    "local function held(job, token)\n  if true then return true end\n",
);
const ANY_CLAIM_OF_THE_CLASS: Cut = (
    "claim",
    "    if job and job.status == 'pending' and job.class == class and job.life == job.created_at and not ended(job)\n      and redis.call('ZSCORE', PENDING, id) then",
    "    if job then",
);

pub const TABLE: &[(&str, &[Cut], Drive, &[Wrong])] = &[
    ("as they are: a life", &[], Drive::Life, &[]),
    ("as they are: two claims", &[], Drive::TwoClaims, &[]),
    ("as they are: two jobs", &[], Drive::TwoJobs, &[]),
    ("as they are: a loser completes", &[], Drive::Loser("complete"), &[]),
    ("as they are: a loser fails", &[], Drive::Loser("fail"), &[]),
    ("as they are: a loser renews", &[], Drive::Loser("renew"), &[]),
    ("as they are: a holder releases", &[], Drive::Holder("release"), &[]),
    ("as they are: a holder fails", &[], Drive::Holder("fail"), &[]),
    ("as they are: a holder is cancelled", &[], Drive::Holder("cancel"), &[]),
    ("as they are: completed twice", &[], Drive::Again("complete"), &[]),
    ("as they are: a stranger", &[], Drive::Stranger, &[]),
    ("as they are: ticks", &[], Drive::Ticks, &[]),
    (
        "complete does not look at the token",
        &[("complete", NOT_MINE, "")],
        Drive::Loser("complete"),
        &[Wrong::AcceptedFromLoser, Wrong::IndexLeft],
    ),
    (
        "complete does not look at the end",
        &[BLIND_TO_ENDS, ("complete", NOT_MINE, "")],
        Drive::Again("complete"),
        &[Wrong::EndedTwice, Wrong::AcceptedTwice],
    ),
    (
        "an end is not recorded",
        &[("prelude", "'final', state .. ' ' .. token .. ' ' .. job.created_at,\n    ", "")],
        Drive::Life,
        &[Wrong::EndUntold],
    ),
    (
        "an end is not told",
        &[("prelude", "  event(job, LAST_EVENT[state], extra, true)\n", "")],
        Drive::Life,
        &[Wrong::EndUntold],
    ),
    (
        "an end is told twice",
        &[(
            "prelude",
            "  event(job, LAST_EVENT[state], extra, true)\n",
            "  event(job, LAST_EVENT[state], extra, true)\n  event(job, LAST_EVENT[state], extra, true)\n",
        )],
        Drive::Life,
        &[Wrong::EndedTwice],
    ),
    (
        "leaving keeps the lease",
        &[("prelude", "  redis.call('ZREM', LEASES, id)\n  leave_class", "  leave_class")],
        Drive::Life,
        &[Wrong::LeaseLeft],
    ),
    (
        "leaving keeps the holder's entry",
        &[(
            "prelude",
            "  if job.worker_id and job.worker_id ~= '' then redis.call('HDEL', active_key(job.worker_id), id) end\nend",
            "end",
        )],
        Drive::Life,
        &[Wrong::IndexLeft],
    ),
    (
        "leaving keeps the class",
        &[("prelude", "  leave_class(id, job.class)\n  if job.worker_id", "  if job.worker_id")],
        Drive::Life,
        &[Wrong::IndexLeft],
    ),
    (
        "leaving keeps the head",
        &[(
            "prelude",
            "redis.call('ZREM', class_key(class), id) == 1 then update_head(class) end",
            "redis.call('ZREM', class_key(class), id) == 1 then return end",
        )],
        Drive::TwoJobs,
        &[Wrong::IndexMissing],
    ),
    ("claim leaves the job where it waited", &[("claim", "  leave(id, job)\n", "")], Drive::Life, &[Wrong::IndexLeft]),
    (
        "claim gives no lease",
        &[("claim", "  set_lease(id, worker, token, job, lease)\n", "")],
        Drive::Life,
        &[Wrong::NoLease],
    ),
    (
        "claim gives no lease, and an entry",
        &[("prelude", "  redis.call('ZADD', LEASES, int(NOW + lease), id)\n", "")],
        Drive::Life,
        &[Wrong::NoLease],
    ),
    (
        "claim ignores that somebody has it",
        &[("claim", "  leave(id, job)\n", ""), ANY_CLAIM_OF_THE_CLASS],
        Drive::TwoClaims,
        &[Wrong::IndexLeft, Wrong::TwoLive],
    ),
    (
        "renew does not look at the claim",
        &[("renew", "not mine(job, token, attempt, life)", "false")],
        Drive::Loser("renew"),
        &[Wrong::TwoLive],
    ),
    (
        "renew takes everybody for the holder",
        &[HELD_IS_TRUE],
        Drive::Loser("renew"),
        &[Wrong::WrittenByLoser, Wrong::IndexLeft],
    ),
    ("start takes everybody for the holder", &[HELD_IS_TRUE], Drive::Loser("start"), &[Wrong::WrittenByLoser]),
    ("progress takes everybody for the holder", &[HELD_IS_TRUE], Drive::Loser("progress"), &[Wrong::WrittenByLoser]),
    ("fail takes everybody for the holder", &[HELD_IS_TRUE], Drive::Loser("fail"), &[Wrong::TakenAway]),
    ("release takes everybody for the holder", &[HELD_IS_TRUE], Drive::Loser("release"), &[Wrong::TakenAway]),
    ("confirm takes everybody for the holder", &[HELD_IS_TRUE], Drive::Loser("confirm"), &[Wrong::WrittenByLoser]),
    (
        "adopt does not look at the worker",
        &[("adopt", " or worker_of(old) ~= worker ", " ")],
        Drive::Stranger,
        &[Wrong::TakenAway, Wrong::LeaseLeft, Wrong::IndexLeft],
    ),
    (
        "cancel ends what a live token holds",
        &[(
            "cancel",
            "if busy and job.claim and held(job, job.claim) and redis.call('ZSCORE', LEASES, id) then",
            "if false then",
        )],
        Drive::Holder("cancel"),
        &[Wrong::TakenAway],
    ),
    (
        "release puts the job nowhere",
        &[("release", "enqueue(id, job)\n", "")],
        Drive::Holder("release"),
        &[Wrong::IndexMissing],
    ),
    (
        "release does not put it into its class",
        &[("prelude", "    redis.call('ZADD', class_key(job.class), job.order, id)\n", "")],
        Drive::Holder("release"),
        &[Wrong::IndexMissing],
    ),
    (
        "fail puts the job nowhere",
        &[("fail", "redis.call('ZADD', DELAYED, int(due), id)\n", "")],
        Drive::Holder("fail"),
        &[Wrong::IndexMissing],
    ),
    ("progress is written behind the end", &[HELD_IS_TRUE], Drive::Again("progress"), &[Wrong::WrittenAfterEnd]),
    (
        "tick reaps a live lease",
        &[(
            "tick",
            "redis.call('ZRANGEBYSCORE', LEASES, '-inf', int(NOW),",
            "redis.call('ZRANGEBYSCORE', LEASES, '-inf', '+inf',",
        )],
        Drive::Ticks,
        &[Wrong::TakenAway, Wrong::TwoLive],
    ),
    (
        "tick deletes what has not ended",
        &[("tick", "local purged = 0\n", "local purged = 0\nredis.call('DEL', job_key('a'))\n")],
        Drive::Ticks,
        &[Wrong::Gone, Wrong::LeaseLeft],
    ),
];
