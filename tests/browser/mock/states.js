// States of an agent that a machine without GPUs cannot show. In: a name, the time. Out: what /api/snapshot would answer.

import { random } from "./picture.js";

const GB = 1024 ** 3;
const SECOND = 1000;
const MINUTE = 60 * SECOND;
const HOUR = 60 * MINUTE;
const POINTS = 450;

export const STATES = ["idle", "busy", "failing", "redis-away", "four-gpus"];

/** Readings of 15 minutes: jobs of some length with pauses between, as cards show them. */
function readings(index, load, { total, limit, clock = 1980, hot = 87, seed = 1 }) {
    const next = random(seed * 31 + index + 5);
    const column = { index, utilisation: [], memory_bytes: [], memory_job_bytes: [], temperature_c: [], power_w: [], clock_mhz: [] };
    let [heat, busy, left, held] = [load ? 58 : 34, load > 0, 20 + next() * 40, load ? 0.6 : 0];
    let jitter = 0;
    for (let at = 0; at < POINTS; at += 1) {
        if (at % 4 === 0) jitter = next();
        left -= 1;
        if (left <= 0) {
            busy = load > 0 && (next() < load || !busy || at > POINTS - 60);
            left = busy ? 25 + next() * 45 : 3 + next() * 8;
            held = busy ? 0.52 + next() * 0.22 : held;
        }
        if (load > 0 && at > POINTS - 40) busy = true;
        const work = busy ? 91 + jitter * 8 : load ? jitter * 6 : next() < 0.01 ? 4 : 0;
        heat += ((busy ? 71 + index * 2 : 36) - heat) * 0.03 + (next() - 0.5) * 0.5;
        const job = Math.round((busy ? held + (next() - 0.5) * 0.02 : held * 0.9) * total);
        column.utilisation.push(Math.round(work));
        column.memory_job_bytes.push(load ? job : 0);
        column.memory_bytes.push(Math.round((load ? job : 0) + 0.045 * total + next() * 0.002 * total));
        column.temperature_c.push(Math.round(heat));
        column.power_w.push(Math.round(limit * (busy ? 0.78 + jitter * 0.12 : 0.11 + jitter * 0.01)));
        column.clock_mhz.push(busy ? clock - 45 - Math.round(jitter * 4) * 15 : load ? 1200 : 345);
    }
    return column;
}

function card(index, name, series, { total, limit, hot = 87, clock = 1980 }, more = {}) {
    const last = (values) => values.at(-1);
    const busy = last(series.utilisation) > 10;
    return {
        index, uuid: `GPU-4f1c5e0${index}-7d0b-4c1e-9a55-0c2f6a8de10${index}`, name, vendor: "nvidia", health: "ok", reason: null, remedy: null, utilisation: last(series.utilisation),
        memory: { total_bytes: total, used_bytes: last(series.memory_bytes), job_bytes: last(series.memory_job_bytes), other_bytes: last(series.memory_bytes) - last(series.memory_job_bytes) },
        temperature_c: last(series.temperature_c), temperature_limit_c: hot, power_w: last(series.power_w), power_limit_w: limit, clock_mhz: last(series.clock_mhz), clock_max_mhz: clock,
        fan_percent: null, throttled: null, ecc_errors: 0, can_free: true, mig: [], workers: [`render-07-${index}`], ...more,
    };
}

const FAILURES = {
    gpu_memory_full: { type: "resource_limit", reason: "gpu_memory_full", message: "CUDA out of memory at KSampler (node 3): tried to allocate 9.4 GB, 6.1 GB are free", remedy: "make the job smaller, or state its requirements.hardware.gpu_memory_gb" },
    component_error: { type: "validation_error", reason: "component_error", message: "node 12 wants the class IPAdapterFaceID, which this ComfyUI has not", remedy: "install the component, or leave it out of the workflow" },
    nsfw_content: { type: "generation_refusal", reason: "nsfw_content", message: "the engine refused sexual content", remedy: "change the prompt or the input picture" },
};

const ALPHABET = "0123456789abcdef";
const id = (next) => `019dc4${Array.from({ length: 10 }, () => ALPHABET[Math.floor(next() * 16)]).join("")}`;

