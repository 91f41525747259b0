// The page of a real agent, which works for a real Redis with the stand-in for ComfyUI.

import assert from "node:assert/strict";
import { after, afterEach, before, describe, it } from "node:test";
import { THEMES, WIDTHS, launch, open, overflow, until as inPage, violations } from "./support/browser.js";
import { rig as started, until } from "./support/rig.js";

let browser;
let rig;
before(async () => { [browser, rig] = await Promise.all([launch(), started()]); });
// What a test left waiting or paused must not be the next one's trouble.
afterEach(async () => {
    await rig.control("resume").catch(() => null);
    for (const job of rig.submitted.splice(0)) await rig.cli("cancel", job).catch(() => null);
});
after(async () => { await browser?.close(); await rig?.stop(); });

const bar = "[role=progressbar]";
const progressAbove = (page, least) => inPage(page, (least) => Number(document.querySelector("[role=progressbar]")?.getAttribute("aria-valuenow") ?? -1) > least, least);
const status = async (job) => (await rig.redisCli("HGET", `job:${job}`, "status"));
const entry = (page, job) => page.locator(".history tbody tr", { hasText: job });

it("shows a job's progress moving, its steps and its picture; then its output, which a reload keeps", async () => {
    const { page, close } = await open(browser, rig.url);
    const job = await rig.submit(rig.picture(30));
    await page.locator(".slot", { hasText: job }).waitFor();
    const seen = new Set();
    await progressAbove(page, 0);
    while (seen.size < 5) {
        const value = Number(await page.locator(bar).getAttribute("aria-valuenow", { timeout: 2000 }));
        if (!seen.has(value)) assert.ok([...seen].every((before) => before < value), `${value} after ${[...seen]}`);
        seen.add(value);
        await progressAbove(page, value);
    }
    assert.match(await page.locator(".slot .message").innerText(), /Step \d+ of 30 in /);
    await page.locator(".slot .steps").waitFor({ state: "attached" });
    await page.locator(".slot .preview img").waitFor();
    await inPage(page, () => document.querySelector(".slot .preview img")?.naturalWidth > 0);
    await entry(page, job).locator(".sign.good").waitFor();
    const shown = await entry(page, job).innerText();
    assert.match(shown, /comfyui[\s\S]*completed[\s\S]*\d s/);
    await page.reload();
    await entry(page, job).waitFor();
    await inPage(page, (job) => [...document.querySelectorAll(".history tbody tr")].find((row) => row.textContent.includes(job))?.querySelector("img")?.naturalWidth > 0, job);
    await page.locator(".figure", { hasText: "Success" }).getByText(/1 done|[2-9] done/).waitFor();
    await close();
});

it("cancels a job: asks once, the engine stops, the history says so", async () => {
    const { page, close } = await open(browser, rig.url);
    const job = await rig.submit(rig.picture(900));
    await progressAbove(page, 0);
    await page.getByRole("button", { name: `Cancel job ${job}` }).click();
    await page.getByRole("button", { name: "Cancel the job" }).click();
    await page.locator(".told.good").first().waitFor();
    await entry(page, job).getByText("cancelled").first().waitFor();
    assert.equal(await status(job), "cancelled");
    await page.locator(".slot .idle").waitFor();
    await close();
});

it("cancels a job with the keyboard alone", async () => {
    const { page, close } = await open(browser, rig.url);
    const job = await rig.submit(rig.picture(900));
    await progressAbove(page, 0);
    await page.keyboard.press("2");
    for (let presses = 0; presses < 10; presses += 1) {
        await page.keyboard.press("Tab");
        if (await page.evaluate(() => document.activeElement.getAttribute("aria-label")?.startsWith("Cancel job"))) break;
    }
    await page.keyboard.press("Enter");
    await page.locator("#ask[open]").waitFor();
    await page.keyboard.press("Tab");
    await page.keyboard.press("Enter");
    await entry(page, job).getByText("cancelled").first().waitFor();
    await close();
});

it("pauses: nothing is claimed until it is resumed, and another page sees it", async () => {
    const { page, close } = await open(browser, rig.url);
    const other = await open(browser, rig.url, { width: 360, theme: "dark" });
    await page.getByRole("button", { name: "Pause" }).click();
    await other.page.locator(".verdict", { hasText: "Paused" }).waitFor();
    await page.locator(".verdict", { hasText: "Paused" }).waitFor();
    const job = await rig.submit(rig.picture(3));
    await page.locator(".queue tbody tr").first().waitFor();
    assert.equal(await status(job), "pending");
    assert.equal(await page.locator(bar).count(), 0);
    await other.page.getByRole("button", { name: "Resume" }).click();
    await entry(page, job).locator(".sign.good").waitFor();
    await page.getByRole("button", { name: "Pause" }).waitFor();
    await close();
    await other.close();
});

