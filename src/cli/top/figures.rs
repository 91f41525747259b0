//! How numbers are written: spans, moments, sizes, rates.
//! In: milliseconds, bytes, shares as JSON has them. Out: short text for people.

const GIB: f64 = 1_073_741_824.0;

/// How long something takes or took.
pub(super) fn span(ms: f64) -> String {
    let seconds = (ms.max(0.0) / 1000.0).min(1e12);
    let whole = seconds as u64;
    match whole {
        0 => format!("{:.0} ms", seconds * 1000.0),
        1..10 => format!("{seconds:.1} s"),
        10..60 => format!("{whole} s"),
        60..3600 => format!("{} min {:02} s", whole / 60, whole % 60),
        3600..86_400 => format!("{} h {:02} min", whole / 3600, whole / 60 % 60),
        _ => format!("{} d {} h", whole / 86_400, whole / 3600 % 24),
    }
}

/// The same, of what goes on: no tenths that would change with every look.
pub(super) fn age(ms: f64) -> String {
    let seconds = (ms.max(0.0) / 1000.0).min(1e12) as u64;
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7200 => format!("{} min", seconds / 60),
        7200..172_800 => format!("{} h", seconds / 3600),
        _ => format!("{} d", seconds / 86_400),
    }
}

/// A moment of the day, UTC.
pub(super) fn clock(ms: f64) -> String {
    let seconds = ((ms / 1000.0).floor() as i64).rem_euclid(86_400);
    format!("{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60)
}

/// Memory in GiB, as drivers count it, without the unit.
pub(super) fn gib(bytes: f64) -> String {
    let gib = bytes / GIB;
    if gib >= 9.95 || gib == 0.0 { format!("{gib:.0}") } else { format!("{gib:.1}") }
}

/// A process's memory with its unit.
pub(super) fn memory_size(bytes: f64) -> String {
    let mib = bytes.max(0.0) / 1_048_576.0;
    if mib < 1000.0 { format!("{mib:.0} MiB") } else { format!("{} GiB", gib(bytes)) }
}

/// A size with its unit.
pub(super) fn size(bytes: f64) -> String {
    crate::cli::render::size(bytes.max(0.0) as u64)
}

/// A number without needless digits.
pub(super) fn number(value: f64) -> String {
    if value.fract().abs() < 0.05 || value.abs() >= 100.0 { format!("{value:.0}") } else { format!("{value:.1}") }
}

/// Cut to this many columns; what is cut is marked.
pub(super) fn cut(text: &str, columns: usize) -> String {
    use ratatui::text::Span;
    if Span::raw(text).width() <= columns {
        return text.to_owned();
    }
    let mut kept = String::new();
    let mut used = 0;
    for c in text.chars() {
        let width = Span::raw(c.to_string()).width();
        if used + width >= columns {
            break;
        }
        used += width;
        kept.push(c);
    }
    if columns > 0 {
        kept.push('…');
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_short() {
        let spans = [(41.3, "41 ms"), (4_230.0, "4.2 s"), (61_000.0, "1 min 01 s"), (3_700_000.0, "1 h 01 min")];
        for (ms, text) in spans {
            assert_eq!(span(ms), text);
        }
        assert_eq!([age(119_000.0), age(f64::NAN), age(-5.0)], ["119 s", "0 s", "0 s"]);
        assert_eq!(clock(1_760_000_000_000.0), "08:53:20");
        assert_eq!([gib(0.0), gib(GIB * 0.5), gib(GIB * 79.6)], ["0", "0.5", "80"]);
        assert_eq!([memory_size(21_400_000.0), memory_size(GIB * 1.5)], ["20 MiB", "1.5 GiB"]);
        assert_eq!([number(3.0), number(3.25), number(412.7)], ["3", "3.2", "413"]);
    }

    #[test]
    fn what_is_cut_is_marked_and_never_wider_than_asked() {
        for columns in 0..12 {
            let width = ratatui::text::Span::raw(cut("画像 of a cat", columns)).width();
            assert!(width <= columns, "{columns}: {width}");
        }
        assert_eq!([cut("abcdef", 6), cut("abcdef", 4)], ["abcdef", "abc…"]);
    }
}
