//! The example env file and the page of documentation, both written from the table.
//! In: the table. Out: the texts of `.env.worker.example` and `docs/configuration.md`; a test compares them with the files.

use super::address_parts::ADDRESSES;
use super::former::{Former, RESERVED, RETIRED};
use super::table::VARIABLES;
use super::variable::{Conversion, Group, Mark, Preset, Variable};

const EXAMPLE_HEAD: &str = "\
# gpu-worker: copy this file to .env.worker, change what you need, and start ./gpu-worker.
#
# `gpu-worker config check` tells what is wrong with it, `gpu-worker config show` what is in effect and from where.
# The grammar is that of systemd's EnvironmentFile=: NAME=value, comments on lines of their own, no $ expansion.
# A line that begins with # is off and shows the default; take the # away to change it.

# --- Essentials ---

";

/// `.env.worker.example`.
pub fn example() -> String {
    let mut out = EXAMPLE_HEAD.to_string();
    for variable in VARIABLES.iter().filter(|variable| variable.mark == Mark::Essential) {
        out += &example_of(variable);
    }
    for group in Group::ALL {
        out += &format!("\n# --- {} ---\n\n", group.heading());
        for variable in VARIABLES.iter().filter(|variable| variable.group == group) {
            if variable.mark != Mark::Essential {
                out += &example_of(variable);
            }
        }
    }
    out
}

fn example_of(variable: &Variable) -> String {
    let (off, value, note) = match variable.preset {
        Preset::Is(text) if variable.mark == Mark::Essential => ("", text, String::new()),
        Preset::Is(text) => ("#", text, String::new()),
        Preset::Unset => ("#", "", String::new()),
        Preset::Derived(what) => ("#", "", format!(" Default: {what}.")),
    };
    format!("# {}{note}\n{off}{}={value}\n", variable.doc, variable.name)
}

const PAGE_HEAD: &str = "\
# Configuration

<!-- Written from the table of variables; a test compares. To write it anew: UPDATE_DOCS=1 cargo test --lib config_docs -->

Each setting is a variable. A flag beats the environment, the environment beats the env file, the env file beats the default.
An empty value counts as none.

The env file is the one that `--env-file` names, else `.env.worker` in the current folder, else `/etc/gpu-worker/env`. Its
grammar is that of systemd's `EnvironmentFile=`, so one file serves the unit and the program alike: `NAME=value`; comments
begin with `#` or `;` on lines of their own; values may stand in single or double quotes; a backslash takes the next character
as it is, or joins the next line; `$` is not expanded, so `pa$$word` stays `pa$$word`. If a name is set twice the last one counts.

Everything is checked before anything is opened, and one report lists every fault. An unknown name is a fault in the file; in
the environment only a near miss of a name below is told, as a warning. Two names of one setting with two values are a fault;
across sources the order above decides. `gpu-worker config check` prints the report; `gpu-worker config show` prints what is
in effect and from where, with secrets masked.

If `SERVICES` is not set, each engine is driven whose address is set (`SIMULATION_SERVICES` counts for the simulation); if
none is, ComfyUI at its default address.
";

/// `docs/configuration.md`.
pub fn page() -> String {
    let mut out = PAGE_HEAD.to_string();
    for group in Group::ALL {
        out += &format!(
            "\n## {}\n\n| Variable | Default | Meaning | Must be | Also read as |\n|---|---|---|---|---|\n",
            group.heading()
        );
        for variable in VARIABLES.iter().filter(|variable| variable.group == group) {
            out += &row(variable);
        }
    }
    out +=
        "\n## Names that do nothing\n\nAccepted with a warning, so that a file made for the reference still loads.\n\n";
    out += &formers("Retired", RETIRED);
    out.push('\n');
    out += &formers("Waiting for a later release", RESERVED);
    out
}

fn row(variable: &Variable) -> String {
    let default = match variable.preset {
        Preset::Is(text) => format!("`{text}`"),
        Preset::Unset => String::new(),
        Preset::Derived(what) => what.into(),
    };
    let secret = if variable.mark == Mark::Secret { " Secret." } else { "" };
    let expected = variable.kind.expected();
    let aliases = variable.aliases.iter().map(|alias| format!("`{}`{}", alias.name, conversion(alias.conversion)));
    let parts = ADDRESSES.iter().filter(|address| address.target == variable.name).map(|address| {
        let parts = [address.host, address.port, address.secure];
        let parts = parts.into_iter().filter(|names| !names.is_empty());
        let quoted = |name: &&str| format!("`{name}`");
        parts.map(|names| names.iter().map(quoted).collect::<Vec<_>>().join(" or ")).collect::<Vec<_>>().join(" + ")
    });
    let others: Vec<_> = aliases.chain(parts).collect();
    format!("| `{}` | {default} | {}{secret} | {expected} | {} |\n", variable.name, variable.doc, others.join(", "))
}

fn conversion(conversion: Conversion) -> &'static str {
    match conversion {
        Conversion::Same => "",
        Conversion::SecondsToMilliseconds => " (seconds)",
        Conversion::MillisecondsToSeconds => " (milliseconds)",
        Conversion::UnifiedStatus => " (`true` means `off`)",
        Conversion::WebSocketUrl => " (`ws://host:port/ws`)",
    }
}

fn formers(heading: &str, formers: &[Former]) -> String {
    let mut out = format!("| {heading} | Why |\n|---|---|\n");
    for former in formers {
        let names: Vec<_> = former.names.iter().map(|name| format!("`{name}`")).collect();
        out += &format!("| {} | {} |\n", names.join(", "), former.reason);
    }
    out
}