it("says that Redis is away, and that it is back, and loses no job", async () => {
    const { page, close } = await open(browser, rig.url);
    const job = await rig.submit(rig.picture(60));
    await progressAbove(page, 0);
    await rig.killRedis();
    await page.locator(".verdict", { hasText: "Redis is away" }).waitFor();
    await page.locator("#concerns", { hasText: "Redis does not answer" }).waitFor();
    assert.deepEqual(await violations(page), []);
    await rig.startRedis();
    await inPage(page, () => !document.querySelector(".verdict").textContent.includes("Redis"));
    await entry(page, job).locator(".sign.good").waitFor();
    assert.equal(await status(job), "completed");
    await close();
});

it("tells a failure's reason and remedy, and runs the job again", async () => {
    const { page, close } = await open(browser, rig.url);
    const broken = rig.picture(3);
    broken.payload.workflow["3"].class_type = "KSamplerThatNobodyHas";
    const job = await rig.submit(broken);
    await entry(page, job).getByText("failed", { exact: true }).first().waitFor();
    assert.match(await entry(page, job).innerText(), /component_error[\s\S]*What to do:/);
    await page.locator("#stats", { hasText: "component_error" }).waitFor();
    const before = await page.locator(".history tbody tr.failed").count();
    await page.getByRole("button", { name: `Run job ${job} again` }).first().click();
    await page.locator(".told.good").first().waitFor();
    await inPage(page, (before) => document.querySelectorAll(".history tbody tr.failed").length > before, before);
    await close();
});

it("says why a waiting job does not fit this box", async () => {
    const { page, close } = await open(browser, rig.url);
    const job = await rig.submit(rig.picture(3, { requirements: { hardware: { gpu_memory_gb: 80 } } }));
    await page.locator(".queue tbody tr", { hasText: "does not fit" }).getByText(/80/).first().waitFor();
    await page.locator("#concerns", { hasText: "Nothing that waits fits this box" }).waitFor();
    await rig.cli("cancel", job);
    await page.locator("#queue-body .empty").waitFor();
    await close();
});

it("re-probes engines and frees a GPU's memory, and says what came of it", async () => {
    const { page, close } = await open(browser, rig.url);
    await page.getByRole("button", { name: "Re-probe" }).click();
    await page.locator(".told.good").first().waitFor();
    await page.getByRole("button", { name: "Free the memory of GPU 0" }).click();
    await page.locator(".told.good").nth(1).waitFor();
    await close();
});

it("keeps fresh without the stream", async () => {
    const { page, context, close } = await open(browser, "about:blank", { wait: false, expected: [/ERR_FAILED/, /^elsewhere/] });
    await context.route("**/api/stream", (route) => route.abort());
    await page.goto(rig.url);
    await page.getByText(/Asked each second/).waitFor();
    const job = await rig.submit(rig.picture(20));
    await progressAbove(page, 0);
    await entry(page, job).locator(".sign.good").waitFor();
    await close();
});

it("takes less than 100 KB for the page with all that it shows", async () => {
    const context = await browser.newContext({ viewport: { width: 1440, height: 900 } });
    const page = await context.newPage();
    const client = await context.newCDPSession(page);
    await client.send("Network.enable");
    let [bytes, stream] = [0, null];
    const requests = new Map();
    client.on("Network.requestWillBeSent", ({ requestId, request }) => requests.set(requestId, new URL(request.url).pathname));
    // Pictures that jobs made are as large as they are.
    client.on("Network.loadingFinished", ({ requestId, encodedDataLength }) => { if (!requests.get(requestId)?.startsWith("/api/outputs/")) bytes += encodedDataLength; });
    client.on("Network.eventSourceMessageReceived", ({ data, eventName }) => { stream ??= eventName === "snapshot" ? data.length : null; });
    await page.goto(rig.url);
    await page.locator("#facts dd").first().waitFor();
    await page.locator(".history tbody tr").first().waitFor();
    const paths = [...requests.values()];
    assert.ok(paths.includes("/") && paths.includes("/assets/main.js") && paths.includes("/api/stream"), paths.join());
    assert.ok(stream > 1000, "the first picture of the agent was seen");
    assert.ok(bytes > 10_000, `${bytes} bytes were seen`);
    const thumbs = paths.filter((path) => path.startsWith("/api/outputs/")).length;
    console.log(`# page ${bytes} bytes on the wire in ${paths.length} requests (${thumbs} of them pictures), first picture of the agent ${stream} bytes`);
    assert.ok(bytes + stream < 100_000, `${bytes} + ${stream} bytes`);
    // A second visit asks whether anything has changed, and is told no.
    bytes = 0;
    await page.reload();
    await page.locator("#facts dd").first().waitFor();
    assert.ok(bytes < 15_000, `${bytes} bytes at the second visit`);
    await context.close();
});

