// Hands in the code of the link, which is good once: whoever merely looks at a link (a preview in a chat, a browser that reads
// ahead) asks by GET, and uses nothing up.
const say = (text) => { document.querySelector("#said").textContent = text; };

try {
    const answer = await fetch(location.pathname, { method: "POST" });
    if (answer.ok) {
        location.replace("/");
    } else {
        const { error, remedy } = await answer.json();
        say(`The dashboard stays closed: ${error}. ${remedy ?? ""}`);
    }
} catch {
    say("The agent does not answer. Is it still running?");
}
