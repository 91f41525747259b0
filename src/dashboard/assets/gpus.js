// A strip for each GPU. In: gpus, series, the cursor. Out: charts with their readings, health with its remedy, MIG rows.

import { at, chart, followsPointer, lookBack, lookedAt } from "./chart.js";
import { sentence } from "./concerns.js";
import { button } from "./controls.js";
import { h, render } from "./dom.js";
import { command, empty, facts, remedy, sign, table } from "./parts.js";
import { panel, state } from "./store.js";
import { GIB, known, list, memory, number } from "./words.js";

const HEALTH = { ok: ["good", "fit"], fenced: ["bad", "fenced"], lost: ["bad", "lost"], unknown: ["calm", "not checked"] };

const unit = (value, name) => [h("b", { key: "b" }, value), h("span", { class: "unit", key: "u" }, ` ${name}`)];

const legend = (name, text) => h("span", { key: name }, h("span", { class: `key ${name}` }), text);

/** The reading under the cursor, or else the newest that the card gave. */
const read = (values, fresh) => (state.cursor === null ? (fresh ?? at(values, 0)) : at(values, state.cursor));

const isRead = (gpu, series) =>
    [gpu.utilisation, gpu.memory?.used_bytes, gpu.temperature_c, gpu.power_w].some(known) || Object.values(series).some((column) => Array.isArray(column) && column.some(known));

function charts(gpu, series) {
    const { utilisation = [], memory_bytes: used = [], memory_job_bytes: byJob, temperature_c: heat = [], power_w: power = [], clock_mhz: clock = [] } = series;
    const { total_bytes: total, used_bytes: inUse, job_bytes: job } = gpu.memory ?? {};
    const now = { utilisation: read(utilisation, gpu.utilisation), heat: read(heat, gpu.temperature_c), power: read(power, gpu.power_w), clock: read(clock, gpu.clock_mhz) };
    const usedNow = read(used, inUse);
    const jobNow = byJob ? read(byJob, job) : state.cursor === null ? job : null;
    const split = known(jobNow) && known(usedNow) ? h("p", { class: "split", key: "split" }, legend("own", `${memory(jobNow)} jobs`), legend("others", `${memory(Math.max(0, usedNow - jobNow))} others`)) : null;
    const hottest = gpu.temperature_limit_c ?? 100;
    const strongest = gpu.power_limit_w ?? Math.max(100, ...power.filter(known));
    const space = total ?? Math.max(GIB, ...used.filter(known));
    const ticks = known(gpu.clock_mhz) || clock.some(known);
    const fastest = Math.max(gpu.clock_max_mhz ?? 0, 1, ...clock.filter(known));
    const said = `utilisation ${number(now.utilisation)} %, memory ${memory(usedNow)} GiB, ${number(now.heat)} °C, ${number(now.power)} W${ticks ? `, ${number(now.clock)} MHz` : ""}`;
    const few = (name) => (value) => `${number(value)} ${name}`;
    return h("div", { class: "charts", key: "charts", ...followsPointer },
        chart({ label: "Utilisation", reading: unit(number(now.utilisation), "%"), values: utilisation, top: 100, say: few("%") }),
        chart({ label: "Memory", reading: unit(memory(usedNow), total ? `of ${memory(total)} GiB` : "GiB"), values: used, part: byJob?.some(known) ? byJob : null, top: space * 1.08, limit: total, say: (value) => `${memory(value)} GiB`, below: [bar(gpu.memory, `Memory of GPU ${gpu.index}`), split] }),
        chart({ label: "Temperature", reading: unit(number(now.heat), gpu.temperature_limit_c ? `of ${number(gpu.temperature_limit_c)} °C` : "°C"), values: heat, top: hottest * 1.08, limit: gpu.temperature_limit_c, say: few("°C") }),
        chart({ label: "Power", reading: unit(number(now.power), gpu.power_limit_w ? `of ${number(gpu.power_limit_w)} W` : "W"), values: power, top: strongest * 1.08, limit: gpu.power_limit_w, say: few("W") }),
        ticks && chart({ label: "Clock", reading: unit(number(now.clock), "MHz"), values: clock, top: fastest * 1.08, limit: gpu.clock_max_mhz, say: few("MHz") }),
        lookBack(`Look back in the charts of GPU ${gpu.index}`, said));
}

