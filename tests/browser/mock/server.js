// The page over states that cannot be had here. In: a state. Out: a server on a free port of loopback, its stream alive.
//
//   node mock/server.js busy 8080     to look at it by hand; /mock/STATE changes the state

import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import { fileURLToPath } from "node:url";
import { picture } from "./picture.js";
import { STATES, snapshot } from "./states.js";

const ASSETS = fileURLToPath(new URL("../../../src/dashboard/assets/", import.meta.url));
const TYPES = { html: "text/html; charset=utf-8", css: "text/css; charset=utf-8", js: "text/javascript; charset=utf-8", svg: "image/svg+xml" };
export const POLICY = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'";

export async function serve({ state = "busy", port = 0, still = false } = {}) {
    const mock = { state, posts: [], answers: {}, stream: "open", opened: 0, change: null };
    const streams = new Set();
    const boot = Math.random().toString(16).slice(2, 10);
    let [progress, count] = [62, 0];
    const picture_of = (now) => {
        const made = snapshot(mock.state, now, progress);
        mock.change?.(made);
        return made;
    };
    const send = (response, name, data) => response.write(`id: ${boot}-${name === "beat" ? count : (count += 1)}\nevent: ${name}\ndata: ${JSON.stringify(data)}\n\n`);
    const json = (response, status, body) => response.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify(body));

    const server = createServer(async (request, response) => {
        const { pathname } = new URL(request.url, "http://mock");
        response.setHeader("cache-control", "no-store");
        if (request.method === "POST") {
            mock.posts.push(pathname);
            const [status, body] = mock.answers[pathname] ?? [200, { ok: true, message: `Done: ${pathname.split("/").slice(3).join(" ")}.` }];
            return json(response, status, body);
        }
        const state = pathname.match(/^\/mock\/(.+)$/)?.[1];
        if (STATES.includes(state)) {
            mock.state = state;
            for (const stream of streams) send(stream, "snapshot", picture_of(Date.now()));
            return json(response, 200, { state });
        }
        if (mock.locked && pathname.startsWith("/api/")) return json(response, 401, { error: "the token is missing" });
        if (pathname === "/api/snapshot") {
            response.setHeader("etag", `W/"${boot}-${(count += 1)}"`);
            return json(response, 200, picture_of(Date.now()));
        }
        if (pathname === "/api/stream") {
            if (mock.stream === "refused") return json(response, 502, { error: "no streams here" });
            response.writeHead(200, { "content-type": "text/event-stream" });
            if (mock.stream === "silent") return response.write(": held back by something in between\n\n");
            streams.add(response);
            mock.opened += 1;
            response.on("close", () => streams.delete(response));
            return send(response, "snapshot", picture_of(Date.now()));
        }
        const preview = pathname.match(/^\/api\/preview\/(\d+)$/);
        if (preview) return response.writeHead(200, { "content-type": "image/png" }).end(picture(Number(preview[1]) + 2, Math.min(1, progress / 100)));
        const output = pathname.match(/^\/api\/outputs\/(\w+)\/(\d+)$/);
        if (output) return response.writeHead(200, { "content-type": "image/png" }).end(picture(parseInt(output[1].slice(-4), 16) + Number(output[2]), 1, 128));
        const name = { "/": "index.html", "/favicon.ico": "icon.svg" }[pathname] ?? pathname.match(/^\/assets\/([a-z0-9.-]+)$/)?.[1];
        const body = name && (await readFile(ASSETS + name).catch(() => null));
        if (!body) return json(response, 404, { error: "there is nothing here" });
        response.writeHead(200, { "content-type": TYPES[name.split(".").at(-1)], "content-security-policy": POLICY }).end(body);
    });
    await new Promise((resolve) => server.listen(port, "127.0.0.1", resolve));

    // Held back by something in between: open, and silent.
    const everyStream = (send) => mock.stream !== "held" && streams.forEach(send);
    const beats = setInterval(() => everyStream((stream) => send(stream, "beat", { now: Date.now() })), 500);
    const newest = (gpu) => ({ index: gpu.index, ...Object.fromEntries(Object.entries(gpu).filter(([, values]) => Array.isArray(values)).map(([name, values]) => [name, values.at(-1)])) });
    const work = still ? null : setInterval(() => {
        const now = Date.now();
        progress = progress >= 99 ? 1 : progress + 1.5;
        const whole = picture_of(now);
        everyStream((stream) => {
            send(stream, "slots", whole.slots);
            send(stream, "gpus", whole.gpus);
            send(stream, "point", { end: now, gpus: whole.series.gpus.map(newest) });
        });
    }, 1000);
    return Object.assign(mock, {
        url: `http://127.0.0.1:${server.address().port}/`,
        push: (name, data) => streams.forEach((stream) => send(stream, name, data)),
        cut: () => streams.forEach((stream) => stream.destroy()),
        async stop() {
            clearInterval(beats);
            clearInterval(work);
            for (const stream of streams) stream.destroy();
            server.closeAllConnections?.();
            await new Promise((resolve) => server.close(resolve));
        },
    });
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
    const [state, port] = process.argv.slice(2);
    const mock = await serve({ state, port: Number(port ?? 8080) });
    console.log(mock.url);
}
