// The page without a mouse, in either theme, without movement.

import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { snapshot } from "./mock/states.js";
import { THEMES, WIDTHS, launch, overflow, until, violations } from "./support/browser.js";
import { overMock, text } from "./support/visit.js";

let browser;
before(async () => { browser = await launch(); });
after(() => browser?.close());
const visit = (options, test) => overMock(browser, options, test);

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

    it("keeps the focus through an order and what comes of it, and where its place is gone goes on beside it", async () => {
        await visit({ mock: { state: "busy", still: true }, expected: [/ERR_/] }, async ({ mock, page }) => {
            const focused = () => page.evaluate(() => document.activeElement.id || document.activeElement.textContent);
            await page.getByRole("button", { name: "Pause" }).focus();
            await page.keyboard.press("Enter");
            await page.locator(".told.good").waitFor();
            const { worker, slots } = snapshot("busy");
            mock.push("worker", { ...worker, desired: "pause", state: "paused", sentence: "Paused: one job goes on, and no further job is claimed." });
            await page.getByRole("button", { name: "Resume" }).waitFor();
            assert.equal(await focused(), "Resume");
            await page.getByRole("button", { name: "Put this message away" }).focus();
            await page.keyboard.press("Enter");
            await until(page, () => document.activeElement.id === "main");
            await page.getByRole("button", { name: /^Cancel job/ }).focus();
            mock.push("slots", [{ ...slots[0], state: "idle", job: null }]);
            await until(page, () => document.activeElement.id === "slots-title");
            // What cannot be used stays in the order of Tab, and says why.
            await page.getByRole("button", { name: "Drain" }).focus();
            await mock.stop();
            await until(page, () => document.documentElement.classList.contains("stale"));
            assert.equal(await focused(), "Drain");
            await page.keyboard.press("Enter");
            await page.locator(".told.warn", { hasText: "The agent is not heard: nothing was sent." }).waitFor();
        });
    });

    it("has no serious fault with a dialog open or a message shown, at any width, in either theme", async () => {
        const prepare = (mock) => { mock.answers["/api/control/probe"] = [401, { error: "the token is missing" }]; };
        await visit({ mock: { state: "busy", still: true }, prepare, expected: [/401/] }, async ({ page }) => {
            const dialogs = [["ask", /^Cancel job/], ["viewer", /^Show lighthouse/], ["help", "Keys"], ["unlock", "Re-probe"]];
            for (const width of WIDTHS) {
                await page.setViewportSize({ width, height: 900 });
                for (const colorScheme of THEMES) {
                    await page.emulateMedia({ colorScheme, reducedMotion: "reduce" });
                    for (const [id, name] of dialogs) {
                        await page.getByRole("button", { name }).first().click();
                        await page.locator(`#${id}[open]`).waitFor();
                        assert.deepEqual(await violations(page), [], `${id} at ${width} px, ${colorScheme}`);
                        assert.equal(await page.evaluate((id) => document.getElementById(id).contains(document.activeElement), id), true, `the focus is in ${id}`);
                        await page.keyboard.press("Escape");
                    }
                }
                await page.getByRole("button", { name: "Pause" }).click();
                await page.locator(".told").last().waitFor();
                assert.deepEqual(await violations(page), [], `with a message at ${width} px`);
                assert.equal(await overflow(page), 0, `wider than the screen at ${width} px`);
            }
        });
    });

    it("reads out trouble and its end, and not each job that comes and goes", async () => {
        await visit({ mock: { state: "busy", still: true } }, async ({ mock, page }) => {
            const { worker } = snapshot("busy");
            const tell = async (state, sentence) => {
                mock.push("worker", { ...worker, state, sentence });
                await page.locator(".sentence", { hasText: sentence }).waitFor();
            };
            await page.evaluate(() => {
                window.read = [];
                new MutationObserver(() => window.read.push(document.getElementById("announce").textContent)).observe(document.getElementById("announce"), { childList: true, characterData: true, subtree: true });
            });
            for (const turn of [1, 2, 3]) {
                await tell("idle", `Nothing waits, turn ${turn}.`);
                await tell("working", `One job, turn ${turn}.`);
            }
            await tell("redis_away", "One job goes on.");
            await tell("redis_away", "No job goes on.");
            await tell("idle", "Nothing waits.");
            assert.deepEqual(await page.evaluate(() => window.read), ["Redis is away. One job goes on.", "Idle. Nothing waits."]);
            // What ticks or moves is in no region that is read out by itself.
            assert.equal(await page.locator("[aria-live] time, [aria-live] [role=progressbar], [role=status] time, [role=timer], [role=log]").count(), 0);
        });
    });

    it("looks back in the charts with arrow keys, in words too", async () => {
        await visit({ mock: { state: "busy", still: true } }, async ({ page }) => {
            const slider = page.getByRole("slider", { name: "Look back in the charts of GPU 0" });
            await slider.focus();
            for (let presses = 0; presses < 30; presses += 1) await page.keyboard.press("ArrowLeft");
            await until(page, () => document.querySelector("#gpus-note").textContent === "1 min ago");
            assert.match(await slider.getAttribute("aria-valuetext"), /^1 min ago: utilisation \d+ %, memory [\d.]+ GiB, \d+ °C, \d+ W, [\d,]+ MHz$/);
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
