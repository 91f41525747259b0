// What the page says of its link to the agent, all the time. In: a page that is not open yet. Out: every wording, and what was called fresh and was not.

/** To be called before the page is opened. */
export const watchLink = (page) => page.addInitScript(() => {
    window.said = [];
    window.oldest = 0;
    let [store, looked] = [null, 0];
    const look = () => {
        const now = performance.now();
        const text = document.getElementById("link")?.textContent.replace(/\d+ s ago/, "N s ago").replace(/\d\d:\d\d:\d\d/, "TIME");
        if (text && window.said.at(-1) !== text) window.said.push(text);
        // While this page's own thread was busy nobody could have said anything.
        if (store?.link.heard && now - looked < 400 && ["live", "polling", "joining"].includes(store.link.how)) window.oldest = Math.max(window.oldest, Date.now() - store.link.heard);
        looked = now;
    };
    addEventListener("DOMContentLoaded", () => {
        setInterval(look, 100);
        import("/assets/store.js").then(({ state }) => { store = state; });
    });
});

/** All wordings so far, in turn. */
export const said = (page) => page.evaluate(() => window.said);
/** The greatest age, in ms, of what was shown as fresh. */
export const oldest = (page) => page.evaluate(() => window.oldest);
