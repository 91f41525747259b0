//! The node classes a stand-in knows, with their inputs and outputs as the real server describes them.
//! In: `catalog.json`, model names, input files. Out: what validation checks and `/object_info` shows.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::server::Server;

#[derive(Deserialize)]
pub(crate) struct Class {
    pub required: Vec<(String, Value)>,
    pub optional: Vec<(String, Value)>,
    pub output: Vec<String>,
    pub output_node: bool,
    output_name: Option<Vec<String>>,
    output_tooltips: Option<Vec<String>>,
    category: String,
    display_name: String,
    python_module: String,
    description: String,
}

static CLASSES: LazyLock<BTreeMap<String, Class>> = LazyLock::new(|| {
    // The file is part of this binary, and a test reads it.
    serde_json::from_str(include_str!("catalog.json")).unwrap_or_default()
});

pub(crate) fn class(name: &str) -> Option<&'static Class> {
    CLASSES.get(name)
}

pub(crate) fn is_output(name: &str) -> bool {
    class(name).is_some_and(|class| class.output_node)
}

/// The input's description with the lists that depend on files filled in.
pub(crate) fn filled(spec: &Value, server: &Server) -> Value {
    let mut spec = spec.clone();
    let source = spec[0].as_str().unwrap_or_default().to_owned();
    if let Some(folder) = source.strip_prefix("@models/") {
        spec[0] = json!(server.models().get(folder).cloned().unwrap_or_default());
    } else if source == "@input" {
        spec[0] = json!(server.folders.input_names());
    }
    spec
}

/// `/object_info`, of one class or of all.
pub(crate) fn object_info(wanted: Option<&str>, server: &Server) -> Value {
    let chosen = CLASSES.iter().filter(|(name, _)| wanted.is_none_or(|wanted| wanted == *name));
    chosen.map(|(name, class)| (name.clone(), describe(name, class, server))).collect::<Map<_, _>>().into()
}

fn describe(name: &str, class: &Class, server: &Server) -> Value {
    let mut input = json!({});
    let mut order = json!({});
    for (part, inputs) in [("required", &class.required), ("optional", &class.optional)] {
        if part == "required" || !inputs.is_empty() {
            input[part] =
                inputs.iter().map(|(name, spec)| (name.clone(), filled(spec, server))).collect::<Map<_, _>>().into();
            order[part] = inputs.iter().map(|(name, _)| json!(name)).collect();
        }
    }
    let mut info = json!({
        "input": input, "input_order": order, "output": class.output, "output_is_list": vec![false; class.output.len()],
        "output_name": class.output_name.as_ref().unwrap_or(&class.output), "name": name, "display_name": class.display_name,
        "description": class.description, "python_module": class.python_module, "category": class.category,
        "output_node": class.output_node,
    });
    if let Some(tooltips) = &class.output_tooltips {
        info["output_tooltips"] = json!(tooltips);
    }
    if server.options.release.is_new() {
        info["is_input_list"] = json!(false);
        info["has_intermediate_output"] = json!(false);
        info["search_aliases"] = json!([]);
    }
    info
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_catalog_is_readable_and_its_links_have_a_source() {
        assert!(CLASSES.len() > 25);
        let made: Vec<&String> = CLASSES.values().flat_map(|class| &class.output).collect();
        for (name, class) in CLASSES.iter() {
            for (input, spec) in class.required.iter().chain(&class.optional) {
                let kind = spec[0].as_str().unwrap_or("COMBO");
                let plain = ["INT", "FLOAT", "STRING", "BOOLEAN", "COMBO", "*"].contains(&kind);
                assert!(
                    plain || kind.starts_with('@') || made.contains(&&kind.to_owned()),
                    "{name}.{input}: nothing makes {kind}"
                );
            }
        }
    }
}
