//! Which agents there are to look at.
//! In: what was typed, the state folder, the ports of this machine. Out: an address each, with its token.
//!
//! A token goes to the address that the agent itself wrote down beside it, or to the one that a person names with it; what
//! merely answers on a port of this machine gets none, be it the one of an agent that was killed.

use super::client::{Client, LOCKED, Patience};
use super::picture::Picture;
use crate::cli::local::OF_SERVICE;
use crate::cli::{Chosen, Exit, Failed};
use crate::dashboard::{DEFAULT_PORTS, Place};
use secrecy::SecretString;
use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;
use tokio::task::JoinSet;
use url::Url;

/// For an answer of this machine.
const GLANCE: Duration = Duration::from_secs(2);

/// The agents, and at least one.
///
/// # Errors
/// There is none, or what was typed cannot be used.
pub(super) async fn agents(
    chosen: &Chosen,
    url: Option<&str>,
    token_file: Option<&Path>,
) -> Result<Vec<Client>, Failed> {
    let given = given_token(token_file)?;
    // What stands there is broken? An agent can be looked at all the same.
    let config = chosen.load().map(|loaded| loaded.config).ok();
    let own = config.as_ref().map(|config| config.identity.worker_id.as_str());
    let folders = config.iter().map(|config| config.state_dir.as_path()).chain([Path::new(OF_SERVICE)]);
    let written: Vec<Written> = folders.flat_map(|folder| written(folder, own)).collect();
    let mut found: Vec<(Url, Option<SecretString>)> = Vec::new();
    if let Some(url) = url {
        let url = parse(url)?;
        let known = written.into_iter().find(|written| written.url == url).and_then(|written| written.token);
        found.push((url, given.clone().or(known)));
    } else {
        let configured = config.as_ref().and_then(|config| config.dashboard.token.clone());
        for Written { url, token } in written {
            let token = given.clone().or(token).or_else(|| configured.clone());
            found.push((url, token));
        }
        for port in answering().await {
            let url = Url::parse(&format!("http://127.0.0.1:{port}/")).ok();
            found.extend(url.map(|url| (url, None)));
        }
        let mut seen = BTreeSet::new();
        found.retain(|(url, _)| seen.insert(url.to_string()));
    }
    if found.is_empty() {
        let ports = format!("{} to {}", DEFAULT_PORTS.start(), DEFAULT_PORTS.end());
        let text =
            format!("no agent answers on this machine (ports {ports}).\nName one: gpu-worker top http://HOST:PORT");
        return Err(Failed::new(Exit::Unreachable, text));
    }
    let client =
        |(url, token)| Client::new(url, token, Patience::default()).map_err(|why| Failed::new(Exit::Failed, why));
    found.into_iter().map(client).collect()
}

/// The token that a person gives: never an argument, which everybody on the machine could read.
fn given_token(file: Option<&Path>) -> Result<Option<SecretString>, Failed> {
    let text = match file {
        Some(path) => std::fs::read_to_string(path)
            .map_err(|error| Failed::usage(format!("cannot read {}: {error}", path.display())))?,
        None => std::env::var("WORKER_DASHBOARD_TOKEN").unwrap_or_default(),
    };
    let text = text.trim();
    if text.chars().any(|c| !c.is_ascii_graphic()) {
        return Err(Failed::usage("a token is printable ASCII without blanks"));
    }
    Ok((!text.is_empty()).then(|| text.to_owned().into()))
}

fn parse(text: &str) -> Result<Url, Failed> {
    let wrong = || Failed::usage("an agent's address looks like http://127.0.0.1:1511");
    let text = if text.contains("://") { text.to_owned() } else { format!("http://{text}") };
    let mut url = Url::parse(&text).map_err(|_| wrong())?;
    if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
        return Err(wrong());
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(Failed::usage("the address must hold no password; a token goes into --token-file"));
    }
    url.set_query(None);
    url.set_fragment(None);
    Ok(url)
}

/// What an agent that lives has written down.
struct Written {
    url: Url,
    token: Option<SecretString>,
}

/// The agents of a state folder, the one that is meant before the others. What may not be read is not there for this user.
fn written(state_dir: &Path, own: Option<&str>) -> Vec<Written> {
    let own = own.map(|own| Place::of(state_dir, own).name().to_owned());
    let mut names = Place::names(state_dir).unwrap_or_default();
    names.sort_by_key(|name| own.as_ref() != Some(name));
    let read = |name: String| {
        let found = Place::of(state_dir, &name).find().ok()??;
        Some(Written { url: parse(found.url.trim()).ok()?, token: found.token })
    };
    names.into_iter().filter_map(read).collect()
}

/// Ports of this machine on which something shows the picture of an agent.
async fn answering() -> Vec<u16> {
    let mut asked = JoinSet::new();
    let patience = Patience { answer: GLANCE, ..Patience::default() };
    for port in DEFAULT_PORTS {
        asked.spawn(async move {
            let url = Url::parse(&format!("http://127.0.0.1:{port}/")).ok()?;
            tokio::net::TcpStream::connect(("127.0.0.1", port)).await.ok()?;
            match Client::new(url, None, patience).ok()?.snapshot(None).await {
                Ok(Some((value, _))) => Picture::of(value).is_one().then_some(port),
                // One that asks for a token: a person may know it.
                Err(why) => why.starts_with(LOCKED).then_some(port),
                Ok(None) => None,
            }
        });
    }
    let mut ports: Vec<u16> = asked.join_all().await.into_iter().flatten().collect();
    ports.sort_unstable();
    ports
}

#[cfg(test)]
mod tests {
    use super::*;
    use secrecy::ExposeSecret;

    #[test]
    fn addresses_are_taken_as_people_write_them_and_hold_no_passwords() {
        for text in ["http://127.0.0.1:1511", "127.0.0.1:1511", "http://127.0.0.1:1511/?a=b#c"] {
            assert_eq!(parse(text).unwrap().as_str(), "http://127.0.0.1:1511/");
        }
        for text in ["", "ftp://x", "http://", "http://me:s3cret@box:1511", "file:///etc/passwd"] {
            let why = parse(text).unwrap_err().message;
            assert!(!why.contains("s3cret"), "{why}");
        }
    }

    #[test]
    fn living_agents_are_found_with_their_tokens_the_one_that_is_meant_first() {
        let state = tempfile::tempdir().unwrap();
        assert!(written(state.path(), Some("b")).is_empty());
        let take = |name: &str, url: &str, token: Option<&str>| {
            let token = token.map(|token| SecretString::from(token.to_owned()));
            Place::of(state.path(), name).take(url, token.as_ref()).unwrap()
        };
        let _living = [
            take("a", "http://127.0.0.1:1511/", Some("of-a")),
            take("b/1", "http://127.0.0.1:1512/", None),
            take("c", "nonsense://", None),
        ];
        // As after SIGKILL.
        drop(take("dead", "http://127.0.0.1:1510/", Some("of-the-dead")));
        let said = |one: &Written| {
            (one.url.port().unwrap_or_default(), one.token.as_ref().map(|token| token.expose_secret().to_owned()))
        };
        let found = |own| written(state.path(), own).iter().map(said).collect::<Vec<_>>();
        let (a, b) = ((1511, Some("of-a".to_owned())), (1512, None));
        assert_eq!(found(Some("a")), [a.clone(), b.clone()]);
        assert_eq!(found(Some("b/1")), [b, a.clone()]);
        assert_eq!(found(None)[0], a);
    }
}
