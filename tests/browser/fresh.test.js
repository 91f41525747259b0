// How fresh the page of a real agent is: behind something that holds back its stream, over an agent that hangs, dies, starts anew.

import assert from "node:assert/strict";
import { get } from "node:http";
import { after, afterEach, before, it } from "node:test";
import { between } from "./support/between.js";
import { launch, open, until as inPage } from "./support/browser.js";
import { oldest, said, watchLink } from "./support/link.js";
import { rig as started } from "./support/rig.js";

let browser;
let rig;
before(async () => { [browser, rig] = await Promise.all([launch(), started()]); });
afterEach(async () => { for (const job of rig.submitted.splice(0)) await rig.cli("cancel", job).catch(() => null); });
after(async () => { await browser?.close(); await rig?.stop(); });

/** Shown as fresh though nothing was heard for 2 s, and a little for a busy machine. */
const TOO_OLD = 3000;
const live = (page) => inPage(page, () => document.querySelector("#link")?.textContent === "Live");
const progressAbove = (page, least) => inPage(page, (least) => Number(document.querySelector("[role=progressbar]")?.getAttribute("aria-valuenow") ?? -1) > least, least);
const visit = async (url) => {
    const visited = await open(browser, url, { expected: [/ERR_/], prepare: watchLink });
    await live(visited.page);
    return visited;
};

/** The longest silence of the stream, as another program hears it. */
const listen = (url) => new Promise((resolve, reject) => {
    let [heard, longest] = [performance.now(), 0];
    const asked = get(`${url}api/stream`, (stream) => {
        const hear = () => {
            longest = Math.max(longest, performance.now() - heard);
            heard = performance.now();
        };
        stream.on("data", hear);
        resolve({ end: () => { hear(); asked.destroy(); return Math.round(longest); } });
    });
    asked.on("error", reject);
});

it("stays live and says nothing else while the agent is busy", async () => {
    const [{ page, close }, silence] = [await visit(rig.url), await listen(rig.url)];
    for (const steps of [60, 20]) await rig.submit(rig.picture(steps));
    await inPage(page, () => document.querySelectorAll(".history tbody tr.completed").length >= 2);
    const longest = silence.end();
    console.log(`# the busy agent's longest silence was ${longest} ms`);
    // A machine that lets the agent say nothing for so long has it called silent, rightly.
    if (longest < 1000) assert.deepEqual((await said(page)).filter((text) => text !== "Connecting"), ["Live"]);
    await close();
});

it("is fresh within seconds behind a proxy that swallows the stream, and live again when it lets go", async () => {
    const proxy = await between(rig.url);
    const { page, close } = await visit(proxy.url);
    await rig.submit(rig.picture(120));
    await progressAbove(page, 0);
    proxy.mode = "swallow";
    await page.getByText(/Asked each second/).waitFor();
    const value = Number(await page.locator("[role=progressbar]").getAttribute("aria-valuenow"));
    await progressAbove(page, value);
    proxy.mode = "pass";
    await live(page);
    assert.ok((await oldest(page)) < TOO_OLD, `${await oldest(page)} ms old and called fresh`);
    await close();
    await proxy.stop();
});

it("says of when it is what it shows when nothing gets through any more", async () => {
    const proxy = await between(rig.url);
    const { page, close } = await visit(proxy.url);
    for (const mode of ["stall", "refuse"]) {
        proxy.mode = mode;
        proxy.cut();
        await page.getByText(/As of/).waitFor();
        proxy.mode = "pass";
        proxy.cut();
        await live(page);
    }
    assert.deepEqual((await said(page)).filter((text) => /Asked/.test(text)), []);
    assert.ok((await oldest(page)) < TOO_OLD, `${await oldest(page)} ms old and called fresh`);
    await close();
    await proxy.stop();
});

it("says of when it is what it shows while the agent hangs, and is live when it goes on", async () => {
    const { page, close } = await visit(rig.url);
    for (const grace of [0, 5000]) {
        const stopped = Date.now();
        rig.agent.kill("SIGSTOP");
        try {
            await page.getByText(/As of/).waitFor();
            console.log(`# an agent that hangs is seen after ${Date.now() - stopped} ms`);
            // Once before the first question is given up, once after that.
            await new Promise((resolve) => setTimeout(resolve, grace));
        } finally {
            rig.agent.kill("SIGCONT");
        }
        const goes = Date.now();
        await live(page);
        console.log(`# and that it goes on after ${Date.now() - goes} ms`);
    }
    assert.deepEqual((await said(page)).filter((text) => /Asked/.test(text)), []);
    assert.ok((await oldest(page)) < TOO_OLD, `${await oldest(page)} ms old and called fresh`);
    await close();
});

it("is live again soon after an agent was killed and started anew, says nothing wrong meanwhile, and acts", async () => {
    const { page, close } = await open(browser, rig.url, { expected: [/ERR_/, /401/], prepare: watchLink });
    await live(page);
    const killed = Date.now();
    await rig.agent.end("SIGKILL");
    await page.getByText(/As of/).waitFor();
    console.log(`# an agent that was killed is seen after ${Date.now() - killed} ms`);
    await rig.restartAgent();
    const ready = Date.now();
    await live(page);
    console.log(`# it is live ${Date.now() - ready} ms after the new one is ready`);
    assert.deepEqual((await said(page)).filter((text) => /Asked/.test(text)), []);
    assert.ok((await oldest(page)) < TOO_OLD, `${await oldest(page)} ms old and called fresh`);
    await page.getByRole("button", { name: "Re-probe" }).click();
    await page.locator(".told.good").first().waitFor();
    await close();
});
