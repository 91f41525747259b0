// The first glance: how the agent is, in a sentence; then the figures; then everything that keeps it from working.
// In: worker, stats, series, queue and what the others say of themselves. Out: the head of the page, and its title.

import { h, render } from "./dom.js";
import { icon, remedy, time } from "./parts.js";
import { panel, state } from "./store.js";
import { clock, duration, known, number, percent, plural } from "./words.js";
import { concerns } from "./concerns.js";

const STATES = {
    working: ["busy", "Working"], idle: ["calm", "Idle"], paused: ["hold", "Paused"], draining: ["hold", "Draining"], drained: ["hold", "Drained"], no_engine: ["bad", "Cannot work"], no_store: ["bad", "Cannot store"],
    redis_away: ["bad", "Redis is away"], fenced: ["bad", "GPU fenced"], starting: ["hold", "Starting"],
};

/** A box at work goes from idle to working and back all day: only what is not routine, and its end, is read out. */
const ROUTINE = new Set(["working", "idle"]);

const place = (id) => document.getElementById(id);
let announced = null;

function connection() {
    const { how, heard } = state.link;
    if (how === "live") return [icon("good"), "Live"];
    if (how === "polling") return [icon("hold"), "Asked each second: live updates do not get through"];
    if (how === "stale") return heard ? [icon("bad"), h("span", null, "As of ", clock(heard), " (", time(heard + state.offset, "unheard"), "): the agent is not heard")] : [icon("bad"), "The agent is not heard"];
    if (how === "locked") return [icon("bad"), "The agent wants its launch link first"];
    return [icon("calm"), "Connecting"];
}

/** The agent's name: its worker's, or what its workers' names begin with. */
function nameOf({ id, ids = [] }) {
    if (id) return id;
    const [first = "", ...others] = ids;
    let length = first.length;
    for (const other of others) while (!other.startsWith(first.slice(0, length))) length -= 1;
    return (others.length && first.slice(0, length).replace(/[-_.:](gpu|slot)?\d*$/i, "")) || first;
}

function drawHead() {
    const { data } = state;
    const { how } = state.link;
    document.documentElement.classList.toggle("stale", how === "stale" || how === "locked");
    render(place("link"), connection());
    if (!data?.worker) return;
    document.documentElement.classList.remove("starting");
    const { worker } = data;
    const [tone, word] = STATES[worker.state] ?? ["calm", worker.state];
    const unheard = how === "stale" || how === "locked";
    render(place("state"),
        h("p", { class: `verdict ${tone}` }, icon(tone), h("span", null, h("strong", null, word), h("span", { class: "unseen" }, ". "), h("span", { class: "sentence" }, plain(worker.sentence)))));
    const { redis } = worker;
    render(place("facts"),
        fact("Up", time(worker.started, "span")),
        fact("In this state", time(worker.since, "span")),
        fact("Heartbeat", time(worker.heartbeat)),
        fact("Version", data.version),
        redis && h("div", { key: "Redis", class: "whole" }, h("dt", null, "Redis"), h("dd", null, redis.connected ? h("span", { class: "reading" }, known(redis.round_trip_ms) ? `${number(redis.round_trip_ms, 1)} ms` : "connected") : ["away for ", time(redis.since, "span")], redis.address && h("span", { class: "mono faint" }, ` ${redis.address}`))));
    const name = nameOf(worker);
    const where = worker.machine_id && worker.machine_id !== name ? ` on ${worker.machine_id}` : "";
    render(place("who"), name, where && h("span", { class: "faint", key: "where" }, where), worker.ids?.length > 1 && h("span", { class: "faint", key: "count" }, ` · ${plural(worker.ids.length, "worker")}`));
    render(place("siblings"), worker.siblings?.length > 0 && h("nav", { "aria-label": "Other workers on this machine" }, "Also on this machine: ", worker.siblings.map((one) => h("a", { href: reachable(one.url), key: one.url }, one.worker))));
    const running = (data.slots ?? []).filter((slot) => slot.job);
    const mark = unheard ? "⚠ " : tone === "bad" ? "✕ " : running.length === 1 ? `${Math.round(running[0].job.progress ?? 0)} % ` : running.length ? `${running.length} running ` : "";
    document.title = `${mark}${mark && "· "}${name}${where}${name ? " · " : ""}gpu-worker`;
    announce(unheard ? "unheard" : ROUTINE.has(worker.state) ? "well" : worker.state, unheard ? "The agent is not heard any more." : `${word}. ${plain(worker.sentence)}`);
}

