// The page over states that a machine without GPUs does not come into: what stands there, for everybody, at every width.

import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { STATES, snapshot } from "./mock/states.js";
import { THEMES, WIDTHS, launch, overflow, until, violations } from "./support/browser.js";
import { overMock, text } from "./support/visit.js";

let browser;
before(async () => { browser = await launch(); });
after(() => browser?.close());
const visit = (options, test) => overMock(browser, options, test);

describe("every state, at every width, in both themes", () => {
    for (const state of STATES) {
        it(`${state} has no serious fault for people with a screen reader or weak eyes, and fits the screen`, async () => {
            await visit({ mock: { state, still: true } }, async ({ page }) => {
                for (const width of WIDTHS) {
                    await page.setViewportSize({ width, height: 900 });
                    for (const colorScheme of THEMES) {
                        await page.emulateMedia({ colorScheme, reducedMotion: "reduce" });
                        assert.deepEqual(await violations(page), [], `${width} px, ${colorScheme}`);
                    }
                    assert.equal(await overflow(page), 0, `wider than the screen at ${width} px`);
                }
            });
        });
    }
});

/** How far what is seen has been pushed about by what came: the sum of what Chromium calls layout shifts. */
const watchShifts = (page) => page.addInitScript(() => {
    window.shifted = 0;
    new PerformanceObserver((list) => { for (const { value } of list.getEntries()) window.shifted += value; }).observe({ type: "layout-shift", buffered: true });
});

describe("at every width", () => {
    for (const width of WIDTHS) {
        it(`nothing jumps at ${width} px, neither when the page comes nor when its numbers change`, async () => {
            await visit({ mock: { state: "four-gpus" }, width, before: watchShifts }, async ({ mock, page }) => {
                const { worker } = snapshot("four-gpus");
                for (let turn = 0; turn < 12; turn += 1) {
                    const redis = { ...worker.redis, round_trip_ms: [0.4, 12.3, 133.7][turn % 3] };
                    mock.push("worker", { ...worker, redis, heartbeat: Date.now() - ((turn * 7) % 31) * 1000, since: Date.now() - turn * 977_000 });
                    await until(page, (shown) => document.querySelector("#facts").textContent.includes(shown), `${redis.round_trip_ms} ms`);
                }
                const shifted = await page.evaluate(() => window.shifted);
                assert.ok(shifted < 0.02, `${shifted}`);
            });
        });

        it(`breaks no word of the loops at ${width} px`, async () => {
            await visit({ mock: { state: "four-gpus", still: true }, width }, async ({ page }) => {
                const broken = await page.evaluate(() => [...document.querySelectorAll("#loops-body .mono")].filter((name) => name.getClientRects().length > 1).map((name) => name.textContent));
                assert.deepEqual(broken, []);
            });
        });
    }
});

it("draws the clock", async () => {
    await visit({ mock: { state: "failing", still: true } }, async ({ page }) => {
        const clock = page.locator(".chart", { hasText: "Clock" });
        assert.match(await clock.innerText(), /1,815 MHz/);
        assert.match(await clock.locator("svg").getAttribute("aria-label"), /Clock, last 15 minutes: least [\d,]+ MHz, most [\d,]+ MHz/);
    });
});

it("finds faults where there are some", async () => {
    await visit({ mock: { state: "idle", still: true }, width: 360 }, async ({ page }) => {
        await page.evaluate(() => {
            document.querySelector(".sentence").style.color = "#dddddd";
            document.getElementById("theme").setAttribute("aria-label", "");
            document.getElementById("theme").textContent = "";
            document.querySelector(".figures").style.width = "500px";
        });
        const found = (await violations(page)).join();
        assert.match(found, /color-contrast/);
        assert.match(found, /button-name/);
        assert.ok((await overflow(page)) > 0);
    });
});