function history(now, count, { workers, failures = 0.04, seed = 3, repeated = 0 }) {
    const next = random(seed);
    let ended = now - 9 * SECOND;
    return Array.from({ length: count }, (_, at) => {
        const service = next() < 0.8 ? "comfyui" : "upscale";
        const took = (service === "comfyui" ? 24 + next() * 30 : 8 + next() * 6) * SECOND;
        const failed = at < repeated ? at !== 1 : next() < failures;
        const cancelled = !failed && next() < 0.03;
        const failure = failed ? { ...FAILURES[at < repeated ? "gpu_memory_full" : next() < 0.5 ? "component_error" : "nsfw_content"], retry_at: null, final: true } : null;
        const job = id(next);
        const entry = {
            number: count - at, can_retry: failed || cancelled, id: job, service, worker: workers[Math.floor(next() * workers.length)], attempt: failed && at < repeated ? 2 : 1, state: failed ? "failed" : cancelled ? "cancelled" : "completed", claimed: ended - took, ended,
            duration_ms: Math.round(failed ? took * 0.4 : took), failure,
            outputs: failed || cancelled ? [] : Array.from({ length: next() < 0.2 ? 4 : 1 }, (__, n) => ({ name: `lighthouse_${String(4000 - at).padStart(5, "0")}_${n}.png`, kind: "image", media_type: "image/png", bytes: Math.round(1.2e6 + next() * 9e5), thumb: `/api/outputs/${job}/${n}`, url: `/api/outputs/${job}/${n}` })),
        };
        ended -= took * (0.6 + next() * 0.8) / workers.length + 2 * SECOND;
        return entry;
    });
}

function loops(now, workers, doing) {
    const names = [...workers.map((worker) => [`slot ${worker}`, doing, 1]), ["heartbeat", "waits for the next beat", 12], ["leases", "renewed all that is held", 4], ["tick", "looks for expired leases", 0.6], ["sweep", "another agent of the pool sweeps", 7], ["probe comfyui[0]", "waits for the next probe", 21], ["gpus", "waits for the next look", 6], ["watchdog", "every loop came round", 3]];
    return names.map(([name, what, ago]) => ({ name, doing: what, ticked: now - ago * SECOND, hanging: false }));
}

function lines(now, workers, count, more = []) {
    const next = random(77);
    const made = [];
    let at = now - 2 * SECOND;
    while (made.length < count) {
        const worker = workers[Math.floor(next() * workers.length)];
        const job = id(next);
        made.push({ at, level: "info", text: "job completed", fields: { job, worker, seconds: Math.round(20 + next() * 30), outputs: 1 } });
        made.push({ at: at - 300, level: "debug", text: "outputs stored", fields: { job, bytes: Math.round(1.2e6 + next() * 9e5) } });
        made.push({ at: at - 30_000, level: "info", text: "job started", fields: { job, worker, service: "comfyui", attempt: 1 } });
        at -= 31_000;
    }
    return [...made.reverse(), ...more].sort((one, other) => one.at - other.at);
}

const queueClass = (now, n, count, needs, fits, misfits = [], service = "comfyui") => ({ id: `c${n}`, service, count, oldest: now - (40 + n * 75) * SECOND, priority_best: 50 + (n % 3) * 10, needs, fits, misfits });

function slotJob(now, n, progress, message, step, more = {}) {
    return {
        id: id(random(900 + n)), service: "comfyui", attempt: 1, claimed: now - (progress * 0.42 + 2) * SECOND, started: now - progress * 0.42 * SECOND, progress, message, node: "3", step, stage: "working",
        eta_ms: (100 - progress) * 420, eta_from: "pace", eta_from_runs: null, preview: `/api/preview/${n}?v=${Math.round(progress)}`, cancelling: false, customer: null, ...more,
    };
}

