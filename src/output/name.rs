//! File names that an engine suggests, made safe to write.
//! In: any text. Out: one plain path component, unique within its folder.

use std::collections::BTreeSet;

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

/// The same, changed if it is taken already.
pub fn unique(suggested: &str, taken: &mut BTreeSet<String>) -> String {
    free(safe(suggested), taken)
}

/// The name that a job asked for, with the extension of what the engine made if it has none, changed if it is taken.
pub fn asked(name: &str, suggested: &str, taken: &mut BTreeSet<String>) -> String {
    let extension = if split(name).1.is_empty() { split(suggested).1 } else { "" };
    free(format!("{name}{extension}"), taken)
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
        let mut taken = BTreeSet::new();
        let names = [("portrait", "x.png"), ("portrait", "y.png"), ("a.webp", "x.png"), ("v1.5 final", "noext")];
        let names: Vec<String> = names.iter().map(|(name, suggested)| asked(name, suggested, &mut taken)).collect();
        assert_eq!(names, ["portrait.png", "portrait-2.png", "a.webp", "v1.5 final"]);
    }

    #[test]
    fn equal_names_do_not_overwrite_each_other() {
        let mut taken = BTreeSet::new();
        let names: Vec<String> = (0..3).map(|_| unique("a.png", &mut taken)).collect();
        assert_eq!(names, ["a.png", "a-2.png", "a-3.png"]);
    }
}
