// Why the box is not earning its keep. In: all that is known of the agent. Out: what stands in the way, the worst first, each with a remedy.

import { time } from "./parts.js";
import { bytes, known, list, number, plural } from "./words.js";

const RECENT = 12;
const REPEATED = 3;

export function concerns(data) {
    const found = [];
    const add = (tone, key, title, text, remedy) => found.push({ tone, key, title, text, remedy });
    const { worker, gpus = [], connectors = [], loops = [], queue, jobs, system } = data;

    if (worker?.redis?.connected === false) {
        add("bad", "redis", "Redis does not answer.", ["At ", worker.redis.address ?? "its address", " for ", time(worker.redis.since, "span"), ". Work that runs goes on, its results are kept here."],
            "see that it runs and can be reached from this box; the agent connects again by itself");
    }
    for (const gpu of gpus) {
        if (gpu.health === "fenced") add("bad", `gpu-${gpu.index}`, `GPU ${gpu.index} is fenced.`, sentence(gpu.reason), gpu.remedy);
        else if (gpu.health === "lost") add("bad", `gpu-${gpu.index}`, `GPU ${gpu.index} is lost.`, sentence(gpu.reason), gpu.remedy);
        else if (gpu.throttled) add("warn", `hot-${gpu.index}`, `GPU ${gpu.index} slows down.`, gpu.throttled === "thermal" ? "It is too hot to run at full speed." : gpu.throttled === "power" ? "It has reached its power limit." : sentence(gpu.throttled), gpu.throttled === "thermal" ? "see to its fans and the air around it" : null);
    }
    for (const one of connectors) {
        if (one.healthy === false) add("bad", `engine-${one.label}`, `${one.label} is not well.`, sentence(one.why));
        const out = (one.left_out ?? []).filter((part) => part.state !== "trial");
        if (out.length) add("warn", `out-${one.label}`, `${one.label} goes without ${list(out.map((part) => part.part), 3)}.`, [sentence(out[0].why), out[0].until && [" Tried again in ", time(out[0].until, "left"), "."]], out[0].remedy);
    }
    const hanging = loops.filter((loop) => loop.hanging);
    if (hanging.length) add("bad", "loops", `${plural(hanging.length, "loop")} of the agent ${hanging.length === 1 ? "hangs" : "hang"}.`, `${list(hanging.map((loop) => loop.name))}.`, "its log says more; under systemd it is started again by itself");
    if (worker?.desired === "pause") add("warn", "pause", "Paused by hand.", "What runs is finished; nothing new is taken.", "Resume, above, or gpu-worker resume");
    if (worker?.desired === "drain") add("warn", "drain", "Draining by hand.", "What runs is finished; nothing new is taken.", "Resume, above, if it is to go on");
    const classes = queue?.classes ?? [];
    const waiting = classes.reduce((sum, one) => sum + one.count, 0);
    const misfits = classes.filter((one) => !one.fits?.length);
    const unfit = misfits.reduce((sum, one) => sum + one.count, 0);
    if (unfit && worker?.redis?.connected !== false) {
        const reasons = [...new Set(misfits.flatMap((one) => (one.misfits ?? []).flatMap((misfit) => misfit.reasons ?? [])))];
        add(unfit === waiting ? "warn" : "calm", "misfits", unfit === waiting ? "Nothing that waits fits this box." : `${plural(unfit, "waiting job does", "waiting jobs do")} not fit this box.`, reasons.length ? sentence(reasons.slice(0, 3).join("; ")) : "");
    }
    const recent = (jobs?.history ?? []).slice(0, RECENT);
    const reasons = {};
    for (const job of recent) if (job.failure) (reasons[job.failure.reason ?? job.failure.type] ??= []).push(job.failure);
    for (const [reason, failures] of Object.entries(reasons)) {
        if (failures.length >= REPEATED) add("warn", `failures-${reason}`, `${number(failures.length)} of the last ${number(recent.length)} jobs failed with ${reason}.`, "", failures[0].remedy);
    }
    if (known(system?.disk_free_bytes) && known(system?.disk_total_bytes) && system.disk_free_bytes < system.disk_total_bytes * 0.05) {
        add("warn", "disk", "The disk is nearly full.", `${bytes(system.disk_free_bytes)} of ${bytes(system.disk_total_bytes)} are free.`, "free space in OUTPUT_DIR, or let OUTPUT_KEEP rules do it");
    }
    const rank = { bad: 0, warn: 1, calm: 2 };
    return found.sort((one, other) => rank[one.tone] - rank[other.tone]);
}

/** A reason as a sentence: capital first letter, full stop. */
export function sentence(text) {
    if (!text) return "";
    const whole = text.charAt(0).toUpperCase() + text.slice(1);
    return /[.!?]$/.test(whole) ? whole : `${whole}.`;
}
