// What may stand between a page and its agent. In: the agent's address. Out: another address, and what becomes of what passes there.

import { createServer, request as ask } from "node:http";

/** mode: "pass"; "swallow": the stream stays open and nothing of it arrives; "stall": nothing is answered; "refuse": each connection is cut. */
export async function between(url) {
    const to = new URL(url);
    const proxy = { mode: "pass", streams: 0 };
    const server = createServer((asked, response) => {
        if (proxy.mode === "refuse") return asked.socket.destroy();
        if (proxy.mode === "stall") return undefined;
        const isStream = asked.url === "/api/stream";
        // The agent answers to its own name alone.
        const headers = { ...asked.headers, host: to.host };
        const passed = ask({ host: to.hostname, port: to.port, method: asked.method, path: asked.url, headers }, (answer) => {
            response.writeHead(answer.statusCode, answer.headers);
            response.flushHeaders();
            if (isStream) proxy.streams += 1;
            answer.on("data", (bytes) => { if (!isStream || proxy.mode === "pass") response.write(bytes); });
            answer.on("end", () => response.end());
            answer.on("error", () => response.destroy());
        });
        passed.on("error", () => response.destroy());
        response.on("close", () => passed.destroy());
        passed.end();
    });
    await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
    proxy.url = `http://127.0.0.1:${server.address().port}/`;
    proxy.cut = () => server.closeAllConnections();
    proxy.stop = () => {
        server.closeAllConnections();
        return new Promise((resolve) => server.close(resolve));
    };
    return proxy;
}
