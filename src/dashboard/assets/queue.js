// What waits, class by class. In: queue. Out: what this box could run, and of the rest why not.

import { h, render } from "./dom.js";
import { command, empty, sign, table, time } from "./parts.js";
import { panel } from "./store.js";
import { known, list, number, plural } from "./words.js";

function here(one) {
    if (one.fits?.length) return sign("good", one.fits.length > 3 ? `fits ${plural(one.fits.length, "worker")} here` : `fits ${list(one.fits)}`);
    // Workers with the same reasons are named once.
    const by = new Map();
    for (const { worker, reasons = [] } of one.misfits ?? []) by.set(reasons.join("; "), [...(by.get(reasons.join("; ")) ?? []), worker]);
    return [sign("warn", "does not fit"), h("ul", { class: "why", key: "why" }, [...by].map(([reasons, workers]) => h("li", { key: reasons }, by.size > 1 && h("span", { class: "mono" }, `${list(workers, 3)}: `), reasons)))];
}

panel(["queue", "worker"], ({ data: { queue, worker } }) => {
    const away = worker?.redis?.connected === false;
    const classes = queue?.classes ?? [];
    const note = queue && [queue.waiting ? plural(queue.waiting, "job") : null, queue.delayed ? `${number(queue.delayed)} to be tried again later` : null, queue.unindexed ? `${number(queue.unindexed)} not yet looked at` : null].filter(Boolean).join(" · ");
    render(document.getElementById("queue-note"), note);
    render(document.getElementById("queue-body"),
        classes.length
            ? table({
                caption: "Waiting jobs by class", name: "queue",
                columns: [{ title: "Jobs", name: "count" }, { title: "Service", name: "service" }, { title: "Needs", name: "wide" }, { title: "On this box", name: "wide" }, { title: "Oldest waits", name: "when" }, { title: "Priority", name: "count" }],
                rows: classes.map((one) => ({ key: one.id, cells: [number(one.count), one.service ?? "any", one.needs?.length ? list(one.needs) : "nothing special", here(one), time(one.oldest, "span"), number(one.priority_best)] })),
            })
            : !known(queue?.waiting) || away ? empty(away ? "Not known while Redis does not answer." : "Not read yet.") : empty("Nothing waits. Hand a job in: ", command("gpu-worker submit examples/comfyui-workflow.json --watch")),
        classes.length > 0 && away && h("p", { class: "note", key: "old" }, "As it was before Redis went away."),
        queue?.truncated && h("p", { class: "note", key: "more" }, "More classes wait than are shown here."));
});
