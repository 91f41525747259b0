// Sets the chosen theme before anything is painted. In: what this browser remembers. Out: data-theme on the root element.
// A classic script in the head: a module would run after the first paint, and the page would flash.
(() => {
    try {
        const theme = localStorage.getItem("gpu-worker-theme");
        if (theme === "light" || theme === "dark") document.documentElement.dataset.theme = theme;
    } catch {
        // Storage is forbidden here: the system's theme it is.
    }
})();