/** Use by the job and by others against the total: hatched for others, so that it is told without colour. */
function bar({ total_bytes: total, used_bytes: used, job_bytes: job, other_bytes: other } = {}, label) {
    if (!total || !known(used)) return null;
    const share = (bytes) => ({ "--share": String(Math.min(1, (bytes ?? 0) / total)) });
    if (!known(job)) return h("div", { class: "stack", key: "stack", role: "img", "aria-label": `${label}: ${memory(used)} GiB of ${memory(total)} GiB in use; by whom is not known` }, h("span", { class: "all", style: share(used) }));
    return h("div", { class: "stack", key: "stack", role: "img", "aria-label": `${label}: ${memory(job)} GiB by jobs, ${memory(other)} GiB by others, of ${memory(total)} GiB` },
        h("span", { class: "own", style: share(job) }), h("span", { class: "others", style: share(other) }));
}

function strip(gpu, series) {
    const [tone, word] = HEALTH[gpu.health] ?? ["calm", gpu.health];
    const mig = gpu.mig ?? [];
    return h("article", { class: `gpu ${gpu.health}`, key: gpu.index, "aria-labelledby": `gpu-${gpu.index}` },
        h("header", null, h("div", { class: "about", key: "about" },
            h("h3", { id: `gpu-${gpu.index}` }, `GPU ${gpu.index}`, h("span", { class: "name" }, ` ${gpu.name ?? ""}`)),
            sign(tone, word),
            gpu.throttled && sign("warn", gpu.throttled === "thermal" ? "slowed by heat" : `slowed: ${gpu.throttled}`),
            facts([["Worker", gpu.workers?.length ? h("span", { class: "mono" }, list(gpu.workers, 3)) : "none"], known(gpu.fan_percent) && ["Fan", `${number(gpu.fan_percent)} %`], known(gpu.ecc_errors) && ["ECC errors", number(gpu.ecc_errors)]], "facts inline")),
            gpu.can_free && button("Free memory", { action: "free-vram", id: gpu.index }, { name: "small", label: `Free the memory of GPU ${gpu.index}` })),
        gpu.reason && h("div", { class: "reason", key: "reason" }, h("p", null, sentence(gpu.reason)), remedy(gpu.remedy)),
        isRead(gpu, series) ? charts(gpu, series) : h("p", { class: "empty", key: "unread" }, "Nobody has read this card: it is declared in the configuration, or its driver tells nothing."),
        mig.length > 0 && table({
            caption: `MIG instances of GPU ${gpu.index}`, name: "mig", columns: [{ title: "MIG instance", name: "wide" }, { title: "Memory" }, { title: "Use", unseen: true, name: "use" }],
            rows: mig.map((one, key) => {
                return { key, cells: [h("span", { class: "mono" }, one.name ?? `instance ${one.index}`), `${memory(one.memory?.used_bytes)} of ${memory(one.memory?.total_bytes)} GiB`, bar(one.memory, `Memory of ${one.name}`)] };
            }),
        }));
}

panel(["gpus", "series", "cursor", "link", "pending"], ({ data }) => {
    const gpus = data?.gpus;
    if (!gpus) return;
    render(document.getElementById("gpus-note"), gpus.length > 0 && (lookedAt() === null ? "last 15 minutes" : lookedAt()));
    render(document.getElementById("gpus-body"), gpus.length
        ? gpus.map((gpu) => strip(gpu, data.series?.gpus?.find((one) => one.index === gpu.index) ?? {}))
        : empty("No GPU is seen here; jobs that need none run all the same. What was looked at, and why it was not found: ", command("gpu-worker probe")));
});