export function snapshot(state, now = Date.now(), progress = 62) {
    const four = state === "four-gpus";
    const calm = state === "idle";
    const kind = four ? { total: 80 * GB, limit: 700, clock: 1980 } : { total: 24 * GB, limit: 450, clock: 2520, hot: 84 };
    const name = four ? "NVIDIA H100 80GB HBM3" : "NVIDIA GeForce RTX 4090";
    const count = four ? 4 : 1;
    const workers = four ? [0, 1, 2, 3].map((n) => `render-07-${n}`) : ["render-07"];
    const load = { idle: 0, busy: 0.9, failing: 0.75, "redis-away": 0.9, "four-gpus": 0.88 }[state];
    const columns = workers.map((_, n) => readings(n, four && n === 2 ? 0 : load, { ...kind, seed: state.length }));
    const gpus = columns.map((column, n) => card(n, name, column, kind, { workers: [workers[n]], ecc_errors: four ? 0 : null, fan_percent: four ? null : calm ? 0 : 54 }));
    const started = now - (3 * 24 + 4) * HOUR;
    const done = history(now, calm ? 24 : 100, { workers, seed: state.length * 3, repeated: state === "failing" ? 6 : 0 });
    const step = Math.max(1, Math.round(progress * 0.3));
    const snapshot = {
        now, read_only: false, version: "0.1.0",
        worker: {
            id: "render-07", host: "render-07", machine_id: "render-07", ids: workers, state: "working", sentence: "One job running, 7 waiting jobs fit this box.", since: now - 41 * MINUTE, started, heartbeat: now - 12 * SECOND,
            redis: { connected: true, since: started, round_trip_ms: 0.42, address: "10.0.4.2:6379" }, desired: "run", siblings: [],
        },
        gpus, series: { step_ms: 2000, end: now, gpus: columns },
        slots: workers.map((worker, n) => ({ id: worker, gpu: n, engine: "comfyui", state: "running", job: slotJob(now, n, progress, `KSampler: step ${step} of 30`, [step, 30]) })),
        queue: {
            waiting: 9, delayed: 1, unindexed: 0, truncated: false, fitting: four ? 9 : 7,
            classes: [
                queueClass(now, 0, 5, ["16 GB GPU memory", "model sdxl_base_1.0.safetensors"], workers),
                queueClass(now, 1, 2, [], workers, [], "upscale"),
                queueClass(now, 2, 2, ["80 GB GPU memory", "model flux1-dev.safetensors"], four ? workers : [], four ? [] : [{ worker: workers[0], reasons: ["needs 80 GB GPU memory, has 24 GB", "model flux1-dev.safetensors is missing"] }]),
            ],
        },
        jobs: { history: done, kept: 100 },
        connectors: workers.map((_, n) => ({
            label: `comfyui[${n}]`, connector: "comfyui", services: ["comfyui", "upscale"], healthy: true, why: null, version: "0.3.62", queue_remaining: calm ? 0 : 1, models: { checkpoints: 12, loras: 40, vae: 3 },
            model_names: { checkpoints: ["sdxl_base_1.0.safetensors", "sd_xl_refiner_1.0.safetensors", "dreamshaper_8.safetensors", "v1-5-pruned-emaonly.safetensors"], loras: ["detail-tweaker.safetensors", "film-grain.safetensors"], vae: ["vae-ft-mse-840000.safetensors"] }, left_out: [], probed: now - 21 * SECOND,
        })),
        loops: loops(now, workers, calm ? "waits for a job that fits" : "runs a job"),
        stats: {
            since: now - 24 * HOUR, completed: 1204, failed: 19, cancelled: 6, success_rate: 1204 / 1223, completed_last_hour: 51, per_hour: 51, p50_ms: 38_400, p95_ms: 71_000,
            by_service: [{ service: "comfyui", completed: 968, failed: 17, p50_ms: 41_200, p95_ms: 74_500 }, { service: "upscale", completed: 236, failed: 2, p50_ms: 11_300, p95_ms: 16_800 }],
            by_reason: [{ type: "validation_error", reason: "component_error", count: 11 }, { type: "generation_refusal", reason: "nsfw_content", count: 6 }, { type: "timeout", reason: "processing_timeout", count: 2 }],
        },
        system: { cpu_percent: calm ? 3 : 22, load: calm ? [0.2, 0.3, 0.3] : [3.1, 2.9, 2.6], memory_total_bytes: 128 * GB, memory_used_bytes: (calm ? 11 : 37) * GB, disk_total_bytes: 2e12, disk_free_bytes: 1.24e12, agent_rss_bytes: 21.4e6, agent_cpu_percent: 0.6, host: "render-07", os: "Debian 12" },
        log: lines(now, workers, 90),
    };
    return SHAPES[state](snapshot, now, { workers, step });
}

