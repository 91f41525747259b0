// Pictures for previews and outputs, made without an engine. In: a seed, how far the work is. Out: a PNG that sharpens as it goes on.

import { deflateSync, inflateSync } from "node:zlib";

export function random(seed) {
    let state = seed >>> 0 || 1;
    return () => {
        state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
        return state / 2 ** 32;
    };
}

const SKIES = [[[18, 30, 66], [250, 176, 120]], [[40, 96, 140], [226, 236, 230]], [[58, 28, 74], [240, 120, 110]], [[16, 44, 52], [150, 200, 170]], [[70, 60, 52], [236, 214, 176]]];

const mix = (a, b, t) => a.map((value, at) => value + (b[at] - value) * t);

/** The colour of a landscape at x and y, both 0 to 1: sky, sun, three ranges of hills. */
function landscape(seed) {
    const next = random(seed * 7919 + 3);
    const [high, low] = SKIES[seed % SKIES.length];
    const sun = { x: 0.2 + next() * 0.6, y: 0.3 + next() * 0.2, r: 0.06 + next() * 0.05 };
    const hills = [0, 1, 2].map((depth) => ({ base: 0.55 + depth * 0.14, waves: [1, 2, 3].map((wave) => [(0.09 - depth * 0.02) / wave, wave * (2 + next() * 3), next() * 6.3]) }));
    return (x, y) => {
        let colour = mix(high, low, Math.min(1, y * 1.5));
        const distance = Math.hypot(x - sun.x, y - sun.y);
        if (distance < sun.r) colour = [255, 244, 220];
        else colour = mix(colour, [255, 240, 210], Math.max(0, 0.5 - (distance - sun.r) * 2.5));
        hills.forEach(({ base, waves }, depth) => {
            const ridge = base + waves.reduce((sum, [height, often, shift]) => sum + height * Math.sin(x * often + shift), 0);
            if (y > ridge) colour = mix(mix(low, high, 0.45 + depth * 0.22), [10, 14, 20], depth * 0.18);
        });
        return colour;
    };
}

/** `sharp` from 0 to 1: coarse blocks under noise at first, clear in the end. */
export function picture(seed, sharp = 1, size = 256) {
    const colourAt = landscape(seed);
    const noise = random(seed + 17);
    const block = Math.max(1, Math.round(size * 0.12 * (1 - sharp) ** 1.5));
    const grain = 150 * (1 - sharp) ** 1.3;
    const blocks = new Map();
    const rows = Buffer.alloc(size * (size * 3 + 1));
    for (let y = 0; y < size; y += 1) {
        for (let x = 0; x < size; x += 1) {
            const [bx, by] = [Math.floor(x / block), Math.floor(y / block)];
            const key = by * size + bx;
            let colour = blocks.get(key);
            if (!colour) {
                colour = colourAt(((bx + 0.5) * block) / size, ((by + 0.5) * block) / size).map((value) => value + (noise() - 0.5) * 2 * grain);
                blocks.set(key, colour);
            }
            const at = y * (size * 3 + 1) + 1 + x * 3;
            for (let part = 0; part < 3; part += 1) rows[at + part] = Math.max(0, Math.min(255, colour[part]));
        }
    }
    const header = Buffer.alloc(13);
    header.writeUInt32BE(size, 0);
    header.writeUInt32BE(size, 4);
    header.set([8, 2, 0, 0, 0], 8);
    return Buffer.concat([Buffer.from("\x89PNG\r\n\x1a\n", "latin1"), chunk("IHDR", header), chunk("IDAT", deflateSync(rows)), chunk("IEND", Buffer.alloc(0))]);
}

/** The same PNG, as Chromium writes it, in fewer bytes: areas of one colour pack best without filters. */
export function smaller(png) {
    const chunks = {};
    for (let at = 8; at < png.length; at += 12 + png.readUInt32BE(at)) (chunks[png.toString("latin1", at + 4, at + 8)] ??= []).push(png.subarray(at + 8, at + 8 + png.readUInt32BE(at)));
    const header = chunks.IHDR[0];
    const [rows, depth, alpha] = [inflateSync(Buffer.concat(chunks.IDAT)), header[8], header[9] === 6];
    if (depth !== 8 || ![2, 6].includes(header[9])) return png;
    const [width, height, size] = [header.readUInt32BE(0), header.readUInt32BE(4), alpha ? 4 : 3];
    const stride = width * size;
    const pixels = Buffer.alloc(stride * height);
    const packed = Buffer.alloc((width * 3 + 1) * height);
    for (let y = 0; y < height; y += 1) {
        const filter = rows[y * (stride + 1)];
        for (let x = 0; x < stride; x += 1) {
            const left = x >= size ? pixels[y * stride + x - size] : 0;
            const up = y ? pixels[(y - 1) * stride + x] : 0;
            const corner = x >= size && y ? pixels[(y - 1) * stride + x - size] : 0;
            pixels[y * stride + x] = rows[y * (stride + 1) + 1 + x] + [0, left, up, (left + up) >> 1, nearest(left, up, corner)][filter];
        }
        for (let x = 0; x < width; x += 1) pixels.copy(packed, y * (width * 3 + 1) + 1 + x * 3, y * stride + x * size, y * stride + x * size + 3);
    }
    const plain = Buffer.from(header);
    plain[9] = 2;
    return Buffer.concat([png.subarray(0, 8), chunk("IHDR", plain), chunk("IDAT", deflateSync(packed, { level: 9, memLevel: 9 })), chunk("IEND", Buffer.alloc(0))]);
}

function nearest(left, up, corner) {
    const [a, b, c] = [Math.abs(up - corner), Math.abs(left - corner), Math.abs(left + up - 2 * corner)];
    return a <= b && a <= c ? left : b <= c ? up : corner;
}

const CRC = Array.from({ length: 256 }, (_, n) => {
    let c = n;
    for (let k = 0; k < 8; k += 1) c = c & 1 ? 0xedb88320 ^ (c >>> 1) : c >>> 1;
    return c >>> 0;
});

function chunk(name, data) {
    const body = Buffer.concat([Buffer.from(name, "latin1"), data]);
    let crc = 0xffffffff;
    for (const byte of body) crc = CRC[(crc ^ byte) & 255] ^ (crc >>> 8);
    const [length, sum] = [Buffer.alloc(4), Buffer.alloc(4)];
    length.writeUInt32BE(data.length);
    sum.writeUInt32BE((crc ^ 0xffffffff) >>> 0);
    return Buffer.concat([length, body, sum]);
}
