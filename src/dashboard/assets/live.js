// Keeps the store fresh. In: /api/stream, or /api/snapshot where the stream does not get through. Out: the store, and how fresh it is.
//
//   stream ──nothing for 6 s, or broken──▶ polling every 2 s ──an event arrives──▶ stream
//                                             │ fails: stale since …, tried again
//                                             └ 401: locked, asks for the launch link

import { state, takeEvent, takeSnapshot, touch } from "./store.js";

const EVENTS = ["worker", "gpus", "slots", "queue", "jobs", "connectors", "loops", "stats", "system", "series", "point", "log", "job", "beat"];
/** Without an event for so long, a stream counts as blocked: some proxies hold it back without closing it. */
const SILENCE = 6000;
const POLL_EVERY = 2000;
const STALE_AFTER = 5000;
const REOPEN_MIN = 1000;
const REOPEN_MAX = 10_000;

let source = null;
let pause = REOPEN_MIN;
let streamHeard = 0;
let opened = 0;
let reopenAt = 0;
let etag = null;
let asking = false;
let asked = 0;

function become(how, why = null) {
    const { link } = state;
    if (link.how === how && link.why === why) return;
    Object.assign(link, { how, why, since: how === link.how ? link.since : Date.now() });
    touch("link");
}

function open() {
    source?.close();
    reopenAt = 0;
    opened = Date.now();
    source = new EventSource("/api/stream");
    const hear = (take) => (event) => {
        streamHeard = Date.now();
        pause = REOPEN_MIN;
        take(JSON.parse(event.data));
        become("live");
    };
    source.addEventListener("snapshot", hear(takeSnapshot));
    for (const name of EVENTS) source.addEventListener(name, hear((value) => takeEvent(name, value)));
    source.onerror = () => {
        // The browser's own retries end for ever at some answers (503 while the agent starts anew): retry by hand.
        source.close();
        streamHeard = 0;
        reopenAt = Date.now() + pause;
        pause = Math.min(pause * 2, REOPEN_MAX);
        tick();
    };
}

/** Asks for the whole picture at once: when the stream is silent, and after a control was used. */
export async function poll() {
    if (asking) return;
    asking = true;
    asked = Date.now();
    try {
        const headers = etag ? { "if-none-match": etag } : {};
        const answer = await fetch("/api/snapshot", { headers, cache: "no-store", signal: AbortSignal.timeout(5000) });
        if (answer.status === 401) return become("locked");
        if (answer.status === 304) {
            state.link.heard = Date.now();
        } else if (answer.ok) {
            etag = answer.headers.get("etag");
            takeSnapshot(await answer.json());
        } else {
            throw new Error(`the agent answered ${answer.status}`);
        }
        if (!streaming()) become("polling");
    } catch (error) {
        stale(error.name === "TimeoutError" ? "the agent does not answer in time" : error.message);
    } finally {
        asking = false;
    }
}

const streaming = () => Date.now() - streamHeard < SILENCE;

function stale(why) {
    const { heard } = state.link;
    if (!heard || Date.now() - heard > STALE_AFTER) become("stale", why);
}

function tick() {
    const at = Date.now();
    if (reopenAt && at >= reopenAt) open();
    if (streaming()) return;
    const waited = at - Math.max(opened, streamHeard) > SILENCE || reopenAt > 0;
    if (waited && at - asked >= POLL_EVERY - 50) poll();
    if (state.link.how !== "locked") stale(state.link.why);
}

export function start() {
    open();
    setInterval(tick, 500);
    // A laptop that was asleep, a tab that was put aside: do not wait for timers that were slowed down.
    const wake = () => {
        if (document.visibilityState === "visible" && !streaming()) {
            pause = REOPEN_MIN;
            open();
            poll();
        }
    };
    addEventListener("online", wake);
    document.addEventListener("visibilitychange", wake);
}
