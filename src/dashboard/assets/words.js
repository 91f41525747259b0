// Numbers in the words of people: times, sizes, shares. In: milliseconds, bytes, numbers, or nothing. Out: text; "–" for what is not known.

export const UNKNOWN = "–";

const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const tenth = new Intl.NumberFormat("en", { maximumFractionDigits: 1 });

export const known = (value) => value !== null && value !== undefined && !Number.isNaN(value);

export function number(value, digits = 0) {
    if (!known(value)) return UNKNOWN;
    return digits ? tenth.format(value) : whole.format(value);
}

export const plural = (count, one, many = `${one}s`) => `${number(count)} ${count === 1 ? one : many}`;

/** "0.4 s", "42 s", "3 min 12 s", "5 h 03 min", "3 d 4 h". */
export function duration(ms) {
    if (!known(ms)) return UNKNOWN;
    const seconds = Math.max(0, ms) / 1000;
    if (seconds < 9.95) return `${tenth.format(seconds)} s`;
    const s = Math.round(seconds);
    if (s < 60) return `${s} s`;
    if (s < 3600) return `${Math.floor(s / 60)} min${s % 60 ? ` ${s % 60} s` : ""}`;
    const minutes = Math.floor(s / 60);
    if (s < 172_800) return `${Math.floor(minutes / 60)} h${minutes % 60 ? ` ${String(minutes % 60).padStart(2, "0")} min` : ""}`;
    return `${Math.floor(s / 86_400)} d ${Math.floor((s % 86_400) / 3600)} h`;
}

/** As exact as a guess deserves: "about 40 s", "about 3 min". */
export function about(ms) {
    const s = Math.max(0, ms) / 1000;
    if (s < 4) return "a few seconds";
    if (s < 57) return `about ${Math.max(5, Math.round(s / 5) * 5)} s`;
    if (s < 300) {
        const rounded = Math.round(s / 15) * 15;
        return `about ${duration(rounded * 1000)}`;
    }
    if (s < 5400) return `about ${Math.round(s / 60)} min`;
    return `about ${tenth.format(s / 3600)} h`;
}

export function ago(ms) {
    if (ms < 1500) return "just now";
    const s = Math.floor(ms / 1000);
    if (s < 60) return `${s} s ago`;
    if (s < 3600) return `${Math.floor(s / 60)} min ago`;
    if (s < 172_800) return `${Math.floor(s / 3600)} h ago`;
    return `${Math.floor(s / 86_400)} d ago`;
}

/** Coarse, for uptimes and waits: "12 s", "4 min", "5 h 03 min". */
export function span(ms) {
    const s = Math.max(0, Math.floor(ms / 1000));
    if (s < 60) return `${s} s`;
    if (s < 3600) return `${Math.floor(s / 60)} min`;
    return duration(s * 1000);
}

/** Memory, of cards and of the machine, as drivers and kernels count it: in GiB, powers of 1024. */
export const GIB = 1024 ** 3;
export const memory = (bytes) => (known(bytes) ? (bytes / GIB >= 100 ? whole : tenth).format(bytes / GIB) : UNKNOWN);
export const memoryWithUnit = (bytes) => (!known(bytes) ? UNKNOWN : bytes < GIB ? `${whole.format(bytes / 1024 ** 2)} MiB` : `${memory(bytes)} GiB`);

/** Files and disks, as shops and file managers count them: powers of 1000. */
export function bytes(count) {
    if (!known(count)) return UNKNOWN;
    const units = ["bytes", "kB", "MB", "GB", "TB"];
    let value = count;
    let unit = 0;
    while (value >= 999.5 && unit < units.length - 1) {
        value /= 1000;
        unit += 1;
    }
    return `${(value < 10 && unit > 0 ? tenth : whole).format(value)} ${units[unit]}`;
}

export function percent(share, digits = 0) {
    if (!known(share)) return UNKNOWN;
    // 99.96 % is not all of them.
    const value = share < 1 && share > 0.999 ? 99.9 : share * 100;
    return `${(digits || (value > 99 && value < 100) ? tenth : whole).format(value)} %`;
}

export const clock = (at) => new Date(at).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" });
export const moment = (at) => new Date(at).toLocaleString([], { dateStyle: "medium", timeStyle: "medium", hourCycle: "h23" });

/** "a, b and c"; of many the first few and a count. */
export function list(words, most = 6) {
    if (words.length > most) return `${words.slice(0, most).join(", ")} and ${words.length - most} more`;
    return words.length < 2 ? words.join("") : `${words.slice(0, -1).join(", ")} and ${words.at(-1)}`;
}
