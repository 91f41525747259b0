// The page over connections that fail, and what it asks of an agent.

import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { serve } from "./mock/server.js";
import { launch, open, until, violations } from "./support/browser.js";
import { overMock, text } from "./support/visit.js";

let browser;
before(async () => { browser = await launch(); });
after(() => browser?.close());
const visit = (options, test) => overMock(browser, options, test);

describe("live", () => {
    it("moves with the stream: progress, charts, a new entry of the history, a line of the log", async () => {
        await visit({ mock: { state: "busy" } }, async ({ mock, page }) => {
            const value = () => Number(document.querySelector("[role=progressbar]").getAttribute("aria-valuenow"));
            const first = await page.evaluate(value);
            await until(page, (before) => Number(document.querySelector("[role=progressbar]").getAttribute("aria-valuenow")) > before + 2, first);
            const rows = await page.locator(".history tbody tr").first().innerText();
            mock.push("job", { id: "fresh", service: "comfyui", worker: "render-07", attempt: 1, state: "completed", claimed: Date.now() - 4000, ended: Date.now(), duration_ms: 4000, failure: null, outputs: [] });
            mock.push("log", [{ at: Date.now(), level: "warn", text: "a line that is new", fields: {} }]);
            await page.locator(".history tbody tr").first().getByText("fresh").waitFor();
            await page.getByText("a line that is new").waitFor();
            assert.notEqual(await page.locator(".history tbody tr").first().innerText(), rows);
            assert.match(await text(page, "#link"), /Live/);
        });
    });

    it("redraws nothing that did not change: a focused button stays the same element", async () => {
        await visit({ mock: { state: "busy" } }, async ({ page }) => {
            await page.getByRole("button", { name: /^Cancel job/ }).focus();
            await page.evaluate(() => { window.held = document.activeElement; });
            const first = await page.locator("[role=progressbar]").getAttribute("aria-valuenow");
            await until(page, (before) => document.querySelector("[role=progressbar]").getAttribute("aria-valuenow") !== before, first);
            assert.equal(await page.evaluate(() => window.held === document.activeElement && window.held.isConnected), true);
        });
    });

    it("keeps as many rows as there are entries, though some bear the same name", async () => {
        await visit({ mock: { state: "busy" } }, async ({ mock, page }) => {
            for (const turn of [1, 2, 3]) {
                const loop = (name, doing) => ({ name, doing, ticked: Date.now(), hanging: false });
                mock.push("loops", [loop("heartbeat", `first, turn ${turn}`), loop("heartbeat", `second, turn ${turn}`), loop("tick", "at it")]);
                await page.getByText(`second, turn ${turn}`).waitFor();
                assert.equal(await page.locator("#loops-body tbody tr").count(), 3);
            }
        });
    });

    for (const [stream, expected] of [["silent", []], ["refused", [/502/]]]) {
        it(`asks every 2 s when the stream is ${stream}, and goes back to it when it comes`, async () => {
            await visit({ mock: { state: "busy" }, prepare: (mock) => { mock.stream = stream; }, expected }, async ({ mock, page }) => {
                await page.getByText(/Asked every 2 s/).waitFor();
                const first = await page.locator("[role=progressbar]").getAttribute("aria-valuenow");
                await until(page, (before) => document.querySelector("[role=progressbar]").getAttribute("aria-valuenow") !== before, first);
                mock.stream = "open";
                // A silent stream stays open for ever: what is in between has to let go of it.
                await page.evaluate(() => dispatchEvent(new Event("online")));
                await until(page, () => document.querySelector("#link").textContent === "Live");
            });
        });
    }

    it("says since when it hears nothing, greys what is old, and is back by itself", async () => {
        const mock = await serve({ state: "busy" });
        const { page, close } = await open(browser, mock.url, { expected: [/ERR_/] });
        const port = Number(new URL(mock.url).port);
        await mock.stop();
        await page.getByText(/Nothing heard since \d\d:\d\d:\d\d/).waitFor();
        assert.equal(await page.evaluate(() => document.documentElement.classList.contains("stale")), true);
        assert.equal(await page.getByRole("button", { name: "Pause" }).isDisabled(), true);
        assert.deepEqual(await violations(page), []);
        const again = await serve({ state: "busy", port });
        try {
            await until(page, () => document.querySelector("#link").textContent === "Live");
            assert.equal(await page.evaluate(() => document.documentElement.classList.contains("stale")), false);
            await close();
        } finally {
            await again.stop();
        }
    });
});

