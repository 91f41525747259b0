//! File names that an engine suggests, made safe to write.
//! In: any text. Out: one plain path component, unique within its folder for as long as it is in use.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Longest name that is kept, in bytes; file systems allow 255.
const LONGEST: usize = 120;

/// One path component without separators, control characters or a leading dot.
pub fn safe(suggested: &str) -> String {
    let last = suggested.rsplit(['/', '\\']).next().unwrap_or_default();
    let plain: String = last
        .chars()
        .map(|c| if c.is_alphanumeric() || matches!(c, '.' | '_' | '-' | ' ' | '(' | ')') { c } else { '_' })
        .collect();
    let trimmed = plain.trim().trim_start_matches('.');
    let (stem, extension) = split(trimmed);
    let mut room = LONGEST.saturating_sub(extension.len());
    while !stem.is_char_boundary(room.min(stem.len())) {
        room -= 1;
    }
    let stem = &stem[..room.min(stem.len())];
    if stem.is_empty() { format!("output{extension}") } else { format!("{stem}{extension}") }
}

/// The names in use in one folder.
#[derive(Debug, Default)]
pub struct Names(Arc<Mutex<BTreeSet<String>>>);

/// A name in use. One that is dropped is free again: an output that broke off is begun anew under its own name.
#[derive(Debug)]
pub struct Taken {
    name: String,
    of: Option<Arc<Mutex<BTreeSet<String>>>>,
}

impl Names {
    /// What the engine suggests, made safe, and changed if it is taken already.
    pub fn unique(&self, suggested: &str) -> Taken {
        self.take(safe(suggested))
    }

    /// The name that a job asked for, with the extension of what the engine made if it has none, changed if it is taken.
    pub fn asked(&self, name: &str, suggested: &str) -> Taken {
        let suggested = safe(suggested);
        let extension = if split(name).1.is_empty() { split(&suggested).1 } else { "" };
        self.take(format!("{name}{extension}"))
    }

    fn take(&self, name: String) -> Taken {
        Taken { name: free(name, &mut locked(&self.0)), of: Some(self.0.clone()) }
    }
}

impl Taken {
    /// The name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// It stays in use: something may bear it from now on.
    pub fn keep(&mut self) -> String {
        self.of = None;
        self.name.clone()
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        if let Some(of) = &self.of {
            locked(of).remove(&self.name);
        }
    }
}

fn locked(names: &Mutex<BTreeSet<String>>) -> MutexGuard<'_, BTreeSet<String>> {
    names.lock().unwrap_or_else(PoisonError::into_inner)
}

fn free(name: String, taken: &mut BTreeSet<String>) -> String {
    if taken.insert(name.clone()) {
        return name;
    }
    let (stem, extension) = split(&name);
    let mut count = 2;
    loop {
        let candidate = format!("{stem}-{count}{extension}");
        if taken.insert(candidate.clone()) {
            return candidate;
        }
        count += 1;
    }
}

/// Stem and extension with its dot; an extension is short and plain.
fn split(name: &str) -> (&str, &str) {
    match name.rfind('.') {
        Some(at)
            if at > 0
                && (2..=10).contains(&(name.len() - at))
                && name[at + 1..].bytes().all(|b| b.is_ascii_alphanumeric()) =>
        {
            name.split_at(at)
        }
        _ => (name, ""),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_names_become_one_plain_component() {
        let rows = [
            ("ComfyUI_00001_.png", "ComfyUI_00001_.png"),
            ("../../etc/passwd", "passwd"),
            ("..\\..\\boot.ini", "boot.ini"),
            ("/", "output"),
            ("", "output"),
            (".bashrc", "bashrc"),
            ("....png", "png"),
            ("a\0b\n.png", "a_b_.png"),
            ("Bild für Oma.webp", "Bild für Oma.webp"),
            ("x.tar.gz", "x.tar.gz"),
            ("semi;colon$(rm).png", "semi_colon_(rm).png"),
        ];
        for (given, expected) in rows {
            assert_eq!(safe(given), expected, "{given:?}");
        }
        let long = safe(&format!("{}.png", "ü".repeat(300)));
        assert!(long.len() <= LONGEST && long.ends_with(".png"), "{long}");
    }

    #[test]
    fn a_name_that_was_asked_for_is_kept_and_gets_an_extension() {
        let taken = Names::default();
        let names = [("portrait", "x.png"), ("portrait", "y.png"), ("a.webp", "x.png"), ("v1.5 final", "noext")];
        let names: Vec<String> = names.iter().map(|(name, suggested)| taken.asked(name, suggested).keep()).collect();
        assert_eq!(names, ["portrait.png", "portrait-2.png", "a.webp", "v1.5 final"]);
    }

    #[test]
    fn equal_names_do_not_overwrite_each_other() {
        let names = Names::default();
        let kept: Vec<String> = (0..3).map(|_| names.unique("a.png").keep()).collect();
        assert_eq!(kept, ["a.png", "a-2.png", "a-3.png"]);
        let (first, second) = (names.unique("b.png"), names.unique("b.png"));
        assert_eq!((first.name(), second.name()), ("b.png", "b-2.png"));
        drop(first);
        assert_eq!(names.unique("b.png").name(), "b.png");
    }
}
