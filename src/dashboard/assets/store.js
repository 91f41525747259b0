// The one store: the newest of each section, and who redraws when it changes.
// In: a whole snapshot, or one section of it. Out: at most one redraw a frame, of the panels whose section changed.

const HISTORY_KEPT = 100;
const LOG_KEPT = 500;
const SECTIONS = ["worker", "gpus", "slots", "queue", "jobs", "connectors", "loops", "stats", "system", "series", "log"];

/** What is known of the agent; null until the first snapshot. */
export const state = {
    data: null,
    /** "live", "polling", "stale" or "locked"; with since when. */
    link: { how: "starting", since: Date.now(), heard: null, why: null },
    /** The box's clock minus this one's. */
    offset: 0,
    /** Place in the charts that is looked at: steps before now, or null. */
    cursor: null,
};

export const now = () => Date.now() + state.offset;

const panels = [];
const changed = new Set();
let frame = 0;

/** Redraws with `draw` when one of `sections` changed. */
export function panel(sections, draw) {
    panels.push({ sections: new Set(sections), draw });
}

export function touch(...sections) {
    for (const section of sections) changed.add(section);
    if (!frame) frame = requestAnimationFrame(flush);
}

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
export function takeSnapshot(snapshot) {
    heard(snapshot.now);
    const before = state.data;
    state.data = snapshot;
    for (const section of SECTIONS) {
        if (!before || JSON.stringify(before[section]) !== JSON.stringify(snapshot[section])) touch(section);
    }
    if (!before || before.read_only !== snapshot.read_only) touch(...SECTIONS);
}

/** One event of the stream. */
export function takeEvent(name, value) {
    heard(name === "beat" ? value.now : null);
    const { data } = state;
    if (!data || name === "beat") return;
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