describe("controls", () => {
    it("asks once before a job is cancelled, and lets it be", async () => {
        await visit({ mock: { state: "busy", still: true } }, async ({ mock, page }) => {
            const cancel = page.getByRole("button", { name: /^Cancel job/ });
            await cancel.click();
            assert.deepEqual(await violations(page), []);
            await page.getByRole("button", { name: "Keep it" }).click();
            assert.deepEqual(mock.posts, []);
            await cancel.click();
            await page.getByRole("button", { name: "Cancel the job" }).click();
            await page.locator(".told.good").waitFor();
            assert.match(mock.posts.join(), /^\/api\/control\/cancel-job\/[0-9a-f]+$/);
        });
    });

    it("shows a refusal with what to do, and keeps it until it is put away", async () => {
        const prepare = (mock) => { mock.answers["/api/control/probe"] = [409, { error: "The probes run already.", remedy: "wait for them" }]; };
        await visit({ mock: { state: "idle", still: true }, prepare, expected: [/409/] }, async ({ page }) => {
            await page.getByRole("button", { name: "Re-probe" }).click();
            await page.locator(".told.bad").getByText(/The probes run already\.\s*What to do: wait for them/).waitFor();
            await page.getByRole("button", { name: "Put this message away" }).click();
            assert.equal(await page.locator(".told").count(), 0);
        });
    });

    it("cannot be used in read-only mode, and says why", async () => {
        const prepare = (mock) => { mock.change = (made) => { made.read_only = true; }; };
        await visit({ mock: { state: "failing", still: true }, prepare }, async ({ page, mock }) => {
            await page.getByText(/read-only: the agent was started with WORKER_DASHBOARD_READONLY=true/).waitFor();
            for (const name of [/^Pause/, /^Drain/, /^Re-probe/, /^Cancel job/, /^Free the memory/, /^Run job/]) assert.equal(await page.getByRole("button", { name }).first().isDisabled(), true, String(name));
            await page.keyboard.press("p");
            await page.locator(".told.warn").waitFor();
            assert.deepEqual(mock.posts, []);
        });
    });

    it("fetches the cookie of an agent that was started anew, and gives the order again", async () => {
        const prepare = (mock) => { mock.answers["/api/control/pause"] = [401, { error: "the token is missing" }]; };
        await visit({ mock: { state: "idle", still: true }, prepare, expected: [/401/] }, async ({ mock, page }) => {
            await page.route(({ pathname }) => pathname === "/", (route) => {
                mock.answers["/api/control/pause"] = [200, { ok: true, message: "Paused." }];
                return route.continue();
            });
            await page.getByRole("button", { name: "Pause" }).click();
            await page.locator(".told.good", { hasText: "Paused." }).waitFor();
            assert.equal(await page.locator("#unlock[open]").count(), 0);
            assert.equal(mock.posts.length, 2);
        });
    });

    it("shows how to get the launch link when the agent wants it", async () => {
        const prepare = (mock) => { mock.answers["/api/control/pause"] = [401, { error: "the token is missing" }]; };
        await visit({ mock: { state: "idle", still: true }, prepare, expected: [/401/] }, async ({ page }) => {
            await page.getByRole("button", { name: "Pause" }).click();
            await page.locator("#unlock[open]", { hasText: "gpu-worker dashboard" }).waitFor();
        });
        await visit({ mock: { state: "idle", still: true }, prepare: (mock) => { mock.locked = true; }, wait: false, expected: [/401/, /EventSource/] }, async ({ mock, page }) => {
            await page.locator("#unlock[open]").waitFor();
            mock.locked = false;
            await until(page, () => document.querySelector("#link").textContent === "Live" && !document.querySelector("#unlock").open);
        });
    });
});
