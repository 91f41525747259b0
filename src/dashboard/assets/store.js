// The one store: the newest of each section, and who redraws when it changes.
// In: a whole snapshot, or one section of it. Out: at most one redraw a frame, of the panels whose section changed.

const HISTORY_KEPT = 100;
const LOG_KEPT = 500;
const SECTIONS = ["worker", "gpus", "slots", "queue", "jobs", "connectors", "loops", "stats", "system", "series", "log"];

/** What is known of the agent; null until the first snapshot. */
export const state = {
    data: null,
    /** "live", "polling", "joining" (on the way to either), "stale" or "locked"; when the agent was heard last, by this clock. */
    link: { how: "starting", heard: null, why: null },
    /** The box's clock minus this one's. */
    offset: 0,
    /** The moment that is shown, as the agent names it: its process, and a number that grows. */
    moment: { boot: null, number: 0 },
    /** Place in the charts that is looked at: steps before now, or null. */
    cursor: null,
};

/** The box's time; it stands still while the agent is not heard: what is shown is of then. */
export const now = () => (state.link.how === "stale" && state.link.heard ? state.link.heard : Date.now()) + state.offset;

const momentOf = (id) => {
    const [, boot, number] = /^(.*)-(\d+)$/.exec(id ?? "") ?? [];
    return { boot, number: Number(number) };
};
/** What comes by two ways comes in any order, and some of it twice. */
const isKnown = ({ boot, number }) => boot === state.moment.boot && number <= state.moment.number;

const panels = [];
const changed = new Set();
let frame = 0;

/** Redraws with `draw` when one of `sections` changed. */
export function panel(sections, draw) {
    panels.push({ sections: new Set(sections), draw });
}

export function touch(...sections) {
    for (const section of sections) changed.add(section);
    // Tabs that are not looked at have no frames, and a title that is.
    if (!frame) frame = document.hidden ? setTimeout(flush, 1000) : requestAnimationFrame(flush);
}
document.addEventListener("visibilitychange", () => frame && flush());

function flush() {
    frame = 0;
    const sections = new Set(changed);
    changed.clear();
    if (!state.data && !sections.has("link")) return;
    for (const { sections: mine, draw } of panels) {
        if ([...sections].some((section) => mine.has(section))) draw(state);
    }
}

function heard(at) {
    state.link.heard = Date.now();
    if (at) state.offset = at - Date.now();
}

/** A whole picture: after opening, after a reconnect, and with each poll. Sections that are as they were redraw nothing. */
export function takeSnapshot(snapshot, id) {
    const moment = momentOf(id);
    if (state.data && isKnown(moment)) return;
    state.moment = moment;
    heard(snapshot.now);
    const before = state.data;
    state.data = snapshot;
    for (const section of SECTIONS) {
        if (!before || JSON.stringify(before[section]) !== JSON.stringify(snapshot[section])) touch(section);
    }
    if (!before || before.read_only !== snapshot.read_only) touch(...SECTIONS);
}

/** One event of the stream. */
export function takeEvent(name, value, id) {
    heard(name === "beat" ? value.now : null);
    const { data } = state;
    const moment = momentOf(id);
    if (!data || name === "beat" || isKnown(moment)) return;
    state.moment = moment;
    if (name === "point") {
        takePoint(data, value);
    } else if (name === "log") {
        data.log = [...(data.log ?? []), ...value].slice(-LOG_KEPT);
        touch("log");
    } else if (name === "job") {
        data.jobs = { ...data.jobs, history: [value, ...(data.jobs?.history ?? [])].slice(0, data.jobs?.kept ?? HISTORY_KEPT) };
        touch("jobs");
    } else {
        data[name] = value;
        touch(name);
    }
}

const COLUMNS = ["utilisation", "memory_bytes", "memory_job_bytes", "temperature_c", "power_w", "clock_mhz"];
const CHART_POINTS = 450;

function takePoint(data, point) {
    const series = data.series ?? { step_ms: 2000, gpus: [] };
    const gpus = (point.gpus ?? []).map((fresh) => {
        const old = series.gpus.find((gpu) => gpu.index === fresh.index) ?? {};
        const next = { index: fresh.index };
        for (const column of COLUMNS) {
            if (column in old || column in fresh) next[column] = [...(old[column] ?? []), fresh[column] ?? null].slice(-CHART_POINTS);
        }
        return next;
    });
    data.series = { ...series, end: point.end, gpus };
    touch("series");
}
