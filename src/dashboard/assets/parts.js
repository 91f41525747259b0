// Small pieces that panels share: icons, times that tick, tables, commands to copy. In: values. Out: descriptions for `render`.

import { h } from "./dom.js";
import { now, state } from "./store.js";
import { ago, duration, moment, span } from "./words.js";

// Each sign has a shape of its own: colour never tells alone.
const ICONS = {
    good: "M8 1.5a6.5 6.5 0 1 1 0 13a6.5 6.5 0 0 1 0-13M5 8.2l2.1 2.1L11 6.2",
    warn: "M8 2 14.6 13.5H1.4ZM8 6.5v3M8 11.4v.3",
    bad: "M5.3 1.5h5.4l3.8 3.8v5.4l-3.8 3.8H5.3l-3.8-3.8V5.3ZM5.7 5.7l4.6 4.6M10.3 5.7l-4.6 4.6",
    hold: "M8 1.5a6.5 6.5 0 1 1 0 13a6.5 6.5 0 0 1 0-13M6.3 5.6v4.8M9.7 5.6v4.8",
    calm: "M8 1.5a6.5 6.5 0 1 1 0 13a6.5 6.5 0 0 1 0-13M5.4 8h5.2",
    busy: "M8 1.5a6.5 6.5 0 1 1 0 13a6.5 6.5 0 0 1 0-13M6.6 5.2v5.6L11 8Z",
    back: "M3 8a5 5 0 1 0 1.6-3.7M3 2.5v3h3",
};

export const icon = (name) =>
    h("svg:svg", { class: `icon ${name}`, viewBox: "0 0 16 16", "aria-hidden": "true", key: `icon-${name}` }, h("svg:path", { d: ICONS[name] }));

/** A sign with its word. */
export const sign = (name, word) => h("span", { class: `sign ${name}`, key: `sign-${name}` }, icon(name), word);

// Times go on while nothing else changes: one clock rewrites them, the panels do not. While the agent is not heard all but
// `unheard` stand still, as what they belong to does.
const FORMS = { ago: (ms) => ago(ms), span: (ms) => span(ms), duration: (ms) => duration(ms), left: (ms) => span(-ms), unheard: (_, at) => ago(Date.now() + state.offset - at) };

export function time(at, form = "ago") {
    if (!at) return "–";
    return h("time", { datetime: new Date(at).toISOString(), title: moment(at), "data-at": String(at), "data-form": form, textContent: FORMS[form](now() - at, at) });
}

export function tickTimes() {
    for (const element of document.querySelectorAll("time[data-at]")) {
        const at = Number(element.dataset.at);
        const text = FORMS[element.dataset.form](now() - at, at);
        if (element.textContent !== text) element.textContent = text;
    }
}

/** A table that stays one for screen readers where narrow screens show its rows as blocks. */
export function table({ caption, columns, rows, name }) {
    return h("table", { role: "table", class: `table ${name ?? ""}`, key: name ?? caption },
        h("caption", { class: "unseen" }, caption),
        h("thead", { role: "rowgroup" }, h("tr", { role: "row" },
            columns.map((column) => h("th", { role: "columnheader", scope: "col", class: column.name }, h("span", { class: column.unseen ? "unseen" : "" }, column.title))))),
        h("tbody", { role: "rowgroup" },
            rows.map((row) => h("tr", { role: "row", key: row.key, class: row.name ?? "" },
                row.cells.map((cell, at) => h("td", { role: "cell", class: columns[at].name ?? "", "data-title": columns[at].title }, cell))))));
}

/** A command line that can be copied. */
export function command(text) {
    const copy = async (event) => {
        const button = event.currentTarget;
        try {
            await navigator.clipboard.writeText(text);
            button.textContent = "Copied";
        } catch {
            // Without HTTPS browsers forbid it beyond loopback: then the text is selected, to be copied by hand.
            getSelection().selectAllChildren(button.previousElementSibling);
            button.textContent = "Selected";
        }
        button.onblur = () => (button.textContent = "Copy");
    };
    return h("span", { class: "command", key: text }, h("code", null, text), h("button", { type: "button", class: "quiet", "aria-label": `Copy: ${text}`, onclick: copy, textContent: "Copy" }));
}

export const empty = (...kids) => h("p", { class: "empty" }, kids);

/** Pairs of a name and a value. */
export const facts = (pairs, name = "facts") =>
    h("dl", { class: name }, pairs.filter((pair) => pair && pair[1] !== null && pair[1] !== undefined).map(([title, ...value]) => h("div", { key: title }, h("dt", null, title), h("dd", null, value))));

/** A bar of a share of 1, with its number beside it in words. */
export const meter = (share, name = "") =>
    h("span", { class: `meter ${name}`, "aria-hidden": "true" }, h("span", { style: { "--share": String(Math.min(1, Math.max(0, share || 0))) } }));

export const remedy = (text) => text && h("p", { class: "remedy", key: "remedy" }, h("span", null, "What to do: "), text);
