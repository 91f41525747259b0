// A real agent on a real Redis with the stand-in for ComfyUI, all on free ports of loopback and in a folder of their own.
// In: the program. Out: its page's address; ways to submit jobs, to take Redis away and to bring it back. Nothing outlives it.

import assert from "node:assert/strict";
import { spawn, execFile } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer, connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

const ROOT = fileURLToPath(new URL("../../../", import.meta.url));
const PROGRAM = process.env.GPU_WORKER ?? join(process.env.TARGET_DIR ?? join(ROOT, "target"), "debug/gpu-worker");
const PATIENCE = 30_000;

const freePort = () => new Promise((resolve, reject) => {
    const server = createServer();
    server.once("error", reject);
    server.listen(0, "127.0.0.1", () => {
        const { port } = server.address();
        server.close(() => resolve(port));
    });
});

/** Waits until `check` answers with something, asking again when something may have happened. */
export async function until(what, check, patience = PATIENCE) {
    const end = Date.now() + patience;
    for (;;) {
        const found = await check();
        if (found) return found;
        if (Date.now() > end) assert.fail(`in vain: ${typeof what === "function" ? what() : what}`);
        await new Promise((resolve) => setTimeout(resolve, 50));
    }
}

/** A child that dies with this process, whatever becomes of it. */
function child(command, args, options = {}) {
    const made = spawn("setpriv", ["--pdeathsig", "KILL", command, ...args], { stdio: ["ignore", "pipe", "pipe"], ...options });
    made.said = "";
    for (const stream of [made.stdout, made.stderr]) stream.on("data", (text) => { made.said += text; });
    made.ended = new Promise((resolve) => made.once("exit", resolve));
    made.end = async (signal) => {
        if (made.exitCode === null && made.signalCode === null) made.kill(signal);
        await made.ended;
    };
    return made;
}

const answers = (port) => new Promise((resolve) => {
    const socket = connect(port, "127.0.0.1", () => socket.write("PING\r\n"));
    const settle = (value) => { socket.destroy(); resolve(value); };
    socket.once("data", (data) => settle(String(data).startsWith("+PONG")));
    socket.once("error", () => settle(false));
});

/** env: more variables of the agent; stepMs: time of one sampling step of the stand-in. */
export async function rig({ env = {}, stepMs = 150 } = {}) {
    const folder = mkdtempSync(join(tmpdir(), "gpu-worker-browser-"));
    const redisPort = await freePort();
    const redisUrl = `redis://127.0.0.1:${redisPort}`;
    const started = [];
    const begin = (...words) => {
        const made = child(...words);
        started.push(made);
        return made;
    };
    const environment = { PATH: process.env.PATH, HOME: folder, HUB_REDIS_URL: redisUrl };
    const rig = { folder, redisUrl, submitted: [] };

    rig.startRedis = async () => {
        rig.redis = begin("redis-server", ["--port", String(redisPort), "--bind", "127.0.0.1", "--dir", folder, "--appendonly", "yes", "--appendfsync", "always", "--save", ""]);
        await until("Redis answers", () => answers(redisPort));
    };
    rig.killRedis = () => rig.redis.end("SIGKILL");

    rig.cli = async (...words) => (await promisify(execFile)(PROGRAM, words, { env: environment, cwd: folder, timeout: PATIENCE })).stdout.trim();
    rig.redisCli = async (...words) => (await promisify(execFile)("redis-cli", ["-p", String(redisPort), ...words])).stdout.trim();

    let count = 0;
    /** Submits a job file; answers its id. */
    rig.submit = async (job) => {
        const file = join(folder, `job-${(count += 1)}.json`);
        writeFileSync(file, JSON.stringify(job));
        const { job_id: id } = JSON.parse(await rig.cli("submit", file, "--json"));
        assert.ok(id, "submit tells the job's id");
        rig.submitted.push(id);
        return id;
    };
    /** The example's picture, in so many steps. */
    rig.picture = (steps, more = {}) => {
        const graph = JSON.parse(readFileSync(join(ROOT, "examples/comfyui-workflow.json"), "utf8"));
        graph["3"].inputs.steps = steps;
        graph["3"].inputs.seed = (count += 1);
        return { service_required: "comfyui", payload: { workflow: graph, preview_method: "auto" }, ...more };
    };

    /** An agent beside others, and its page's address. */
    rig.beside = async ({ headers = {}, ...more } = {}) => {
        const agent = begin(PROGRAM, ["run"], {
            cwd: folder,
            env: {
                ...environment, WORKER_ID: "box", MACHINE_ID: "box", SERVICES: "comfyui,simulation", COMFYUI_URL: rig.engineUrl, OUTPUT_DIR: join(folder, "outputs"), STATE_DIR: join(folder, "state"), XDG_RUNTIME_DIR: folder,
                WORKER_DASHBOARD_PORT: "0", GPU_COUNT: "1", GPU_MEMORY_GB: "24", GPU_MODEL: "Stand-in RTX 4090", LOG_FORMAT: "json", ...env, ...more,
            },
        });
        const url = await until(() => `the agent tells its URL; it said:\n${agent.said}`, () => {
            if (agent.exitCode !== null) assert.fail(`the agent ended:\n${agent.said}`);
            return agent.said.match(/"url":"(http:[^"]+)"/)?.[1];
        });
        await until(() => `the agent is ready; it said:\n${agent.said}`, async () => (await fetch(`${url}readyz`, { headers }).catch(() => null))?.status === 200);
        return { agent, url };
    };
    rig.startAgent = async (more) => Object.assign(rig, await rig.beside(more));
    /** The same agent again, at the same address. */
    rig.restartAgent = () => rig.startAgent({ WORKER_DASHBOARD_PORT: new URL(rig.url).port });
    /** An order as the page gives it: with the cookie that the page comes with. */
    rig.control = async (action) => {
        const cookie = (await fetch(rig.url)).headers.get("set-cookie")?.split(";")[0] ?? "";
        const answer = await fetch(`${rig.url}api/control/${action}`, { method: "POST", headers: { cookie, origin: rig.url.replace(/\/$/, ""), "sec-fetch-site": "same-origin" } });
        return [answer.status, await answer.json()];
    };
    rig.stop = async () => {
        for (const made of started.reverse()) await made.end("SIGKILL");
        rmSync(folder, { recursive: true, force: true });
    };

    try {
        await rig.startRedis();
        const engine = begin(PROGRAM, ["stand-in", "comfyui", "--port", "0", "--step-ms", String(stepMs)], { env: environment, cwd: folder });
        rig.engineUrl = await until("the stand-in tells its URL", () => engine.said.match(/at (http:\S+)/)?.[1]);
        await rig.startAgent();
        return rig;
    } catch (error) {
        await rig.stop();
        throw error;
    }
}
