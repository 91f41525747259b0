// What the page can ask of the agent, and how it says what came of it.
// In: a click or a key. Out: one POST, asked about first where it destroys work; its answer as a line that is read out.

import { h, render } from "./dom.js";
import { command, icon } from "./parts.js";
import { panel, state, touch } from "./store.js";
import { poll } from "./live.js";

const UNHEARD = "The agent is not heard: nothing was sent.";
const READ_ONLY = "This page is read-only: the agent was started with WORKER_DASHBOARD_READONLY=true.";
const pending = new Set();

export const allowed = () => Boolean(state.data) && !state.data.read_only && state.link.how !== "stale" && state.link.how !== "locked";
export const isPending = (action) => pending.has(action);

const path = ({ action, id }) => `/api/control/${action}${id === undefined ? "" : `/${encodeURIComponent(id)}`}`;

/** Asks if the action says so, sends, tells. */
export async function control(action) {
    const url = path(action);
    if (!state.data || pending.has(url)) return;
    if (state.data.read_only) return tell(READ_ONLY, "warn");
    if (state.link.how === "stale") return tell(UNHEARD, "warn", "see whether it runs: gpu-worker workers");
    if (action.off || (action.ask && !(await confirm(action)))) return;
    pending.add(url);
    touch("pending");
    try {
        const send = () => fetch(url, { method: "POST", signal: AbortSignal.timeout(20_000) });
        let answer = await send();
        if (answer.status === 401) {
            // An agent that was started anew has made another token: its page comes with the cookie for it.
            await fetch("/", { cache: "reload", signal: AbortSignal.timeout(20_000) });
            answer = await send();
        }
        const said = await answer.json().catch(() => ({}));
        if (answer.ok) tell(said.message ?? "Done.", "good");
        else if (answer.status === 401) unlock();
        else tell(said.error ?? `The agent refused (${answer.status}).`, "bad", said.remedy);
    } catch (error) {
        tell("The agent did not answer; it is not known whether it acted.", "bad", error.name === "TimeoutError" ? "see whether it is busy, then try again" : "see whether it runs: gpu-worker workers");
    } finally {
        pending.delete(url);
        touch("pending");
        if (state.link.how !== "live") poll();
    }
}

/** A button for it. What cannot be used now stays where the focus is, and says why. */
export function button(text, action, { name = "", label, key } = {}) {
    const url = path(action);
    const busy = pending.has(url);
    return h("button", {
        type: "button", key: key ?? url, class: `button ${name}`, "aria-disabled": !allowed() || busy || action.off ? "true" : null, "aria-busy": busy ? "true" : null,
        "aria-label": label, "aria-describedby": state.data?.read_only ? "read-only" : null, "aria-keyshortcuts": action.key ?? null, onclick: () => control(action),
    }, text);
}

export const readOnlyNote = () => state.data?.read_only && h("p", { id: "read-only", class: "note", key: "read-only" }, READ_ONLY);

/** The job that is asked about. */
let asked = null;

function confirm({ id, ask: { title, text, yes } }) {
    const dialog = document.getElementById("ask");
    return new Promise((resolve) => {
        const answer = (sure) => () => dialog.close(sure ? "yes" : "no");
        render(dialog,
            h("h2", { id: "ask-title" }, title),
            h("p", { id: "ask-text", role: "status" }, text),
            h("div", { class: "buttons" },
                h("button", { type: "button", class: "button", autofocus: true, key: "no", onclick: answer(false) }, "Keep it"),
                h("button", { type: "button", class: "button destroys", key: "yes", onclick: answer(true) }, yes)));
        dialog.onclose = () => {
            asked = null;
            resolve(dialog.returnValue === "yes");
        };
        dialog.returnValue = "no";
        asked = id;
        dialog.showModal();
    });
}

/** Nothing is left to ask: it is said, and nothing that is pressed now does anything. */
function endQuestion(slots, history) {
    const job = asked && slots?.map((slot) => slot.job).find((one) => one?.id === asked);
    if (!asked || (job && !job.cancelling)) return;
    const dialog = document.getElementById("ask");
    const how = { completed: "It was completed", failed: "It failed", cancelled: "It was cancelled" }[history?.find((one) => one.id === asked)?.state] ?? "It has ended";
    render(dialog,
        h("h2", { id: "ask-title" }, "Nothing to cancel any more"),
        h("p", { id: "ask-text", role: "status" }, job ? "Somebody else has cancelled it meanwhile." : `${how} meanwhile.`),
        h("div", { class: "buttons" }, h("button", { type: "button", class: "button", key: "no", onclick: () => dialog.close("no") }, "Close")));
    dialog.querySelector("button").focus();
}

/** How to get what POSTs need. */
export function unlock() {
    const dialog = document.getElementById("unlock");
    render(dialog,
        h("h2", { id: "unlock-title" }, "This browser may look, but not act yet"),
        h("p", null, "On the box, as the user that the agent runs as, this prints a link. Opened once in this browser, it lets it act:"),
        h("p", null, command("gpu-worker dashboard")),
        h("div", { class: "buttons" }, h("button", { type: "button", class: "button", onclick: () => dialog.close() }, "Close")));
    if (!dialog.open) dialog.showModal();
}

const told = [];
let count = 0;
const SHOWN_FOR = 8000;

/** A line at the foot of the page; what went wrong stays until it is put away. */
export function tell(text, tone, remedy) {
    const line = { id: (count += 1), text, tone, remedy };
    told.push(line);
    if (told.length > 3) told.shift();
    if (tone === "good") setTimeout(() => forget(line), SHOWN_FOR);
    show();
}

function forget(line) {
    const at = told.indexOf(line);
    if (at >= 0) told.splice(at, 1);
    show();
}

function show() {
    render(document.getElementById("told"),
        told.map((line) => h("div", { key: line.id, class: `told ${line.tone}` }, icon(line.tone),
            h("p", null, line.text, line.remedy && h("span", { class: "remedy" }, ` What to do: ${line.remedy}`)),
            h("button", { type: "button", class: "quiet", "aria-label": "Put this message away", onclick: () => forget(line) }, "✕"))));
}

/** Pause or resume, whichever would change something. */
export const pauseOrResume = () => (state.data?.worker?.desired === "run" ? { action: "pause", key: "p" } : { action: "resume", key: "p" });

panel(["worker", "link", "pending"], () => {
    const desired = state.data?.worker?.desired;
    const resume = desired && desired !== "run";
    render(document.getElementById("controls"),
        button(resume ? "Resume" : "Pause", pauseOrResume(), { name: resume ? "first" : "", key: "pause" }),
        button("Drain", { action: "drain", key: "d", off: desired === "drain" }),
        button("Re-probe", { action: "probe", key: "r" }));
    render(document.getElementById("read-only-note"), readOnlyNote());
});

panel(["slots", "jobs"], ({ data }) => endQuestion(data.slots, data.jobs?.history));
