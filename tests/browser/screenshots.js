// Pictures of the page in each state. In: a folder. Out: STATE-THEME.png in it, and two of a phone.

import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { smaller } from "./mock/picture.js";
import { STATES } from "./mock/states.js";
import { serve } from "./mock/server.js";
import { THEMES, launch, open } from "./support/browser.js";

const MOST = 200_000;
const folder = process.argv[2];
mkdirSync(folder, { recursive: true });

// What a desktop's system font is differs; a bare server has none that was made for screens.
const scratch = mkdtempSync(join(tmpdir(), "gpu-worker-fonts-"));
const alias = (family, font) => `<match target="pattern"><test name="family"><string>${family}</string></test><edit name="family" mode="prepend" binding="strong"><string>${font}</string></edit></match>`;
writeFileSync(join(scratch, "fonts.conf"), `<?xml version="1.0"?><!DOCTYPE fontconfig SYSTEM "urn:fontconfig:fonts.dtd"><fontconfig><include ignore_missing="yes">/etc/fonts/fonts.conf</include>${["system-ui", "sans", "sans-serif"].map((family) => alias(family, "Inter")).join("")}${alias("ui-monospace", "DejaVu Sans Mono")}</fontconfig>`);

const browser = await launch({ args: ["--no-sandbox", "--disable-dev-shm-usage", "--disable-lcd-text"], env: { ...process.env, FONTCONFIG_FILE: join(scratch, "fonts.conf") } });
try {
    for (const state of STATES) {
        for (const theme of THEMES) await take(state, theme, { width: 1360, height: state === "four-gpus" ? 1080 : 940 }, `${state}-${theme}.png`);
    }
    await take("busy", "light", { width: 360, height: 740 }, "phone-light.png", 2);
    await take("busy", "dark", { width: 360, height: 740 }, "phone-dark.png", 2);
} finally {
    await browser.close();
    rmSync(scratch, { recursive: true });
}

async function take(state, theme, viewport, name, deviceScaleFactor = 1) {
    const mock = await serve({ state, still: true });
    const { page, close } = await open(browser, mock.url, { width: viewport.width, theme, deviceScaleFactor, reducedMotion: "reduce" });
    await page.setViewportSize(viewport);
    await page.waitForFunction(() => [...document.querySelectorAll("main img")].filter((image) => image.getBoundingClientRect().top < innerHeight).every((image) => image.complete && image.naturalWidth > 0));
    const picture = smaller(await page.screenshot());
    writeFileSync(join(folder, name), picture);
    await close();
    await mock.stop();
    console.log(`${name} ${Math.round(picture.length / 1000)} kB`);
    if (picture.length > MOST) throw new Error(`${name} is larger than ${MOST / 1000} kB`);
}
