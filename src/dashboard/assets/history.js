// What has ended, newest first. In: jobs. Out: a bar for each run, a table with pictures, failures with what to do, a way to try again.

import { button } from "./controls.js";
import { h, render } from "./dom.js";
import { command, empty, remedy, sign, table, time } from "./parts.js";
import { panel, state, touch } from "./store.js";
import { bytes, duration, plural } from "./words.js";

const STATES = { completed: ["good", "completed"], failed: ["bad", "failed"], cancelled: ["hold", "cancelled"], released: ["back", "handed back"], lost: ["warn", "lost"] };
const SHOWN = 12;
const view = { only: "all", all: false };

/** A job that was given a new life counts its attempts anew. */
const keyOf = (job) => `${job.id}/${job.attempt}/${job.ended}`;

function thumbs(job) {
    const pictures = (job.outputs ?? []).filter((output) => output.thumb);
    const others = (job.outputs ?? []).filter((output) => !output.thumb);
    const hidden = (job.outputs_count ?? job.outputs?.length ?? 0) - Math.min(3, pictures.length) - Math.min(2, others.length);
    if (!job.outputs?.length) return h("span", { class: "faint" }, "–");
    return h("div", { class: "thumbs" },
        pictures.slice(0, 3).map((output, at) => h("button", { type: "button", class: "thumb", key: output.thumb, "aria-label": `Show ${output.name}`, onclick: () => show(job, pictures, at) },
            h("img", { src: output.thumb, alt: "", loading: "lazy", decoding: "async", width: 40, height: 40 }))),
        hidden > 0 && h("span", { class: "faint", key: "more" }, `+${hidden}`),
        others.slice(0, 2).map((output) => h("span", { class: "file", key: output.name }, h("span", { class: "kind" }, output.kind ?? output.media_type ?? "file"), bytes(output.bytes))));
}

/** One picture large, with a way to the next. */
function show(job, pictures, at) {
    const dialog = document.getElementById("viewer");
    const output = pictures[at];
    const go = (to) => () => show(job, pictures, (to + pictures.length) % pictures.length);
    render(dialog,
        h("h2", { id: "viewer-title" }, output.name),
        h("img", { key: "img", src: output.url ?? output.thumb, alt: `Output ${at + 1} of job ${job.id}` }),
        h("p", { class: "faint" }, `${output.media_type ?? output.kind ?? ""} · ${bytes(output.bytes)} · job ${job.id}`),
        h("div", { class: "buttons" },
            pictures.length > 1 && h("button", { type: "button", class: "button", key: "before", onclick: go(at - 1) }, "Previous"),
            pictures.length > 1 && h("button", { type: "button", class: "button", key: "next", onclick: go(at + 1) }, "Next"),
            h("button", { type: "button", class: "button", key: "close", autofocus: true, onclick: () => dialog.close() }, "Close")));
    if (!dialog.open) dialog.showModal();
}

function result(job) {
    const [tone, word] = STATES[job.state] ?? ["calm", job.state];
    const { failure } = job;
    if (!failure) return [sign(tone, word), job.note && h("p", { class: "said", key: "note" }, job.note)];
    return [
        sign(tone, word), " ", h("span", { class: "mono reason-name" }, [failure.type, failure.reason].filter(Boolean).join(" / ")),
        failure.message && h("p", { class: "said" }, failure.message),
        remedy(failure.remedy),
        failure.retry_at && !failure.final ? h("p", { class: "faint" }, failure.retry_at > Date.now() + state.offset ? ["Tried again in ", time(failure.retry_at, "left")] : "Waits to be tried again") : null,
    ];
}

/** Length of each run, oldest at the left; what did not complete is hollow and stands on a mark. */
function runs(history) {
    const timed = history.filter((job) => job.duration_ms > 0).slice(0, 100).reverse();
    if (timed.length < 2) return null;
    const longest = Math.max(...timed.map((job) => job.duration_ms));
    const bad = timed.filter((job) => job.state !== "completed").length;
    return h("svg:svg", { class: "runs", key: "runs", viewBox: "0 0 600 44", preserveAspectRatio: "none", role: "img", "aria-label": `The last ${timed.length} runs: the longest took ${duration(longest)}, ${bad} did not complete` },
        timed.map((job, at) => {
            const height = Math.max(2, 36 * (job.duration_ms / longest));
            const x = at * 6;
            return h("svg:g", { key: keyOf(job), class: job.state }, h("svg:title", null, `${job.service} ${job.id}: ${job.state}, ${duration(job.duration_ms)}`),
                h("svg:rect", { x: x + 1, y: 38 - height, width: 4, height, class: "run" }), job.state !== "completed" && h("svg:rect", { x: x + 1, y: 40, width: 4, height: 4, class: "mark" }));
        }));
}

function filter(history) {
    const choose = (only) => () => {
        view.only = only;
        touch("jobs");
    };
    const failed = history.filter((job) => job.state === "failed").length;
    const option = (value, text) => h("label", { key: value }, h("input", { type: "radio", name: "only", value, checked: view.only === value, onchange: choose(value) }), h("span", null, text));
    return h("fieldset", { class: "choice", key: "filter" }, h("legend", { class: "unseen" }, "Which jobs"), option("all", `All ${history.length}`), option("failed", `Failed ${failed}`));
}

/** Failed or cancelled for good, and nobody has given it a new life since. */
const canRunAgain = (job, newest) => (job.can_retry ?? (job.state === "cancelled" || (job.state === "failed" && job.failure?.final !== false))) && newest.get(job.id) === job;

panel(["jobs", "slots", "link", "pending"], ({ data }) => {
    const history = data?.jobs?.history ?? [];
    const newest = new Map(history.map((job) => [job.id, job]).reverse());
    for (const { job } of data?.slots ?? []) if (job) newest.set(job.id, null);
    const chosen = view.only === "failed" ? history.filter((job) => job.state === "failed") : history;
    const shown = view.all ? chosen : chosen.slice(0, SHOWN);
    render(document.getElementById("jobs-note"), history.length > 0 && filter(history));
    if (!history.length) {
        render(document.getElementById("jobs-body"), empty("No job has ended yet. One that needs no engine but SERVICES=simulation: ", command("gpu-worker submit examples/simulation-job.json --watch")));
        return;
    }
    render(document.getElementById("jobs-body"),
        runs(history),
        chosen.length ? table({
            caption: "Jobs that ended, newest first", name: "history",
            columns: [{ title: "Outputs", name: "outputs" }, { title: "Job", name: "job" }, { title: "Result", name: "wide" }, { title: "Took", name: "when" }, { title: "Ended", name: "when" }, { title: "Again", unseen: true, name: "again" }],
            rows: shown.map((job) => ({
                key: keyOf(job), name: job.state,
                cells: [thumbs(job), [h("p", null, h("strong", null, job.service ?? "unread"), h("span", { class: "faint" }, ` ${[job.worker, job.attempt > 1 && `attempt ${job.attempt}`].filter(Boolean).join(" · ")}`)), h("p", { class: "mono faint id" }, job.id)], result(job), duration(job.duration_ms), time(job.ended),
                    canRunAgain(job, newest) ? button("Retry", { action: "retry-job", id: job.id }, { name: "small", label: `Run job ${job.id} again` }) : null],
            })),
        }) : empty("No job of the last ", plural(history.length, "one"), " failed."),
        chosen.length > SHOWN && h("button", { type: "button", class: "button small", key: "more", "aria-expanded": String(view.all), onclick: () => { view.all = !view.all; touch("jobs"); } }, view.all ? "Show fewer" : `Show all ${chosen.length}`));
});