describe("what stands there", () => {
    it("tells a fenced GPU, its reason and remedy, MIG instances, and how much memory is whose", async () => {
        await visit({ mock: { state: "four-gpus", still: true } }, async ({ page }) => {
            const strip = page.locator(".gpu").nth(2);
            assert.match(await strip.innerText(), /fenced[\s\S]*Xid 94[\s\S]*What to do/);
            assert.match(await text(page, "#concerns"), /GPU 2 is fenced/);
            assert.equal(await page.locator(".mig tbody tr").count(), 3);
            assert.match(await page.locator(".gpu .stack").first().getAttribute("aria-label"), /GiB by jobs, .* GiB by others, of 80 GiB/);
            assert.match(await page.locator(".gpu svg[role=img]").first().getAttribute("aria-label"), /Utilisation, last 15 minutes: least \d+ %, most \d+ %/);
            assert.equal(await page.locator(".slot progress, .slot [role=progressbar]").count(), 3);
        });
    });

    it("leads to the machine's other dashboards where this one is reached", async () => {
        await visit({ mock: { state: "four-gpus", still: true }, expected: [/^elsewhere: http:\/\/localhost:/] }, async ({ mock, page }) => {
            await page.goto(mock.url.replace("127.0.0.1", "localhost"));
            const link = page.locator("#siblings a").first();
            await link.waitFor();
            assert.equal(await link.getAttribute("href"), "http://localhost:1512/");
        });
    });

    it("says what could run here and why not the rest", async () => {
        await visit({ mock: { state: "busy", still: true } }, async ({ page }) => {
            const rows = page.locator(".queue tbody tr");
            assert.match(await rows.nth(0).innerText(), /fits render-07/);
            assert.match(await rows.nth(2).innerText(), /does not fit[\s\S]*needs 80 GB GPU memory, has 24 GB/);
            assert.match(await text(page, ".slot"), /62 % of the whole job[\s\S]*Step 19 of 30 in KSampler[\s\S]*about \d+ s, at this pace/);
        });
    });

    it("shows failures with their reason and remedy, filters them, and runs one again", async () => {
        await visit({ mock: { state: "failing", still: true } }, async ({ mock, page }) => {
            assert.match(await text(page, "#concerns"), /of the last 12 jobs failed with gpu_memory_full/);
            await page.getByText(/^Failed \d+$/).click();
            await until(page, () => [...document.querySelectorAll(".history tbody tr")].every((row) => row.classList.contains("failed")));
            await page.getByRole("button", { name: /^Run job .* again$/ }).first().click();
            await page.locator(".told.good").waitFor();
            assert.match(mock.posts[0], /^\/api\/control\/retry-job\/[0-9a-f]+$/);
        });
    });

    it("opens pictures large, and finds lines of the log", async () => {
        await visit({ mock: { state: "busy", still: true } }, async ({ page }) => {
            await page.locator(".thumb").first().click();
            await page.locator("#viewer[open] img").waitFor();
            await page.keyboard.press("Escape");
            const lines = page.locator("#log-body li");
            const info = await lines.count();
            await page.selectOption("#log-level", "debug");
            await until(page, (before) => document.querySelectorAll("#log-body li").length > before, info);
            await page.fill("#log-words", "outputs stored");
            await until(page, () => [...document.querySelectorAll("#log-body li .text")].every((line) => line.textContent === "outputs stored"));
            await page.fill("#log-words", "nowhere to be found");
            await page.getByText(/No line of the last/).waitFor();
        });
    });

    it("has a helpful sentence with a command wherever there is nothing to show", async () => {
        const prepare = (mock) => { mock.change = (made) => Object.assign(made, { gpus: [], slots: [], queue: { waiting: 0, classes: [] }, jobs: { history: [] }, connectors: [], loops: [], stats: null, system: null, log: [], series: { step_ms: 2000, end: made.now, gpus: [] } }); };
        await visit({ mock: { state: "idle", still: true }, prepare }, async ({ page }) => {
            for (const id of ["gpus", "slots", "queue", "jobs", "connectors", "log"]) assert.match(await text(page, `#${id}-body .empty`), /gpu-worker \w+/, id);
            assert.deepEqual(await violations(page), []);
        });
    });

    it("shows what jobs say as text, whatever it looks like", async () => {
        const evil = "<img src=x onerror=alert(1)><script>alert(2)</script>";
        const prepare = (mock) => {
            mock.change = (made) => {
                made.worker.sentence = evil;
                made.slots[0].job.message = evil;
                made.jobs.history[0] = { ...made.jobs.history[0], state: "failed", failure: { type: evil, reason: evil, message: evil, remedy: evil, final: true } };
                made.log.push({ at: made.now, level: "error", text: evil, fields: { [evil]: evil } });
                made.connectors[0].model_names.checkpoints.push(evil);
            };
        };
        await visit({ mock: { state: "busy", still: true }, prepare }, async ({ page }) => {
            assert.equal(await page.locator("img[src='x'], main script").count(), 0);
            assert.equal((await text(page, ".sentence")).trim(), evil);
        });
    });
});
