// Keys and the theme. In: keys pressed outside of fields. Out: controls, jumps, the list of keys; what was chosen is remembered.

import { control, pauseOrResume } from "./controls.js";
import { h, render } from "./dom.js";
import { state } from "./store.js";

const SECTIONS = [["1", "gpus", "GPUs"], ["2", "slots", "Running"], ["3", "queue", "Waiting"], ["4", "jobs", "History"], ["5", "connectors", "Engines"], ["6", "stats", "Numbers"], ["7", "loops", "Loops"], ["8", "system", "Machine"], ["9", "log", "Log"]];
const THEMES = ["system", "light", "dark"];

const recall = (name) => {
    try {
        return localStorage.getItem(name);
    } catch {
        return null;
    }
};
const remember = (name, value) => {
    try {
        localStorage.setItem(name, value);
    } catch {
        // Storage is forbidden here: it holds until the page is closed.
    }
};

let theme = THEMES.includes(recall("gpu-worker-theme")) ? recall("gpu-worker-theme") : "system";
let keysOn = recall("gpu-worker-keys") !== "off";

function drawTheme() {
    if (theme === "system") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = theme;
    const button = document.getElementById("theme");
    render(button, { system: "Auto", light: "Light", dark: "Dark" }[theme], h("span", { class: "roomy" }, " theme"));
}

function nextTheme() {
    theme = THEMES[(THEMES.indexOf(theme) + 1) % THEMES.length];
    remember("gpu-worker-theme", theme);
    drawTheme();
}

function jump(id) {
    const heading = document.getElementById(`${id}-title`);
    heading.scrollIntoView({ block: "start" });
    heading.focus({ preventScroll: true });
}

const ACTIONS = {
    p: ["pause, or resume", () => state.data && control(pauseOrResume())],
    d: ["drain: finish what runs, take nothing new", () => state.data && control({ action: "drain" })],
    r: ["re-probe engines and GPUs", () => state.data && control({ action: "probe" })],
    t: ["theme: as the system, light, dark", nextTheme],
    "/": ["find in the log", () => document.getElementById("log-words").focus()],
    "?": ["this list", help],
};

function help() {
    const dialog = document.getElementById("help");
    const row = (key, text) => h("div", { key }, h("dt", null, h("kbd", null, key)), h("dd", null, text));
    render(dialog,
        h("h2", { id: "help-title" }, "Keys"),
        h("dl", { class: "keys" }, Object.entries(ACTIONS).map(([key, [text]]) => row(key, text)), SECTIONS.map(([key, , name]) => row(key, `go to ${name}`)), row("Esc", "close what is open"), row("← →", "look back in the charts, when they have the focus")),
        h("label", { class: "check" }, h("input", { type: "checkbox", checked: keysOn, onchange: (event) => { keysOn = event.target.checked; remember("gpu-worker-keys", keysOn ? "on" : "off"); } }), " Single keys act"),
        h("div", { class: "buttons" }, h("button", { type: "button", class: "button", autofocus: true, onclick: () => dialog.close() }, "Close")));
    if (!dialog.open) dialog.showModal();
}

function press(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || event.repeat || !keysOn) return;
    if (event.target.closest("input:not([type=radio], [type=checkbox], [type=range]), select, textarea") || document.querySelector("dialog[open]")) return;
    const section = SECTIONS.find(([key]) => key === event.key);
    if (!section && !Object.hasOwn(ACTIONS, event.key)) return;
    event.preventDefault();
    if (section) jump(section[1]);
    else ACTIONS[event.key][1]();
}

export function startKeys() {
    drawTheme();
    document.getElementById("theme").onclick = nextTheme;
    document.getElementById("keys").onclick = help;
    document.addEventListener("keydown", press);
    // A click beside a dialog closes it, as Esc does.
    for (const dialog of document.querySelectorAll("dialog")) dialog.addEventListener("click", (event) => event.target === dialog && dialog.close());
}
