// Keeps the store fresh. In: /api/stream, or /api/snapshot where the stream does not get through. Out: the store, and how fresh it is.
//
//   stream ──quiet for 1.2 s, or broken──▶ asking ──answered twice, and no event between──▶ polling each second ──it flows again──▶ stream
//                                            │ └─answered: a broken stream is opened anew
//                                            ├ nothing heard for nearly 2 s: stale, with the time of what is shown; asked on
//                                            └ 401: locked, asks for the launch link

import { state, takeEvent, takeSnapshot, touch } from "./store.js";

const EVENTS = ["worker", "gpus", "slots", "queue", "connectors", "loops", "stats", "system", "point", "log", "job", "beat"];
/** The agent says something each half second: after so long without a word it is asked. */
const QUIET = 1200;
/** The first picture is waited for less long: there is nothing else to see. */
const FIRST = 600;
/** With the time that it takes to be shown: 2 s. */
const STALE = 1800;
const POLL_EVERY = 1000;
/** Between two questions to an agent that may be starting anew. */
const AGAIN = 500;
const ANSWER = 4000;
const TICK = 200;
/** A stream that was held back counts again when it has flowed for so long. */
const STEADY = 2000;
const REOPEN_MIN = 4000;
const REOPEN_MAX = 60_000;

let source = null;
// Times of the clock that no one sets; 0: never.
let opened = 0;
let flowed = 0;
let flowsSince = 0;
let heard = 0;
let asked = 0;
let ticked = 0;
/** Timers were held back until then. */
let held = 0;
/** When a question was answered while the stream said nothing. */
let answered = 0;
/** The stream does not get through although the agent answers; tried again at `reopenAt`. */
let blocked = false;
let reopenAt = 0;
let pause = REOPEN_MIN;
/** The last question was answered. */
let there = true;
let etag = null;
let asking = false;
/** What the last answer took: whoever has nothing but answers, over a slow line, hears all so much later. */
let took = 0;

const since = (at) => performance.now() - at;
const isOld = (at) => since(at) > STALE + (blocked ? Math.min(took, STALE) : 0);
const flows = () => flowed > 0 && since(flowed) < QUIET;

function become(how, why = null) {
    const { link } = state;
    if (link.how === how && link.why === why) return;
    Object.assign(link, { how, why });
    touch("link");
}

function open() {
    source?.close();
    opened = performance.now();
    flowed = 0;
    source = new EventSource("/api/stream");
    const hear = (take) => (event) => {
        const at = performance.now();
        if (at - flowed > QUIET) flowsSince = at;
        heard = flowed = at;
        answered = 0;
        take(JSON.parse(event.data), event.lastEventId);
        if (blocked && at - flowsSince < STEADY) return;
        blocked = false;
        pause = REOPEN_MIN;
        become("live");
    };
    source.addEventListener("snapshot", hear(takeSnapshot));
    for (const name of EVENTS) source.addEventListener(name, hear((value, id) => takeEvent(name, value, id)));
    source.onerror = () => {
        // The browser's own retries end for ever at some answers (503 while the agent starts anew): retry by hand.
        source.close();
        source = null;
        // Asked for because the agent answers, and refused all the same.
        if (answered && !flowed) block();
        flowed = 0;
        tick();
    };
}

function block() {
    blocked = true;
    reopenAt = performance.now() + pause;
    pause = Math.min(pause * 2, REOPEN_MAX);
}

/** Asks for the whole picture at once: when the stream is quiet, and after a control was used. */
export async function poll() {
    if (asking) return;
    asking = true;
    asked = performance.now();
    try {
        const headers = etag ? { "if-none-match": etag } : {};
        const answer = await fetch("/api/snapshot", { headers, cache: "no-store", signal: AbortSignal.timeout(ANSWER) });
        if (answer.status === 401) return become("locked");
        if (answer.ok) {
            const picture = await answer.json();
            etag = answer.headers.get("etag");
            takeSnapshot(picture, etag?.match(/"(.*)"/)?.[1]);
        } else if (answer.status !== 304) {
            throw new Error(`the agent answered ${answer.status}`);
        }
        state.link.heard = Date.now();
        hearAnswer();
    } catch (error) {
        there = blocked = false;
        answered = 0;
        if (isOld(heard)) become("stale", error.name === "TimeoutError" ? "the agent does not answer in time" : error.message);
    } finally {
        asking = false;
    }
}

function hearAnswer() {
    heard = performance.now();
    took = heard - asked;
    const came = !there;
    there = true;
    if (flows()) return;
    // Two answers apart, and the stream said nothing between: the agent is well, and something in between is not.
    if (source && answered && heard - answered > POLL_EVERY / 2 && !blocked) block();
    answered ||= heard;
    if (came || (!source && !blocked) || (blocked && heard >= reopenAt)) {
        if (blocked) block();
        open();
    }
    if (blocked) become("polling");
    else if (state.link.how !== "live") become("joining");
}

function tick() {
    // A tab that was put aside, a laptop that slept: what came meanwhile is still to be read, or must be asked for.
    if (since(ticked) > QUIET) held = performance.now();
    ticked = performance.now();
    const { how } = state.link;
    const every = !source && !blocked && how !== "locked" ? AGAIN : POLL_EVERY;
    const patient = source && since(opened) < (state.data ? QUIET : FIRST);
    if ((blocked || !flows()) && !patient && since(asked) >= every - TICK / 2) poll();
    if (isOld(Math.max(heard, held)) && how !== "locked") become("stale", state.link.why);
}

export function start() {
    ticked = held = performance.now();
    open();
    setInterval(tick, TICK);
    // Do not wait for timers that were slowed down.
    const wake = () => {
        if (document.visibilityState !== "visible" || flows()) return;
        open();
        poll();
    };
    addEventListener("online", wake);
    document.addEventListener("visibilitychange", wake);
}
