//! Names in a job, held against the server's lists before it gets them: it replaces what it does not know, silently.
//! In: a plan. Out: the same with names as the server writes them, or a failure that says what there is.

use super::api::Api;
use super::http::{ENGINE, Trouble};
use super::payload::{Kind, Plan, short};
use crate::failure::{Failure, Reason};
use serde_json::{Value, json};

/// How many names a message lists.
const SHOWN: usize = 12;

/// Checks every name in it.
pub(super) async fn check(api: &Api, plan: &mut Plan) -> Result<(), Failure> {
    if plan.kind.is_generation() {
        samplers(api, plan).await?;
        scripts(api, plan).await?;
        models(api, plan).await?;
    }
    upscalers(api, plan).await
}

fn asking(trouble: &Trouble) -> Failure {
    trouble.failure(ENGINE, "reading its lists")
}

async fn list(api: &Api, name: &str) -> Result<Option<Vec<Value>>, Failure> {
    let list = api.list(name).await.map_err(|trouble| asking(&trouble))?;
    list.map(|list| match list {
        Value::Array(list) => Ok(list),
        _ => Err(asking(&Trouble::Nonsense)),
    })
    .transpose()
}

fn texts<'a>(list: &'a [Value], key: &str) -> Vec<&'a str> {
    list.iter().filter_map(|item| item[key].as_str()).collect()
}

/// Without the key, or with an empty text for it, the server's default is meant.
fn taken(plan: &mut Plan, key: &str) -> Result<Option<String>, Failure> {
    match plan.body.remove(key) {
        None => Ok(None),
        Some(Value::String(name)) => Ok(Some(name).filter(|name| !name.is_empty())),
        Some(_) => Err(Failure::new(Reason::InvalidFormat, format!("`{key}` must be a name"))),
    }
}

async fn samplers(api: &Api, plan: &mut Plan) -> Result<(), Failure> {
    // The older name of the field; the newer one wins on the server, too.
    let index = taken(plan, "sampler_index")?;
    let pairs = [("sampler_name", "scheduler", ""), ("hr_sampler_name", "hr_scheduler", "Use same sampler")];
    for (sampler_key, scheduler_key, same) in pairs {
        let wanted = taken(plan, sampler_key)?.or_else(|| index.clone().filter(|_| sampler_key == "sampler_name"));
        let mut scheduler = taken(plan, scheduler_key)?;
        if wanted.is_none() && scheduler.is_none() {
            continue;
        }
        let schedulers = list(api, "schedulers").await?;
        if let Some(wanted) = wanted {
            let name = if wanted == same {
                wanted
            } else if let Some(samplers) = list(api, "samplers").await? {
                let (name, in_name) = sampler(&samplers, schedulers.as_deref(), &wanted)
                    .ok_or_else(|| unknown(sampler_key, &wanted, &texts(&samplers, "name")))?;
                scheduler = scheduler.or(in_name);
                name
            } else {
                wanted
            };
            plan.body.insert(sampler_key.to_owned(), json!(name));
        }
        if let Some(wanted) = scheduler {
            let name = match &schedulers {
                Some(_) if wanted == "Use same scheduler" => wanted,
                Some(list) => label(list, &wanted)
                    .ok_or_else(|| unknown(scheduler_key, &wanted, &texts(list, "label")))?
                    .to_owned(),
                None => wanted,
            };
            plan.body.insert(scheduler_key.to_owned(), json!(name));
        }
    }
    Ok(())
}

/// The sampler that a name means, and the scheduler in the name (`DPM++ 2M Karras`) if there is one. The server itself
/// knows neither aliases nor another case: it would take its default.
fn sampler(samplers: &[Value], schedulers: Option<&[Value]>, wanted: &str) -> Option<(String, Option<String>)> {
    let plain = |wanted: &str| {
        let exact = samplers.iter().find(|sampler| sampler["name"] == wanted);
        let meant = || samplers.iter().find(|sampler| means(sampler, &["name"], wanted));
        Some(exact.or_else(meant)?["name"].as_str()?.to_owned())
    };
    if let Some(name) = plain(wanted) {
        return Some((name, None));
    }
    wanted.match_indices(' ').find_map(|(at, _)| {
        let scheduler = label(schedulers?, &wanted[at + 1..])?;
        Some((plain(&wanted[..at])?, Some(scheduler.to_owned())))
    })
}

fn label<'a>(schedulers: &'a [Value], wanted: &str) -> Option<&'a str> {
    let found = schedulers.iter().find(|scheduler| means(scheduler, &["label", "name"], wanted))?;
    found["label"].as_str().or_else(|| found["name"].as_str())
}

fn means(item: &Value, keys: &[&str], wanted: &str) -> bool {
    let same = |name: &Value| name.as_str().is_some_and(|name| name.eq_ignore_ascii_case(wanted));
    keys.iter().any(|key| same(&item[*key])) || item["aliases"].as_array().into_iter().flatten().any(same)
}

fn unknown(key: &str, wanted: &str, there: &[&str]) -> Failure {
    let what = format!("`{key}`: this server has no `{}`; it has {}", short(wanted), listed(there));
    Failure::new(Reason::InvalidPayload, what)
}

