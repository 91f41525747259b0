// The page over connections that fail, and what it asks of an agent.

import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { serve } from "./mock/server.js";
import { snapshot } from "./mock/states.js";
import { launch, open, until, violations } from "./support/browser.js";
import { oldest, said, watchLink } from "./support/link.js";
import { until as happens } from "./support/rig.js";
import { overMock, text } from "./support/visit.js";

/** Shown as fresh though nothing was heard for 2 s, and a little for a busy machine. */
const TOO_OLD = 3000;

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
        it(`asks again and again when the stream is ${stream}, and goes back to it when it comes`, async () => {
            await visit({ mock: { state: "busy" }, before: watchLink, prepare: (mock) => { mock.stream = stream; }, expected }, async ({ mock, page }) => {
                await page.getByText(/Asked each second/).waitFor();
                const first = await page.locator("[role=progressbar]").getAttribute("aria-valuenow");
                await until(page, (before) => document.querySelector("[role=progressbar]").getAttribute("aria-valuenow") !== before, first);
                mock.stream = "open";
                await until(page, () => document.querySelector("#link").textContent === "Live");
                assert.ok((await oldest(page)) < TOO_OLD, `${await oldest(page)} ms old and called fresh`);
            });
        });
    }

    it("keeps fresh when an open stream falls silent, and says that it asks", async () => {
        await visit({ mock: { state: "busy" }, before: watchLink }, async ({ mock, page }) => {
            await until(page, () => document.querySelector("#link").textContent === "Live");
            mock.stream = "held";
            await page.getByText(/Asked each second/).waitFor();
            mock.change = (made) => { made.worker.sentence = "Told by a question."; };
            await page.getByText("Told by a question.").waitFor();
            mock.stream = "open";
            await until(page, () => document.querySelector("#link").textContent === "Live");
            assert.ok((await oldest(page)) < TOO_OLD, `${await oldest(page)} ms old and called fresh`);
        });
    });

    it("opens a stream that was cut anew, and makes no fuss about it", async () => {
        await visit({ mock: { state: "busy" }, before: watchLink, expected: [/ERR_/] }, async ({ mock, page }) => {
            await until(page, () => document.querySelector("#link").textContent === "Live");
            for (let times = 0; times < 3; times += 1) {
                const { opened } = mock;
                mock.cut();
                await happens("the stream is opened anew", () => mock.opened > opened);
            }
            mock.push("log", [{ at: Date.now(), level: "warn", text: "after the cuts", fields: {} }]);
            await page.getByText("after the cuts").waitFor();
            assert.deepEqual((await said(page)).filter((text) => !["Connecting", "Live"].includes(text)), []);
        });
    });

    it("raises no alarm after its own thread was busy, or its tab was frozen, for longer than the agent may be silent", async () => {
        await visit({ mock: { state: "busy" }, before: watchLink }, async ({ page, context }) => {
            await until(page, () => document.querySelector("#link").textContent === "Live");
            await page.evaluate(() => { for (const end = performance.now() + 4000; performance.now() < end;); });
            const tools = await context.newCDPSession(page);
            await tools.send("Page.setWebLifecycleState", { state: "frozen" });
            await new Promise((resolve) => setTimeout(resolve, 4000));
            await tools.send("Page.setWebLifecycleState", { state: "active" });
            const first = await page.locator("[role=progressbar]").getAttribute("aria-valuenow");
            await until(page, (before) => document.querySelector("[role=progressbar]").getAttribute("aria-valuenow") !== before, first);
            assert.deepEqual((await said(page)).filter((text) => !["Connecting", "Live"].includes(text)), []);
        });
    });

    it("shows once what comes by the stream and by a question, in whichever order", async () => {
        await visit({ mock: { state: "busy", still: true } }, async ({ page }) => {
            const shown = await page.evaluate(async () => {
                const { state, takeEvent, takeSnapshot } = await import("/assets/store.js");
                const job = (id) => ({ ...state.data.jobs.history[0], id });
                const whole = (ids, sentence) => ({ ...structuredClone(state.data), jobs: { kept: 100, history: ids.map(job) }, worker: { ...state.data.worker, sentence } });
                const seen = () => `${state.data.jobs.history.map(({ id }) => id).join("")} ${state.data.worker.sentence}`;
                const turns = [];
                takeSnapshot(whole(["b", "a"], "new"), "boot-12");
                turns.push(seen());
                // On their way since before the question was answered.
                takeEvent("job", job("b"), "boot-11");
                takeEvent("worker", { ...state.data.worker, sentence: "old" }, "boot-12");
                turns.push(seen());
                takeEvent("job", job("c"), "boot-13");
                // Answered before that, and slower.
                takeSnapshot(whole(["b", "a"], "old"), "boot-12");
                turns.push(seen());
                // Another process counts anew.
                takeSnapshot(whole(["d"], "reborn"), "other-1");
                takeEvent("job", job("e"), "other-2");
                turns.push(seen());
                return turns;
            });
            assert.deepEqual(shown, ["ba new", "ba new", "cba new", "ed reborn"]);
        });
    });

    it("says of when it is what it shows when it hears nothing, greys all of it, and is back by itself", async () => {
        const mock = await serve({ state: "failing" });
        const { page, close } = await open(browser, mock.url, { expected: [/ERR_/], prepare: watchLink, reducedMotion: "reduce" });
        const port = Number(new URL(mock.url).port);
        const colours = () => page.evaluate(() => [".figure .value", ".verdict strong", ".facts dd", ".sign.bad", ".progress .value", ".chart-head b", ".table td", "#system dd"].map((name) => `${name} ${getComputedStyle(document.querySelector(name)).color}`));
        await until(page, () => document.querySelector("#link").textContent === "Live");
        const fresh = await colours();
        await mock.stop();
        await page.getByText(/As of \d\d:\d\d:\d\d \(\d+ s ago\)/).waitFor();
        const old = await colours();
        for (const [at, colour] of old.entries()) assert.notEqual(colour, fresh[at]);
        assert.equal(new Set(old.map((colour) => colour.split(" rgb")[1])).size, 1, old.join());
        assert.equal(await page.getByRole("button", { name: "Pause" }).isDisabled(), true);
        // What belongs to then stands still; the age of all of it goes on.
        const uptime = () => page.evaluate(() => [document.querySelector(".slot .facts time").textContent, document.querySelector("#link time").textContent]);
        const [ran, age] = await uptime();
        await until(page, (before) => document.querySelector("#link time").textContent !== before, age);
        assert.equal((await uptime())[0], ran);
        for (const colorScheme of ["light", "dark"]) {
            await page.emulateMedia({ colorScheme, reducedMotion: "reduce" });
            assert.deepEqual(await violations(page), [], colorScheme);
        }
        assert.ok((await oldest(page)) < TOO_OLD, `${await oldest(page)} ms old and called fresh`);
        const again = await serve({ state: "busy", port });
        try {
            await until(page, () => document.querySelector("#link").textContent === "Live");
            assert.deepEqual((await said(page)).filter((text) => /Asked/.test(text)), []);
            assert.notDeepEqual(await colours(), old);
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

    it("says in an open question that its job has ended, and asks no more", async () => {
        await visit({ mock: { state: "busy", still: true } }, async ({ mock, page }) => {
            const { slots, jobs: { history } } = snapshot("busy");
            await page.getByRole("button", { name: /^Cancel job/ }).click();
            await page.locator("#ask[open]").waitFor();
            mock.push("job", { ...history[0], id: slots[0].job.id, state: "completed", failure: null });
            mock.push("slots", [{ ...slots[0], state: "idle", job: null }]);
            await page.locator("#ask[open]", { hasText: "It was completed meanwhile." }).waitFor();
            assert.deepEqual(await page.locator("#ask button").allInnerTexts(), ["Close"]);
            assert.deepEqual(await violations(page), []);
            await page.keyboard.press("Enter");
            await until(page, () => !document.querySelector("#ask").open);
            assert.deepEqual(mock.posts, []);
        });
    });

    it("gives failed and cancelled jobs a new life, once", async () => {
        await visit({ mock: { state: "busy", still: true } }, async ({ mock, page }) => {
            const { jobs: { history: [entry] } } = snapshot("busy");
            const push = (more) => mock.push("job", { ...entry, ended: Date.now(), outputs: [], failure: null, ...more });
            push({ id: "c0ffee", state: "cancelled", can_retry: true });
            const again = page.getByRole("button", { name: "Run job c0ffee again" });
            await again.click();
            await page.locator(".told.good").waitFor();
            assert.deepEqual(mock.posts, ["/api/control/retry-job/c0ffee"]);
            push({ id: "c0ffee", state: "completed", can_retry: false });
            await again.waitFor({ state: "detached" });
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
