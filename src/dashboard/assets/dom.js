// Describes elements and brings the page in line with the description, touching only what differs.
// In: descriptions made by `h`. Out: DOM nodes; texts are only ever text, so nothing that a job says can become markup.

const SVG = "http://www.w3.org/2000/svg";
const AS_PROPERTY = new Set(["value", "checked", "disabled", "hidden", "htmlFor", "textContent"]);

/** A description: tag ("svg:path" for SVG), properties, children; `key` tells siblings apart. */
export function h(tag, props, ...kids) {
    return { tag, props: props ?? {}, kids: kids.flat(Infinity).filter((kid) => kid !== null && kid !== undefined && kid !== false && kid !== "") };
}

/** Makes the children of `parent` what `kids` describes. Focus, scrolling and opened details of what stays are kept. */
export function render(parent, ...kids) {
    const active = parent.contains(document.activeElement) ? document.activeElement : null;
    patchKids(parent, h("", null, kids).kids);
    if (!active || active === document.activeElement) return;
    // Moved, it is taken up again; gone, its part of the page is where to go on, and not the top.
    const next = active.isConnected ? active : document.getElementById(`${parent.closest("section[id]")?.id}-title`) ?? document.getElementById("main");
    next.focus({ preventScroll: true });
}

function patchKids(parent, kids) {
    const old = new Map();
    for (const node of [...parent.childNodes]) {
        // What is in the file from the start and was not described here makes way.
        if (node.described) old.set(node.described.id, node);
        else node.remove();
    }
    const counts = {};
    const seen = {};
    const wanted = kids.map((kid) => {
        const tag = kid.tag ?? "#text";
        counts[tag] = (counts[tag] ?? 0) + 1;
        const name = `${tag} ${kid.props?.key ?? `#${counts[tag]}`}`;
        // Siblings of one key, such as loops of one name: each is itself by its turn.
        const id = seen[name] ? `${name} +${seen[name]}` : name;
        seen[name] = (seen[name] ?? 0) + 1;
        const node = old.get(id) ?? make(kid, id);
        old.delete(id);
        return node;
    });
    for (const node of old.values()) node.remove();
    let at = parent.firstChild;
    wanted.forEach((node, index) => {
        if (node === at) at = at.nextSibling;
        else parent.insertBefore(node, at);
        patch(node, kids[index]);
    });
}

function make(kid, id) {
    let node;
    if (kid.tag === undefined) node = document.createTextNode("");
    else if (kid.tag.startsWith("svg:")) node = document.createElementNS(SVG, kid.tag.slice(4));
    else node = document.createElement(kid.tag);
    node.described = { id, props: {} };
    return node;
}

function patch(node, kid) {
    if (kid.tag === undefined) {
        const text = String(kid);
        if (node.data !== text) node.data = text;
        return;
    }
    const before = node.described.props;
    for (const name in before) if (!(name in kid.props)) set(node, name, null);
    for (const name in kid.props) {
        const value = kid.props[name];
        if (name === "style" || before[name] !== value) set(node, name, value);
    }
    node.described.props = kid.props;
    if (!("textContent" in kid.props)) patchKids(node, kid.kids);
}

function set(node, name, value) {
    if (name === "key") return;
    if (name.startsWith("on")) {
        node[name] = value;
    } else if (name === "style") {
        for (const rule in value) node.style.setProperty(rule, value[rule]);
    } else if (AS_PROPERTY.has(name)) {
        const wanted = value ?? (name === "value" || name === "textContent" ? "" : false);
        if (node[name] !== wanted) node[name] = wanted;
    } else if (value === null || value === undefined || value === false) {
        node.removeAttribute(name);
    } else {
        node.setAttribute(name, value === true ? "" : value);
    }
}