const SHAPES = {
    busy: (snapshot) => snapshot,
    idle(snapshot, now) {
        Object.assign(snapshot.worker, { state: "idle", sentence: "Ready and idle, nothing that fits this box waits.", since: now - 14 * MINUTE });
        for (const slot of snapshot.slots) Object.assign(slot, { state: "idle", job: null });
        snapshot.queue = { waiting: 0, delayed: 0, unindexed: 0, truncated: false, classes: [] };
        snapshot.jobs.history.forEach((job) => { job.ended -= 14 * MINUTE; });
        Object.assign(snapshot.stats, { completed_last_hour: 14, per_hour: 14, completed: 348, failed: 3, cancelled: 0, success_rate: 348 / 351, by_reason: [{ type: "validation_error", reason: "component_error", count: 3 }] });
        [[290, 3], [58, 0]].forEach(([completed, failed], n) => Object.assign(snapshot.stats.by_service[n], { completed, failed }));
        return snapshot;
    },
    failing(snapshot, now) {
        Object.assign(snapshot.worker, { state: "working", sentence: "One job running, 7 waiting jobs fit this box.", since: now - 6 * MINUTE });
        Object.assign(snapshot.stats, { completed: 1102, failed: 121, success_rate: 1102 / 1223, completed_last_hour: 34, per_hour: 34 });
        snapshot.stats.by_reason.unshift({ type: "resource_limit", reason: "gpu_memory_full", count: 102 });
        Object.assign(snapshot.gpus[0], { throttled: "thermal", temperature_c: 84, clock_mhz: 1815 });
        snapshot.series.gpus[0].clock_mhz.fill(1815, -38).fill(1875, 250, 270);
        snapshot.connectors[0].left_out = [{ part: "model flux1-dev-fp8.safetensors", until: now + 4 * MINUTE, why: "three runs in a row ran out of memory with it", remedy: "take a smaller variant, or offer it on a larger card" }];
        snapshot.connectors.push({ label: "a1111[0]", connector: "a1111", services: [], healthy: false, why: "nothing answers at http://127.0.0.1:7860: connection refused. Start AUTOMATIC1111 with --api, or take a1111 out of SERVICES", version: null, queue_remaining: null, models: {}, model_names: {}, left_out: [], probed: now - 4 * SECOND });
        const job = snapshot.slots[0].job;
        Object.assign(job, { attempt: 2, eta_ms: null, eta_from: null });
        snapshot.log.push({ at: now - 9000, level: "error", text: "attempt failed", fields: { job: snapshot.jobs.history[0].id, kind: "resource_limit", reason: "gpu_memory_full", then: "handed on" } }, { at: now - 4000, level: "warn", text: "left out of the offer", fields: { part: "model flux1-dev-fp8.safetensors", seconds: 240 } });
        return snapshot;
    },
    "redis-away"(snapshot, now) {
        Object.assign(snapshot.worker, { state: "redis_away", sentence: "Redis cannot be reached; one job goes on, and no job is claimed until it is back.", since: now - 95 * SECOND, heartbeat: now - 104 * SECOND });
        Object.assign(snapshot.worker.redis, { connected: false, since: now - 95 * SECOND, round_trip_ms: null });
        snapshot.queue = null;
        snapshot.loops.forEach((loop) => { if (["heartbeat", "leases", "tick", "sweep"].includes(loop.name)) Object.assign(loop, { doing: "waits for Redis" }); });
        snapshot.log.push({ at: now - 95_000, level: "warn", text: "Redis is away", fields: { address: "10.0.4.2:6379", error: "connection refused" } });
        return snapshot;
    },
    "four-gpus"(snapshot, now, { workers }) {
        Object.assign(snapshot.worker, { state: "working", sentence: "Three jobs running, 9 waiting jobs fit this box." });
        Object.assign(snapshot.gpus[2], { health: "fenced", reason: "Xid 94: contained memory error", remedy: "nothing; it is checked and works again by itself. If it comes again, have the card replaced", ecc_errors: 2 });
        Object.assign(snapshot.slots[2], { state: "fenced", job: null });
        const mig = (profile, total, job) => ({ name: profile, memory: { total_bytes: total * GB, used_bytes: (job + 0.02) * GB, job_bytes: job * GB, other_bytes: 0.02 * GB } });
        snapshot.gpus[3].mig = [mig("3g.40gb", 39.5, 27.4), mig("2g.20gb", 19.5, 11.2), mig("1g.10gb", 9.5, 0)];
        const running = [[0, 62, "KSampler: step 19 of 30", [19, 30]], [1, 18, "KSampler: step 5 of 28", [5, 28]], [3, 91, "VAEDecode", null]];
        for (const [n, progress, message, step] of running) snapshot.slots[n].job = slotJob(now, n, progress, message, step);
        snapshot.connectors[2].healthy = false;
        snapshot.connectors[2].why = "its GPU is fenced";
        Object.assign(snapshot.stats, { completed_last_hour: 201, per_hour: 201 });
        Object.assign(snapshot.stats, { completed: 4816, failed: 31, success_rate: 4816 / 4847 });
        snapshot.worker.siblings = [{ url: "http://127.0.0.1:1512/", worker: "render-07-chat" }];
        for (const one of snapshot.queue.classes) if (one.fits.length) one.fits = workers.filter((_, n) => n !== 2);
        Object.assign(snapshot.system, { memory_total_bytes: 1024 * GB, memory_used_bytes: 212 * GB, load: [14.2, 13.8, 12.9], cpu_percent: 17, agent_rss_bytes: 34.1e6, agent_cpu_percent: 1.9 });
        return snapshot;
    },
};