fn listed(names: &[&str]) -> String {
    let mut text = names.iter().take(SHOWN).map(|name| short(name)).collect::<Vec<_>>().join(", ");
    if names.len() > SHOWN {
        text.push_str(&format!(" and {} more", names.len() - SHOWN));
    }
    if text.is_empty() { "none".to_owned() } else { text }
}

async fn scripts(api: &Api, plan: &Plan) -> Result<(), Failure> {
    let chosen = plan.body.get("script_name").and_then(Value::as_str).filter(|name| !name.is_empty());
    let always = plan.body.get("alwayson_scripts").and_then(Value::as_object);
    let wanted: Vec<&str> =
        chosen.into_iter().chain(always.into_iter().flat_map(|all| all.keys().map(String::as_str))).collect();
    if wanted.is_empty() {
        return Ok(());
    }
    let Some(there) = api.list("scripts").await.map_err(|trouble| asking(&trouble))? else { return Ok(()) };
    let there: Vec<&str> = there[plan.kind.name()].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    match wanted.iter().find(|name| !there.iter().any(|known| known.eq_ignore_ascii_case(name))) {
        None => Ok(()),
        // Another server may well have the extension that brings it.
        Some(name) => Err(Failure::of_host(
            Reason::ComponentError,
            format!("this server has no script `{}`; it has {}", short(name), listed(&there)),
        )),
    }
}

fn lacks(what: &str, wanted: &str, there: &[&str]) -> Failure {
    let what = format!("this server lacks the {what} `{}`; it has {}", short(wanted), listed(there));
    Failure::of_host(Reason::ModelNotFound, what)
}

async fn models(api: &Api, plan: &mut Plan) -> Result<(), Failure> {
    for key in ["refiner_checkpoint", "hr_checkpoint_name"] {
        let Some(wanted) = taken(plan, key)? else { continue };
        let mut name = wanted.clone();
        if !matches!(&*wanted, "None" | "Use same checkpoint") {
            name = super::checkpoint::find(api, &wanted).await?.title;
        }
        plan.body.insert(key.to_owned(), json!(name));
    }
    if let Some(wanted) = plan.overrides.get("sd_vae").and_then(Value::as_str)
        && !matches!(wanted, "Automatic" | "None")
        && let Some(there) = list(api, "sd-vae").await?
    {
        let there = texts(&there, "model_name");
        there.contains(&wanted).then_some(()).ok_or_else(|| lacks("VAE", wanted, &there))?;
    }
    let prompts =
        ["prompt", "negative_prompt"].map(|key| plan.body.get(key).and_then(Value::as_str).unwrap_or_default());
    let wanted: Vec<&str> = prompts.into_iter().flat_map(loras).collect();
    if !wanted.is_empty()
        && let Some(there) = list(api, "loras").await?
    {
        let names: Vec<&str> = texts(&there, "name").into_iter().chain(texts(&there, "alias")).collect();
        if let Some(name) = wanted.iter().find(|name| !names.contains(name)) {
            return Err(lacks("LoRA", name, &texts(&there, "name")));
        }
    }
    styles(api, plan).await
}

/// The names in `<lora:name:1>`: the server leaves those out that it lacks, and says so in the infotext at most.
fn loras(prompt: &str) -> impl Iterator<Item = &str> {
    prompt.split("<lora:").skip(1).filter_map(|rest| rest.split(['>', ':']).next()).map(str::trim)
}

async fn styles(api: &Api, plan: &Plan) -> Result<(), Failure> {
    let wanted: Vec<&str> =
        plan.body.get("styles").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).collect();
    if wanted.is_empty() {
        return Ok(());
    }
    let Some(there) = list(api, "prompt-styles").await? else { return Ok(()) };
    let there = texts(&there, "name");
    match wanted.iter().find(|name| !there.contains(name)) {
        None => Ok(()),
        Some(name) => Err(Failure::of_host(
            Reason::ComponentError,
            format!("this server has no style `{}`; it has {}", short(name), listed(&there)),
        )),
    }
}

async fn upscalers(api: &Api, plan: &mut Plan) -> Result<(), Failure> {
    for key in ["hr_upscaler", "upscaler_1", "upscaler_2"] {
        let Some(wanted) = taken(plan, key)? else { continue };
        let mut there = list(api, "upscalers").await?.unwrap_or_default();
        if key == "hr_upscaler" {
            there.extend(list(api, "latent-upscale-modes").await?.unwrap_or_default());
        }
        let names = texts(&there, "name");
        if !names.is_empty() && !names.contains(&wanted.as_str()) {
            return Err(lacks("upscaler", &wanted, &names));
        }
        plan.body.insert(key.to_owned(), json!(wanted));
    }
    // Without one the server "upscales" with none, which only stretches nothing.
    if matches!(plan.kind, Kind::Upscale | Kind::UpscaleBatch) && !plan.body.contains_key("upscaler_1") {
        return Err(Failure::new(Reason::MissingRequiredField, "upscaling needs `upscaler_1`, such as `Lanczos`"));
    }
    Ok(())
}
