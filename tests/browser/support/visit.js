// A page over the mock. In: a state, what is to be changed of it, the browser. Out: a visit, which must end without faults of the page.

import { serve } from "../mock/server.js";
import { open } from "./browser.js";

export async function overMock(browser, options, test) {
    const mock = await serve(options.mock ?? {});
    try {
        options.prepare?.(mock);
        const visited = await open(browser, mock.url, { ...options, prepare: options.before });
        await test({ mock, ...visited });
        await visited.close();
    } finally {
        await mock.stop();
    }
}

export const text = (page, selector) => page.locator(selector).innerText();
