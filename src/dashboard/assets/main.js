// Puts the page together. In: its file. Out: panels that draw themselves, a live store, one clock for all ages that are shown.

import "./summary.js";
import "./gpus.js";
import "./slots.js";
import "./queue.js";
import "./history.js";
import "./inside.js";
import { startKeys } from "./keys.js";
import { start } from "./live.js";
import { startLog } from "./log.js";
import { tickTimes } from "./parts.js";
import { panel, state } from "./store.js";
import { unlock } from "./controls.js";

startKeys();
startLog();
start();
setInterval(tickTimes, 1000);

// They stop, or go on, with the agent.
panel(["link"], tickTimes);

let first = null;
panel(["worker", "link"], () => {
    // Seen without the cookie: nothing to show before the launch link was opened.
    if (state.link.how === "locked" && !state.data) unlock();
    else if (state.link.how !== "locked" && document.getElementById("unlock").open && !first) document.getElementById("unlock").close();
    const version = state.data?.version;
    if (!version) return;
    first ??= version;
    document.getElementById("newer").hidden = version === first;
});
