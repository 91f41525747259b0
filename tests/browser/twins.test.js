// Two agents of one machine in one browser: names, links to each other, cookies and controls of their own.

import assert from "node:assert/strict";
import { after, before, it } from "node:test";
import { launch, open, until as inPage } from "./support/browser.js";
import { rig as started } from "./support/rig.js";

let browser;
let rig;
before(async () => { [browser, rig] = await Promise.all([launch(), started({ env: { WORKER_ID: "left", MACHINE_ID: "render-07" } })]); });
after(async () => { await browser?.close(); await rig?.stop(); });

const verdict = (page, word) => page.locator(".verdict", { hasText: word }).waitFor();
const press = (page, name) => page.getByRole("button", { name, exact: true }).click();

it("tells two agents of one machine apart, leads from one to the other, and gives each its own orders", async () => {
    const left = rig.url;
    const { url: right } = await rig.beside({ WORKER_ID: "right" });
    assert.notEqual(left, right);
    const { page: one, context, close } = await open(browser, left, { expected: [/^elsewhere: /] });
    const other = await context.newPage();
    await other.goto(right);
    await other.locator("#facts dd").first().waitFor();
    assert.match(await one.locator("h1").innerText(), /left on render-07/);
    assert.match(await other.locator("h1").innerText(), /right on render-07/);
    assert.match(await one.title(), /left on render-07 · gpu-worker$/);
    assert.match(await other.title(), /right on render-07 · gpu-worker$/);

    // Cookies are kept by name and host; ports do not part them.
    assert.deepEqual((await context.cookies()).map(({ name }) => name).sort(), [left, right].map((url) => `gpu_worker_${new URL(url).port}`).sort());
    await press(one, "Pause");
    await verdict(one, "Paused");
    await press(other, "Drain");
    await verdict(other, "Drain");
    await press(one, "Resume");
    await inPage(one, () => !document.querySelector(".verdict").textContent.includes("Paused"));
    await verdict(other, "Drain");
    await press(other, "Resume");
    await inPage(other, () => !document.querySelector(".verdict").textContent.includes("Drain"));

    for (const [page, name, url] of [[one, "right", right], [other, "left", left]]) {
        const link = page.locator("#siblings a", { hasText: name });
        await link.waitFor();
        await link.click();
        await page.waitForURL(url);
        await page.locator("h1", { hasText: `${name} on render-07` }).waitFor();
        await press(page, "Re-probe");
        await page.locator(".told.good").first().waitFor();
    }
    await close();
});
