// What runs now, slot by slot. In: slots. Out: progress by steps, time left, the picture as it sharpens, a way to cancel.

import { button } from "./controls.js";
import { h, render } from "./dom.js";
import { command, empty, facts, sign, time } from "./parts.js";
import { panel } from "./store.js";
import { about, known, number, plural } from "./words.js";

const STATES = { running: ["busy", "running"], idle: ["calm", "idle"], paused: ["hold", "paused"], drained: ["hold", "drained"], fenced: ["bad", "fenced"], no_store: ["bad", "cannot store"], waiting_for_engine: ["warn", "waits for its engine"] };
const STAGES = { waiting: "Waits in the engine's queue", working: "At work", fetching: "Fetches the results", unseen: "The engine does not show it at the moment" };
const IDLE = { idle: "Waits for a job that fits.", paused: "Takes nothing until it is resumed.", drained: "Takes nothing until it is resumed.", fenced: "Takes nothing until its GPU is fit again.", no_store: "Takes nothing until outputs can be stored.", waiting_for_engine: "Takes nothing until its engine answers again." };

/** What is at work, with its own count: "Step 19 of 30 in KSampler". The share beside the bar is that of the whole job. */
function doing(job) {
    const [done, of] = job.step ?? [];
    const [, part] = /^(.+): step \d+ of \d+$/.exec(job.message ?? "") ?? [];
    return of > 0 && part ? `Step ${number(done)} of ${number(of)} in ${part}` : job.message ?? STAGES[job.stage] ?? "At work";
}

function progress(job) {
    const [done, of] = job.step ?? [];
    const value = known(job.progress) ? Math.round(job.progress) : null;
    return h("div", { class: "progress", key: "progress" },
        h("div", { class: "bar", role: "progressbar", "aria-label": `Progress of job ${job.id}`, "aria-valuemin": 0, "aria-valuemax": 100, "aria-valuenow": value, "aria-valuetext": value === null ? null : `${value} % of the whole job` }, h("span", { style: { "--share": String((value ?? 0) / 100) } })),
        h("span", { class: "value" }, value === null ? "–" : `${value} %`, h("span", { class: "faint" }, " of the whole job")),
        of > 1 && h("div", { class: "steps", "aria-hidden": "true", key: "steps", style: { "--steps": String(Math.min(of, 60)), "--done": String(done / of) } }, h("span")));
}

function left(job) {
    if (job.cancelling) return "being cancelled";
    if (!known(job.eta_ms)) return job.started ? "not known yet" : null;
    return `${about(job.eta_ms)}${job.eta_from_runs ? `, from ${plural(job.eta_from_runs, "run")} like it` : job.eta_from === "pace" ? ", at this pace" : ""}`;
}

/** The picture of a job that has just ended is gone: no sign of a broken one in its place. */
const seen = (is) => ({ target }) => { target.style.visibility = is ? "" : "hidden"; };

function running(job) {
    const ask = { title: "Cancel this job?", text: `${job.service ?? "The job"} ${job.id} is ${Math.round(job.progress ?? 0)} % done. Its work so far is lost, and nobody runs it again.`, yes: "Cancel the job" };
    return [
        h("div", { class: "preview", key: "preview" }, job.preview
            ? h("img", { src: job.preview, alt: `The picture of job ${job.id} as it is now`, decoding: "async", key: "img", onload: seen(true), onerror: seen(false) })
            : h("span", { class: "none", key: "none" }, "no picture yet")),
        h("div", { class: "work", key: "work" },
            h("p", { class: "title" }, h("strong", null, job.service ?? "a job"), " ", h("span", { class: "mono faint" }, job.id)),
            progress(job),
            h("p", { class: "message" }, doing(job)),
            facts([["Left", left(job)], ["So far", time(job.started ?? job.claimed, "duration")], job.attempt > 1 && ["Attempt", number(job.attempt)], job.customer && ["Customer", job.customer], job.stage && job.stage !== "working" && job.message && ["Stage", (STAGES[job.stage] ?? job.stage).toLowerCase()]], "facts inline")),
        h("div", { class: "act", key: "act" }, button(job.cancelling ? "Cancelling" : "Cancel", { action: "cancel-job", id: job.id, ask, off: job.cancelling }, { name: "small destroys", label: `Cancel job ${job.id}` })),
    ];
}

panel(["slots", "link", "pending"], ({ data }) => {
    const slots = data?.slots;
    if (!slots) return;
    const busy = slots.filter((slot) => slot.job).length;
    render(document.getElementById("slots-note"), slots.length > 0 && `${busy} of ${plural(slots.length, "slot")}`);
    render(document.getElementById("slots-body"), slots.length
        ? slots.map((slot) => {
            const [tone, word] = STATES[slot.state] ?? ["calm", slot.state];
            return h("article", { class: `slot ${slot.job ? "has-job" : ""}`, key: slot.id, "aria-labelledby": `slot-${slot.id}` },
                h("header", { key: "head" }, h("h3", { id: `slot-${slot.id}`, class: "mono" }, slot.id), sign(tone, word), h("span", { class: "faint" }, [slot.engine, known(slot.gpu) && `GPU ${slot.gpu}`].filter(Boolean).join(" · "))),
                slot.job ? running(slot.job) : h("p", { class: "idle", key: "idle" }, IDLE[slot.state] ?? ""));
        })
        : empty("No slot: this agent has no engine to run jobs on. Name one in SERVICES, say where it is (COMFYUI_URL), then ", command("gpu-worker config check")));
});
