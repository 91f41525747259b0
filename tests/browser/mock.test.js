// The page over states that a machine without GPUs does not come into, and over connections that fail.

import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { STATES } from "./mock/states.js";
import { serve } from "./mock/server.js";
import { THEMES, WIDTHS, launch, open, overflow, until, violations } from "./support/browser.js";

let browser;
before(async () => { browser = await launch(); });
after(() => browser?.close());

/** Runs with a mock and a page over it, which must have no faults at the end. */
async function visit(options, test) {
    const mock = await serve(options.mock ?? {});
    try {
        options.prepare?.(mock);
        const visited = await open(browser, mock.url, options);
        await test({ mock, ...visited });
        await visited.close();
    } finally {
        await mock.stop();
    }
}

const text = (page, selector) => page.locator(selector).innerText();

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
            assert.match(await page.locator(".gpu .stack").first().getAttribute("aria-label"), /GB by jobs, .* GB by others, of 80 GB/);
            assert.match(await page.locator(".gpu svg[role=img]").first().getAttribute("aria-label"), /Utilisation, last 15 minutes: least \d+ %, most \d+ %/);
            assert.equal(await page.locator(".slot progress, .slot [role=progressbar]").count(), 3);
        });
    });

    it("says what could run here and why not the rest", async () => {
        await visit({ mock: { state: "busy", still: true } }, async ({ page }) => {
            const rows = page.locator(".queue tbody tr");
            assert.match(await rows.nth(0).innerText(), /fits render-07/);
            assert.match(await rows.nth(2).innerText(), /does not fit[\s\S]*needs 80 GB GPU memory, has 24 GB/);
            assert.match(await text(page, ".slot"), /step 19 of 30[\s\S]*about \d+ s, from 14 runs/);
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

    it("shows how to get the launch link when the agent wants it", async () => {
        const prepare = (mock) => { mock.answers["/api/control/pause"] = [401, { error: "the token is missing" }]; };
        await visit({ mock: { state: "idle", still: true }, prepare, expected: [/401/] }, async ({ page }) => {
            await page.getByRole("button", { name: "Pause" }).click();
            assert.match(await text(page, "#unlock[open]"), /gpu-worker dashboard/);
        });
        await visit({ mock: { state: "idle", still: true }, prepare: (mock) => { mock.locked = true; }, wait: false, expected: [/401/, /EventSource/] }, async ({ mock, page }) => {
            await page.locator("#unlock[open]").waitFor();
            mock.locked = false;
            await until(page, () => document.querySelector("#link").textContent === "Live" && !document.querySelector("#unlock").open);
        });
    });
});

describe("keys", () => {
    it("reaches everything without a mouse", async () => {
        await visit({ mock: { state: "busy", still: true } }, async ({ mock, page }) => {
            await page.keyboard.press("Tab");
            assert.equal(await page.evaluate(() => document.activeElement.textContent), "Skip to what is going on");
            const reached = [];
            for (let presses = 0; presses < 80; presses += 1) {
                await page.keyboard.press("Tab");
                const { name, seen } = await page.evaluate(() => {
                    const element = document.activeElement;
                    const { outlineStyle } = getComputedStyle(element);
                    if (element === document.body) return { name: "" };
                    return { name: element.getAttribute("aria-label") ?? (element.labels?.[0]?.textContent || element.textContent).trim(), seen: outlineStyle !== "none" || element.matches("input[type=radio]") };
                });
                if (name === "") break;
                assert.ok(seen, `the focus on ${name} cannot be seen`);
                reached.push(name);
            }
            for (const wanted of ["Pause", "Drain", "Re-probe", "Keys", "Free the memory of GPU 0", "Look back in the charts of GPU 0", /^Cancel job/, /^Show lighthouse/, /^Run job/, /checkpoints/, "Lines of the log", "Metrics"]) {
                assert.ok(reached.some((name) => (wanted instanceof RegExp ? wanted.test(name) : name === wanted)), `${wanted} among ${reached.join(", ")}`);
            }
            await page.getByRole("button", { name: /^Cancel job/ }).focus();
            await page.keyboard.press("Enter");
            await page.locator("#ask[open]").waitFor();
            assert.equal(await page.evaluate(() => document.activeElement.textContent), "Keep it");
            await page.keyboard.press("Escape");
            await until(page, () => document.activeElement.getAttribute("aria-label")?.startsWith("Cancel job"));
            assert.deepEqual(mock.posts, []);
        });
    });

    it("has shortcuts with a list, which can be switched off", async () => {
        await visit({ mock: { state: "busy", still: true } }, async ({ mock, page }) => {
            await page.keyboard.press("4");
            assert.equal(await page.evaluate(() => document.activeElement.id), "jobs-title");
            await page.keyboard.press("/");
            await page.keyboard.type("p?");
            assert.equal(await page.inputValue("#log-words"), "p?");
            assert.deepEqual(mock.posts, []);
            await page.locator("#log-words").blur();
            await page.keyboard.press("p");
            await page.locator(".told.good").waitFor();
            assert.deepEqual(mock.posts, ["/api/control/pause"]);
            await page.keyboard.press("?");
            assert.match(await text(page, "#help[open]"), /pause, or resume[\s\S]*go to History/);
            assert.deepEqual(await violations(page), []);
            await page.getByLabel("Single keys act").uncheck();
            await page.keyboard.press("Escape");
            await page.keyboard.press("p");
            await page.reload();
            await page.locator("#facts dd").first().waitFor();
            await page.keyboard.press("p");
            await page.keyboard.press("4");
            assert.deepEqual(mock.posts, ["/api/control/pause"]);
        });
    });

    it("looks back in the charts with arrow keys, in words too", async () => {
        await visit({ mock: { state: "busy", still: true } }, async ({ page }) => {
            const slider = page.getByRole("slider", { name: "Look back in the charts of GPU 0" });
            await slider.focus();
            for (let presses = 0; presses < 30; presses += 1) await page.keyboard.press("ArrowLeft");
            await until(page, () => document.querySelector("#gpus-note").textContent === "1 min ago");
            assert.match(await slider.getAttribute("aria-valuetext"), /^1 min ago: utilisation \d+ %, memory [\d.]+ GB, \d+ °C, \d+ W$/);
            await slider.blur();
            await until(page, () => document.querySelector("#gpus-note").textContent === "last 15 minutes");
        });
    });

    it("remembers the theme, and follows the system until one is chosen", async () => {
        await visit({ mock: { state: "idle", still: true }, theme: "dark" }, async ({ page }) => {
            const paper = () => page.evaluate(() => getComputedStyle(document.body).backgroundColor);
            assert.equal(await paper(), "rgb(16, 19, 21)");
            await page.keyboard.press("t");
            assert.equal(await paper(), "rgb(250, 250, 249)");
            await page.reload();
            assert.equal(await paper(), "rgb(250, 250, 249)");
        });
    });

    it("moves nothing for those who asked for that", async () => {
        await visit({ mock: { state: "busy", still: true }, reducedMotion: "reduce" }, async ({ page }) => {
            const moving = await page.evaluate(() => [...document.querySelectorAll("*")].filter((element) => { const style = getComputedStyle(element); return style.transitionDuration.split(", ").some((time) => time !== "0s") || style.animationName !== "none"; }).length);
            assert.equal(moving, 0);
        });
    });
});
