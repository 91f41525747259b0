//! Which agents there are to look at.
//! In: what was typed, the state folder, the ports of this machine. Out: an address each, with its token.
//!
//! A token goes to the address that the agent itself wrote down beside it, or to the one that a person names with it; what
//! merely answers on a port of this machine gets none, be it the one of an agent that was killed.

use super::client::{Client, NEEDS_TOKEN, Patience};
use super::picture::Picture;
use crate::cli::{Chosen, Exit, Failed};
use crate::dashboard::{DEFAULT_PORTS, Place};
use secrecy::SecretString;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::task::JoinSet;
use url::Url;

/// Where the agent of a package keeps its state; a person's own folder is another one.
const OF_SERVICE: &str = "/var/lib/gpu-worker";

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
    let folders = config.iter().map(|config| config.state_dir.as_path()).chain([Path::new(OF_SERVICE)]);
    let (alive, dead): (Vec<_>, Vec<_>) = folders.flat_map(written).partition(|written| written.alive);
    let mut found: BTreeMap<String, (Url, Option<SecretString>)> = BTreeMap::new();
    if let Some(url) = url {
        let url = parse(url)?;
        let known = alive.into_iter().find(|written| written.url == url).and_then(|written| written.token);
        found.insert(url.to_string(), (url, given.clone().or(known)));
    } else {
        let configured = config.as_ref().and_then(|config| config.dashboard.token.clone());
        // The newest comes first: an address of a dead agent may be another one's by now.
        for Written { url, token, .. } in alive {
            let token = given.clone().or(token).or_else(|| configured.clone());
            found.entry(url.to_string()).or_insert((url, token));
        }
        for Written { url, .. } in dead {
            found.entry(url.to_string()).or_insert((url, None));
        }
        let answering = answering().await;
        for port in &answering {
            if let Ok(url) = Url::parse(&format!("http://127.0.0.1:{port}/")) {
                found.entry(url.to_string()).or_insert((url, None));
            }
        }
        leave_dead_ones_out(&mut found).await;
    }
    if found.is_empty() {
        let ports = format!("{} to {}", DEFAULT_PORTS.start(), DEFAULT_PORTS.end());
        let text =
            format!("no agent answers on this machine (ports {ports}).\nName one: gpu-worker top http://HOST:PORT");
        return Err(Failed::new(Exit::Unreachable, text));
    }
    let client =
        |(url, token)| Client::new(url, token, Patience::default()).map_err(|why| Failed::new(Exit::Failed, why));
    found.into_values().map(client).collect()
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

/// What an agent has written down.
struct Written {
    url: Url,
    token: Option<SecretString>,
    /// Else it was killed, and its port may be another's by now.
    alive: bool,
}

/// What agents have written down in a state folder, newest first.
fn written(state_dir: &Path) -> Vec<Written> {
    let entries = std::fs::read_dir(state_dir.join("dashboard")).into_iter().flatten().flatten();
    let mut files: Vec<_> = entries
        .filter(|entry| entry.path().extension().is_some_and(|kind| kind == "url"))
        .map(|entry| (entry.metadata().and_then(|about| about.modified()).ok(), entry.path()))
        .collect();
    files.sort_by(|one, other| other.cmp(one));
    let read = |(_, path): (_, PathBuf)| {
        let alive = !Place::is_abandoned(&path);
        let mut url = parse(std::fs::read_to_string(&path).ok()?.trim()).ok()?;
        // Listening everywhere is no place to call.
        if matches!(url.host_str(), Some("0.0.0.0" | "[::]")) {
            url.set_host(Some("127.0.0.1")).ok()?;
        }
        let token = std::fs::read_to_string(path.with_extension("token")).ok();
        let token = token.map(|token| token.trim().to_owned()).filter(|token| !token.is_empty());
        Some(Written { url, token: token.map(Into::into), alive })
    };
    files.into_iter().filter_map(read).collect()
}

/// An agent that was killed leaves its address behind. If none answers, one is starting anew perhaps: then all stay.
async fn leave_dead_ones_out(found: &mut BTreeMap<String, (Url, Option<SecretString>)>) {
    let mut alive = BTreeSet::new();
    for (name, (url, _)) in &*found {
        let place =
            url.host_str().map(|host| host.trim_matches(['[', ']']).to_owned()).zip(url.port_or_known_default());
        let Some(place) = place else { continue };
        let connecting = tokio::time::timeout(GLANCE, tokio::net::TcpStream::connect(place));
        if matches!(connecting.await, Ok(Ok(_))) {
            alive.insert(name.clone());
        }
    }
    if !alive.is_empty() {
        found.retain(|name, _| alive.contains(name));
    }
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
                Err(why) => why.contains(NEEDS_TOKEN).then_some(port),
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
    fn what_agents_wrote_is_found_with_the_token_of_the_newest() {
        let state = tempfile::tempdir().unwrap();
        assert!(written(state.path()).is_empty());
        let folder = state.path().join("dashboard");
        std::fs::create_dir(&folder).unwrap();
        let old = std::time::SystemTime::UNIX_EPOCH;
        for (name, text) in [
            ("a.url", "http://127.0.0.1:1511/"),
            ("a.token", "dead"),
            ("b.url", "http://0.0.0.0:1511/"),
            ("b.token", "alive\n"),
            ("c.url", "nonsense://"),
        ] {
            std::fs::write(folder.join(name), text).unwrap();
        }
        std::fs::File::options().write(true).open(folder.join("a.url")).unwrap().set_modified(old).unwrap();
        let agent = std::fs::File::open(folder.join("b.url")).unwrap();
        agent.try_lock().unwrap();
        let found = written(state.path());
        let said = |one: &Written| (one.token.as_ref().map(|token| token.expose_secret().to_owned()), one.alive);
        let said: Vec<_> = found.iter().map(said).collect();
        assert_eq!(said, [(Some("alive".to_owned()), true), (Some("dead".to_owned()), false)]);
        assert!(found.iter().all(|one| one.url.as_str() == "http://127.0.0.1:1511/"));
    }
}
