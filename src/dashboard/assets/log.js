// The end of the agent's log. In: log, a level, words to look for. Out: lines, newest last; it follows unless somebody scrolled up.

import { h, render } from "./dom.js";
import { command, empty } from "./parts.js";
import { panel, touch } from "./store.js";
import { clock, moment, number } from "./words.js";

const LEVELS = ["error", "warn", "info", "debug"];
const view = { level: "info", words: "" };
const ids = new WeakMap();
let count = 0;

function idOf(line) {
    if (!ids.has(line)) ids.set(line, (count += 1));
    return ids.get(line);
}

const pairs = (fields) => Object.entries(fields ?? {}).map(([name, value]) => `${name}=${typeof value === "string" ? value : JSON.stringify(value)}`).join("  ");

panel(["log"], ({ data: { log } }) => {
    const lines = log ?? [];
    const most = LEVELS.indexOf(view.level);
    const words = view.words.trim().toLowerCase();
    const shown = lines.filter((line) => LEVELS.indexOf(line.level) <= most && (!words || `${line.text} ${pairs(line.fields)}`.toLowerCase().includes(words)));
    const body = document.getElementById("log-body");
    const following = body.scrollHeight - body.scrollTop - body.clientHeight < 40;
    render(document.getElementById("log-note"), lines.length > 0 && `${number(shown.length)} of ${number(lines.length)} lines`);
    render(body, shown.length
        ? h("ol", null, shown.map((line) => h("li", { key: idOf(line), class: line.level },
            h("time", { datetime: new Date(line.at).toISOString(), title: moment(line.at) }, clock(line.at)), " ",
            h("span", { class: "level" }, line.level), " ", h("span", { class: "text" }, line.text), " ", h("span", { class: "fields" }, pairs(line.fields)))))
        : lines.length ? empty("No line of the last ", number(lines.length), " matches.") : empty("Nothing was logged since the agent started. More detail: set LOG_LEVEL=debug, then ", command("gpu-worker config check")));
    if (following) body.scrollTop = body.scrollHeight;
});

export function startLog() {
    const level = document.getElementById("log-level");
    const words = document.getElementById("log-words");
    level.value = view.level;
    level.onchange = () => {
        view.level = level.value;
        touch("log");
    };
    words.oninput = () => {
        view.words = words.value;
        touch("log");
    };
}