function announce(which, saying) {
    // The first picture is read anyway.
    if (announced !== null && announced !== which) place("announce").textContent = saying;
    announced = which;
}

/** The sentence without the word that stands before it anyway. */
function plain(sentence = "") {
    const rest = sentence.replace(/^(Starting|Paused|Draining|Told to stop): |^Redis cannot be reached; |^Ready and idle(?=[,.])/, (found) => (found.startsWith("Ready") ? "Ready" : ""));
    return rest.charAt(0).toUpperCase() + rest.slice(1);
}

/** Loopback is the box's own: from elsewhere its dashboards are reached where this one is. */
function reachable(url) {
    if (!URL.canParse(url)) return url;
    const to = new URL(url);
    if (["127.0.0.1", "localhost", "[::1]"].includes(to.hostname)) to.hostname = location.hostname;
    return to.href;
}

const fact = (title, ...value) => h("div", { key: title }, h("dt", null, title), h("dd", null, value));

function busyShare(series) {
    let [sum, count] = [0, 0];
    for (const gpu of series?.gpus ?? []) {
        for (const value of gpu.utilisation ?? []) {
            if (known(value)) {
                sum += value;
                count += 1;
            }
        }
    }
    return count ? sum / count / 100 : null;
}

function drawFigures() {
    const { stats, series, queue, worker } = state.data;
    const busy = busyShare(series);
    const waiting = worker?.redis?.connected === false ? null : queue?.waiting;
    const figure = (title, value, note) => h("div", { class: "figure", key: title }, h("dt", null, title), h("dd", null, h("span", { class: "value" }, value), h("span", { class: "note" }, note)));
    render(place("figures"),
        known(busy) && figure("GPUs busy", percent(busy), "mean of the last 15 min"),
        figure("Jobs an hour", number(stats?.per_hour, 1), known(stats?.per_hour) && known(stats.completed_last_hour) ? `${number(stats.completed_last_hour)} completed in the last hour` : "not known yet"),
        figure("Success", percent(stats?.success_rate, 1), known(stats?.completed) ? `${number(stats.completed)} done, ${number(stats.failed)} failed${stats.cancelled ? `, ${number(stats.cancelled)} cancelled` : ""}` : "no job has ended yet"),
        figure("Usual time", duration(stats?.p50_ms), "half take less (p50)"),
        figure("Slow ones", duration(stats?.p95_ms), "one in 20 takes more (p95)"),
        figure("Waiting", number(waiting), known(waiting) ? waitingNote(queue) : "not known"));
}

function waitingNote(queue) {
    if (!queue.waiting) return queue.delayed ? `${number(queue.delayed)} to be tried again later` : "nothing to do";
    const fits = queue.fitting ?? (queue.classes ?? []).filter((one) => one.fits?.length).reduce((sum, one) => sum + one.count, 0);
    return fits >= queue.waiting ? "all fit this box" : fits ? `${number(fits)} fit this box` : "none fits this box";
}

function drawConcerns() {
    const found = concerns(state.data);
    const section = place("concerns");
    section.hidden = !found.length;
    render(place("concern-list"), found.map((one) => h("li", { key: one.key, class: one.tone }, icon(one.tone), h("div", null, h("p", null, h("strong", null, one.title), " ", one.text), remedy(one.remedy)))));
}

panel(["worker", "slots", "link"], drawHead);
panel(["stats", "series", "queue", "worker"], drawFigures);
panel(["worker", "gpus", "connectors", "loops", "queue", "jobs", "system"], drawConcerns);
