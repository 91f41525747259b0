//! How the server reads sampler and scheduler: what it does not know is its default, without a word.
//! In: two names, perhaps one in the other. Out: the sampler used, and the scheduler as the infotext calls it.

use super::lists;
use serde_json::Value;

pub(crate) fn resolve(name: Option<&str>, scheduler: Option<&str>) -> (String, String) {
    let samplers: &[Value] = lists::list("samplers").as_array().map_or(&[], Vec::as_slice);
    let schedulers: &[Value] = lists::list("schedulers").as_array().map_or(&[], Vec::as_slice);
    let is = |item: &Value, name: &str| item["name"] == name || item["label"] == name;
    let mut found = scheduler.and_then(|name| schedulers.iter().find(|item| is(item, name)));
    let mut name = name.unwrap_or_default();
    for item in schedulers {
        let names = ["label", "name"].map(|key| item[key].as_str().unwrap_or_default());
        if let Some(rest) = names.iter().find_map(|ending| name.strip_suffix(ending)?.strip_suffix(' ')) {
            (found, name) = (Some(item), rest);
            break;
        }
    }
    let sampler = samplers.iter().find(|sampler| sampler["name"] == name).or(samplers.first());
    let usual = sampler.and_then(|sampler| sampler["options"]["scheduler"].as_str());
    let automatic = found.is_none_or(|item| item["name"] == "automatic");
    let chosen = if automatic { usual.and_then(|usual| schedulers.iter().find(|item| is(item, usual))) } else { found };
    let text = |item: Option<&Value>, key: &str, otherwise: &str| {
        item.and_then(|item| item[key].as_str()).unwrap_or(otherwise).to_owned()
    };
    (text(sampler, "name", "Euler"), text(chosen, "label", "Automatic"))
}
