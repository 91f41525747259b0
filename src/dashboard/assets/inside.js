// What the agent is made of: engines, loops, the machine, what ran by service and by reason.
// In: connectors, loops, system, stats. Out: four quiet panels.

import { sentence } from "./concerns.js";
import { h, render } from "./dom.js";
import { command, empty, facts, meter, remedy, sign, table, time } from "./parts.js";
import { panel } from "./store.js";
import { bytes, duration, known, list, memory, memoryWithUnit, number, percent } from "./words.js";

const place = (id) => document.getElementById(id);

function models(one) {
    const kinds = Object.entries(one.models ?? {}).filter(([, count]) => count > 0);
    if (!kinds.length) return null;
    return h("details", { key: "models" },
        h("summary", null, list(kinds.map(([kind, count]) => `${number(count)} ${kind}`), 4)),
        kinds.map(([kind, count]) => {
            const names = one.model_names?.[kind] ?? [];
            return names.length > 0 && h("div", { key: kind }, h("h4", null, kind), h("ul", { class: "names mono" }, names.map((name) => h("li", { key: name }, name)), count > names.length && h("li", { key: "" }, `and ${number(count - names.length)} more`)));
        }));
}

panel(["connectors"], ({ data: { connectors } }) => {
    render(place("connectors-body"), connectors?.length
        ? connectors.map((one) => h("article", { class: "connector", key: one.label },
            h("header", null, h("h3", { class: "mono" }, one.label), one.healthy === null || one.healthy === undefined ? sign("calm", "not asked yet") : one.healthy ? sign("good", "healthy") : sign("bad", "not well")),
            one.healthy === false && h("p", { class: "reason", key: "why" }, sentence(one.why)),
            facts([["Version", one.version ?? "not told"], ["Services", one.services?.length ? list(one.services) : "none offered"], known(one.queue_remaining) && ["Its queue", number(one.queue_remaining)], one.probed && ["Asked", time(one.probed)]], "facts inline"),
            models(one),
            (one.left_out ?? []).map((part) => h("div", { class: "left-out", key: part.part }, h("p", null, sign("warn", part.state === "trial" ? "on trial again" : "left out"), " ", h("span", { class: "mono" }, part.part), part.state !== "trial" && part.until && [" for ", time(part.until, "left")]), h("p", null, sentence(part.why)), remedy(part.remedy)))))
        : empty("No engine is set up. ", command("gpu-worker connectors list")));
});

panel(["loops"], ({ data: { loops } }) => {
    render(place("loops-body"), loops?.length
        ? table({
            caption: "Loops of the agent", name: "loops", columns: [{ title: "Loop", name: "job" }, { title: "Doing", name: "wide" }, { title: "Came round", name: "when" }],
            rows: loops.map((loop) => ({ key: loop.name, cells: [h("span", { class: "mono" }, loop.name), loop.hanging ? [sign("bad", "hangs"), " ", loop.doing] : loop.doing, time(loop.ticked)] })),
        })
        : empty("No loop has reported yet."));
});

panel(["stats"], ({ data: { stats } }) => {
    const services = stats?.by_service ?? [];
    const reasons = stats?.by_reason ?? [];
    render(place("stats-note"), stats?.since && ["over ", time(stats.since, "span")]);
    render(place("stats-body"),
        services.length ? table({
            caption: "Jobs by service", name: "stats", columns: [{ title: "Service", name: "job" }, { title: "Done", name: "count" }, { title: "Failed", name: "count" }, { title: "p50", name: "count" }, { title: "p95", name: "count" }],
            rows: services.map((one) => ({ key: one.service, cells: [one.service, number(one.completed), number(one.failed), duration(one.p50_ms), duration(one.p95_ms)] })),
        }) : empty("Nothing has run yet; times and rates come with the first jobs."),
        reasons.length > 0 && table({
            caption: "Failures by reason", name: "reasons", columns: [{ title: "Reason of failure", name: "wide" }, { title: "Jobs", name: "count" }],
            rows: reasons.map((one) => ({ key: `${one.type}/${one.reason}`, cells: [h("span", { class: "mono" }, [one.type, one.reason].filter(Boolean).join(" / ")), number(one.count)] })),
        }));
});

panel(["system"], ({ data: { system } }) => {
    if (!system) return render(place("system-body"), empty("Not looked at yet."));
    const used = known(system.memory_used_bytes) && system.memory_total_bytes ? system.memory_used_bytes / system.memory_total_bytes : null;
    const full = known(system.disk_free_bytes) && system.disk_total_bytes ? 1 - system.disk_free_bytes / system.disk_total_bytes : null;
    render(place("system-body"), facts([
        ["Host", [system.host, system.os].filter(Boolean).join(" · ") || null],
        ["GPU driver", system.gpu_driver ?? null],
        known(system.cpu_percent) && ["Processor", `${number(system.cpu_percent)} %`, meter(system.cpu_percent / 100)],
        system.load && ["Load", system.load.map((one) => number(one, 1)).join("  ")],
        known(used) && ["Memory", `${memory(system.memory_used_bytes)} of ${memory(system.memory_total_bytes)} GiB`, meter(used)],
        known(full) && ["Disk", `${bytes(system.disk_free_bytes)} free, ${percent(full)} used`, meter(full, full > 0.95 ? "full" : "")],
        known(system.agent_rss_bytes) && ["This agent", `${memoryWithUnit(system.agent_rss_bytes)}${known(system.agent_cpu_percent) ? `, ${number(system.agent_cpu_percent, 1)} % of a core` : ""}`],
    ], "facts rows"));
});
