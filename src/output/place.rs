//! Where outputs lie in a bucket: `{prefix}/{job}/{attempt}/{name}`, or where the job asked for.
//! In: the job and the bucket's prefix. Out: names and keys that lead nowhere else, and their URLs.

use super::name::{Names, Taken};
use connectors::contract::Job;
use connectors::failure::{Failure, Reason};
use serde_json::Value;
use url::Url;

/// Longest key that every store takes is 1024 bytes; names and numbers come behind this.
const LONGEST: usize = 700;
/// Longest part between two slashes: stores that keep files take 255 bytes, an extension and a number included.
const LONGEST_PART: usize = 235;

/// The place of one attempt's outputs.
pub struct Place {
    folder: String,
    asked: Option<String>,
    /// No folder of the attempt's own is in its keys.
    is_shared: bool,
    names: Names,
}

impl Place {
    /// `is_jobs_own`: in a bucket of its own a job may name the very key. In a bucket that it shares with others it
    /// gets a folder for each attempt, so that no job can replace what is not its own.
    ///
    /// # Errors
    /// `ctx.prefix` or `ctx.filename` that lead elsewhere.
    pub fn of(job: &Job, prefix: &str, is_jobs_own: bool) -> Result<Self, Failure> {
        let mut folder = segments("the configured prefix", prefix)?;
        folder.extend(segments("ctx.prefix", text(&job.ctx, "prefix")?)?);
        let mut asked = segments("ctx.filename", text(&job.ctx, "filename")?)?;
        let name = asked.pop();
        let is_shared = name.is_some() && is_jobs_own;
        if !is_shared {
            folder.extend([job.id.clone(), job.attempt.to_string()]);
        }
        folder.extend(asked);
        let folder = folder.join("/");
        if folder.len() + name.as_ref().map_or(0, String::len) > LONGEST {
            let message = format!("ctx.prefix and ctx.filename together must be shorter than {LONGEST} bytes");
            return Err(Failure::new(Reason::InvalidFormat, message));
        }
        Ok(Self { folder, asked: name, is_shared, names: Names::default() })
    }

    /// Whether other attempts use its keys, too.
    pub fn is_shared(&self) -> bool {
        self.is_shared
    }

    /// The next output's name and key.
    pub fn next(&self, suggested: &str) -> (Taken, String) {
        let taken = match &self.asked {
            Some(asked) => self.names.asked(asked, suggested),
            None => self.names.unique(suggested),
        };
        let name = taken.name();
        let key = if self.folder.is_empty() { name.to_owned() } else { format!("{}/{name}", self.folder) };
        (taken, key)
    }
}

/// The URL of a key below an address.
pub fn url(base: &Url, key: &str) -> String {
    let mut url = base.clone();
    if let Ok(mut segments) = url.path_segments_mut() {
        segments.pop_if_empty().extend(key.split('/'));
    }
    url.into()
}

fn text<'a>(ctx: &'a Value, member: &str) -> Result<&'a str, Failure> {
    match &ctx[member] {
        Value::Null => Ok(""),
        Value::String(text) => Ok(text),
        _ => Err(Failure::new(Reason::InvalidFormat, format!("ctx.{member} must be a text"))),
    }
}

fn segments(what: &str, path: &str) -> Result<Vec<String>, Failure> {
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    let is_bad = |part: &&str| {
        matches!(part.trim(), "" | "." | "..") || part.chars().any(|c| c.is_control() || matches!(c, '\\'))
    };
    if parts.iter().any(is_bad) {
        let message = format!("{what} must be a plain path without .., backslashes and control characters");
        return Err(Failure::new(Reason::InvalidFormat, message));
    }
    if parts.iter().any(|part| part.len() > LONGEST_PART) {
        let message = format!("no part of {what} between two slashes may be longer than {LONGEST_PART} bytes");
        return Err(Failure::new(Reason::InvalidFormat, message));
    }
    Ok(parts.into_iter().map(str::to_owned).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn key(ctx: Value, is_jobs_own: bool) -> Result<String, String> {
        let job = Job { id: "j-1".into(), attempt: 2, service: "s".into(), payload: Value::Null, ctx };
        Place::of(&job, "base", is_jobs_own).map(|place| place.next("x y.png").1).map_err(|failure| failure.message)
    }

    #[test]
    fn keys_stay_below_what_the_job_may_write() {
        assert_eq!(key(json!({}), false).unwrap(), "base/j-1/2/x y.png");
        assert_eq!(key(json!({ "prefix": "/u1//day/" }), true).unwrap(), "base/u1/day/j-1/2/x y.png");
        assert_eq!(key(json!({ "prefix": "u1", "filename": "a.png" }), true).unwrap(), "base/u1/a.png");
        assert_eq!(key(json!({ "prefix": "u1", "filename": "d/a" }), true).unwrap(), "base/u1/d/a.png");
        assert_eq!(key(json!({ "prefix": "u1", "filename": "a.png" }), false).unwrap(), "base/u1/j-1/2/a.png");
        for bad in ["../x", "a/../../b", "..", "./a", "a\\..\\b", "a\nb", "a\0b", " .. "] {
            assert!(key(json!({ "prefix": bad }), true).is_err(), "{bad:?}");
            assert!(key(json!({ "filename": bad }), true).is_err(), "{bad:?}");
        }
        assert!(key(json!({ "prefix": 7 }), true).is_err());
        assert!(key(json!({ "prefix": "x/".repeat(1000) }), true).is_err());
        // Stores that keep files refuse it, and would be blamed for it.
        assert!(key(json!({ "prefix": "x".repeat(LONGEST_PART) }), false).is_ok());
        assert!(key(json!({ "prefix": "x".repeat(LONGEST_PART + 1) }), false).is_err());
    }

    #[test]
    fn urls_are_escaped() {
        let cdn = Url::parse("https://cdn.example.org/files/").unwrap();
        assert_eq!(url(&cdn, "u/ä b?#%.png"), "https://cdn.example.org/files/u/%C3%A4%20b%3F%23%25.png");
        let bare = Url::parse("https://cdn.example.org").unwrap();
        assert_eq!(url(&bare, "a.png"), "https://cdn.example.org/a.png");
    }
}