it("has an icon where browsers look for one, and nothing beside what it has", async () => {
    const answers = await Promise.all(["favicon.ico", "favicon.png", "assets/"].map((path) => fetch(rig.url + path)));
    assert.deepEqual(answers.map(({ status, headers }) => [status, headers.get("content-type")]), [[200, "image/svg+xml"], [404, "application/json"], [404, "application/json"]]);
    assert.match(await answers[0].text(), /^<svg /);
});

describe("a real agent at work", () => {
    it("has no serious fault for people with a screen reader or weak eyes, and fits every screen", async () => {
        const { page, close } = await open(browser, rig.url);
        const job = await rig.submit(rig.picture(900));
        await progressAbove(page, 0);
        for (const width of WIDTHS) {
            await page.setViewportSize({ width, height: 900 });
            for (const colorScheme of THEMES) {
                // Colours that are on their way to others are not what is judged.
                await page.emulateMedia({ colorScheme, reducedMotion: "reduce" });
                assert.deepEqual(await violations(page), [], `${width} px, ${colorScheme}`);
            }
            assert.equal(await overflow(page), 0, `wider than the screen at ${width} px`);
        }
        await rig.cli("cancel", job);
        await entry(page, job).waitFor();
        await close();
    });
});

it("drains: what runs is finished, nothing more is claimed", async () => {
    const { page, close } = await open(browser, rig.url);
    const first = await rig.submit(rig.picture(40));
    await progressAbove(page, 0);
    await page.getByRole("button", { name: "Drain" }).click();
    await page.locator(".told.good").first().waitFor();
    const second = await rig.submit(rig.picture(3));
    await entry(page, first).locator(".sign.good").waitFor();
    assert.equal(await status(second), "pending");
    await page.getByRole("button", { name: "Resume" }).click();
    await entry(page, second).locator(".sign.good").waitFor();
    await close();
});

describe("a page that is not for everybody", () => {
    const token = "a-token-of-32-letters-for-the-test";

    it("can be looked at and not used in read-only mode", async () => {
        await rig.agent.end("SIGKILL");
        await rig.startAgent({ WORKER_DASHBOARD_READONLY: "true" });
        const { page, close } = await open(browser, rig.url);
        await page.getByText(/This page is read-only/).waitFor();
        assert.equal(await page.getByRole("button", { name: "Pause" }).isDisabled(), true);
        assert.equal((await rig.control("pause"))[0], 403);
        await close();
    });

    it("opens by the launch link where a token is set, and then acts", async () => {
        await rig.agent.end("SIGKILL");
        const headers = { authorization: `Bearer ${token}` };
        await rig.startAgent({ WORKER_DASHBOARD_TOKEN: token, headers });
        const { page, context, close } = await open(browser, rig.url, { wait: false, expected: [/401/, /favicon/] });
        assert.match(await page.locator("body").innerText(), /gpu-worker dashboard/);
        const { path } = await (await fetch(`${rig.url}api/launch`, { method: "POST", headers })).json();
        await page.goto(new URL(path, rig.url).href);
        await inPage(page, () => document.querySelector("#link")?.textContent === "Live");
        await page.getByRole("button", { name: "Pause" }).click();
        await page.locator(".verdict", { hasText: "Paused" }).waitFor();
        // The cookie goes: what is shown stays, and the next order says what to do.
        await context.clearCookies();
        await page.getByRole("button", { name: "Resume" }).click();
        await page.locator("#unlock[open]", { hasText: "gpu-worker dashboard" }).waitFor();
        await close();
    });
});
