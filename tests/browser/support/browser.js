// One Chromium for a file of tests, and pages that are watched. In: an address. Out: a page, and all that it must not do.

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { chromium } from "playwright-core";

export const WIDTHS = [360, 768, 1440];
export const THEMES = ["light", "dark"];
const HEIGHTS = { 360: 740, 768: 1024, 1440: 900 };
const AXE = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

const found = () => process.env.CHROMIUM || execFileSync("sh", ["-c", "command -v chromium || command -v chromium-browser"], { encoding: "utf8" }).trim();

/** A container's root has no user namespaces: without a sandbox of its own, Chromium visits nothing but loopback here. */
export const launch = (more = {}) => chromium.launch({ executablePath: found(), args: ["--no-sandbox", "--disable-dev-shm-usage"], ...more });

/** A page of this size; `faults` collects console errors, exceptions, requests to elsewhere. */
export async function open(browser, url, { width = 1440, theme = "light", wait = true, expected = [], prepare = null, ...more } = {}) {
    const context = await browser.newContext({ viewport: { width, height: HEIGHTS[width] ?? 900 }, colorScheme: theme, ...more });
    const page = await context.newPage();
    const faults = [];
    const note = (text) => expected.some((pattern) => pattern.test(text)) || faults.push(text);
    page.on("console", (message) => ["error", "warning"].includes(message.type()) && note(`console: ${message.text()} ${message.location().url}`));
    page.on("pageerror", (error) => note(`exception: ${error.stack}`));
    page.on("request", (request) => new URL(request.url()).origin === new URL(url).origin || note(`elsewhere: ${request.url()}`));
    page.setDefaultTimeout(20_000);
    await prepare?.(page);
    await page.goto(url);
    if (wait) await page.locator("#facts dd").first().waitFor();
    return { page, context, faults, async close() { await context.close(); assert.deepEqual(faults, []); } };
}

/** What axe finds that is serious or worse. */
export async function violations(page) {
    await page.evaluate(AXE);
    const { violations } = await page.evaluate(() => window.axe.run(document, { resultTypes: ["violations"], runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"] }));
    return violations.filter(({ impact }) => ["serious", "critical"].includes(impact)).map(({ id, nodes }) => `${id}: ${nodes.slice(0, 3).map((node) => `${node.html.slice(0, 160)} ${node.any.map((check) => check.message).join("; ")}`).join(" | ")}`);
}

/** How many pixels the page is wider than the screen. */
export const overflow = (page) => page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);

/** Waits until `check` in the page answers with something true. */
export const until = (page, check, value) => page.waitForFunction(check, value, { polling: 50 });
