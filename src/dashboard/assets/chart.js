// Charts of the last 15 minutes, as SVG: crisp at any density, coloured by the style sheet.
// In: a column of readings, null where there was none. Out: a description; one cursor goes through all charts.

import { h } from "./dom.js";
import { state, touch } from "./store.js";
import { duration } from "./words.js";

export const POINTS = 450;
const HEIGHT = 100;
const drawn = new WeakMap();

/** The lines and areas of a column, remembered while neither the readings nor the scale change. */
function paths(values, top) {
    const known = drawn.get(values);
    if (known?.top === top) return known;
    let line = "";
    let area = "";
    let open = false;
    let last = 0;
    values.forEach((value, at) => {
        const x = POINTS - values.length + at;
        if (value === null || value === undefined) {
            if (open) area += `L${last},${HEIGHT}Z`;
            open = false;
            return;
        }
        const y = (HEIGHT * (1 - Math.min(1, Math.max(0, value / top)))).toFixed(1);
        line += `${open ? "L" : "M"}${x},${y}`;
        area += open ? `L${x},${y}` : `M${x},${HEIGHT}L${x},${y}`;
        open = true;
        last = x;
    });
    if (open) area += `L${last},${HEIGHT}Z`;
    const made = { top, line, area };
    drawn.set(values, made);
    return made;
}

export function at(values, cursor) {
    const index = values.length - 1 - (cursor ?? 0);
    return index >= 0 ? values[index] : null;
}

/** "least 3 %, most 100 %" for those who do not see the line. */
function summary(values, say) {
    const known = values.filter((value) => value !== null && value !== undefined);
    if (!known.length) return "no readings yet";
    let [least, most, sum] = [Infinity, -Infinity, 0];
    for (const value of known) {
        least = Math.min(least, value);
        most = Math.max(most, value);
        sum += value;
    }
    return `least ${say(least)}, most ${say(most)}, on average ${say(sum / known.length)}`;
}

const rule = (y, name) => h("svg:line", { class: name, x1: 0, x2: POINTS - 1, y1: y, y2: y, key: name });

/**
 * label, what the reading is in words, the readings (`part`: what of them is the job's), the end of the scale, a limit to
 * draw as a line, `say` for numbers of the summary, and what stands below.
 */
export function chart({ label, reading, values = [], part, top, limit, say, below }) {
    const whole = paths(values, top);
    const own = part && paths(part, top);
    const { cursor } = state;
    const x = POINTS - 1 - (cursor ?? 0);
    return h("div", { class: "chart", key: label },
        h("p", { class: "chart-head" }, h("span", { class: "label" }, label), " ", h("span", { class: "reading" }, reading)),
        h("svg:svg", { viewBox: `0 0 ${POINTS - 1} ${HEIGHT}`, preserveAspectRatio: "none", role: "img", "aria-label": `${label}, last 15 minutes: ${summary(values, say)}` },
            [1, 2].map((third) => h("svg:line", { class: "grid", key: third, x1: third * 150, x2: third * 150, y1: 0, y2: HEIGHT })),
            h("svg:path", { class: "area", d: whole.area, key: "area" }),
            own && h("svg:path", { d: whole.area, fill: "url(#hatch)", key: "others" }),
            own && h("svg:path", { class: "area base", d: own.area, key: "base" }),
            own && h("svg:path", { class: "area own", d: own.area, key: "own" }),
            h("svg:path", { class: "line", d: whole.line, key: "line" }),
            limit > 0 && rule((HEIGHT * (1 - Math.min(1, limit / top))).toFixed(1), "limit"),
            cursor !== null && h("svg:line", { class: "cursor", x1: x, x2: x, y1: 0, y2: HEIGHT, key: "cursor" })),
        below);
}

function look(cursor) {
    if (state.cursor === cursor) return;
    state.cursor = cursor;
    touch("cursor");
}

const stepMs = () => state.data?.series?.step_ms ?? 2000;

/** How long ago the cursor is, in words. */
export const lookedAt = () => (state.cursor === null ? null : state.cursor === 0 ? "now" : `${duration(state.cursor * stepMs())} ago`);

/** What makes an element with charts in it show the readings under the pointer. */
export const followsPointer = {
    onpointermove: (event) => {
        const chart = event.target.closest(".chart")?.querySelector("svg");
        if (!chart) return;
        const { left, width } = chart.getBoundingClientRect();
        look(Math.max(0, Math.min(POINTS - 1, Math.round((1 - (event.clientX - left) / width) * (POINTS - 1)))));
    },
    onpointerleave: () => look(null),
};

/** The same for keys: a slider that is seen when it has the focus. */
export const lookBack = (label, said) =>
    h("input", {
        type: "range", class: "look-back", min: 1 - POINTS, max: 0, step: 1, "aria-label": label, "aria-valuetext": `${lookedAt() ?? "now"}: ${said}`,
        oninput: (event) => look(-Number(event.target.value)), onblur: () => look(null), value: String(-(state.cursor ?? 0)),
    });
