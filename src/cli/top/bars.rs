//! Bars and small charts.
//! In: shares, memory, points of 15 minutes. Out: text of exactly the asked width.

use super::figures::gib;
use super::look::{BAD, FAINT, GOOD, JOB, OTHER, WARN};
use super::picture::{Memory, POINTS};
use ratatui::style::Style;
use ratatui::text::Span;

/// A bar of a share from 0 to 100.
pub(super) fn bar(percent: f64, width: usize, style: Style) -> Vec<Span<'static>> {
    let full = columns(percent / 100.0, width);
    vec![Span::styled("█".repeat(full), style), Span::styled("░".repeat(width - full), FAINT)]
}

/// How hot a load looks: what a card is at is good, what it waits for is not.
pub(super) fn load(percent: f64) -> Style {
    if percent >= 97.0 { WARN } else { GOOD }
}

/// Memory of jobs, of others, and what is free, of the line of the whole; where that is not known it is not drawn as free.
pub(super) fn stacked(memory: &Memory, width: usize) -> Vec<Span<'static>> {
    let total = memory.total_bytes.filter(|total| *total > 0.0);
    if total.zip(used(memory)).is_none() {
        return vec![Span::styled("?".repeat(width), FAINT)];
    }
    let share = |bytes: Option<f64>| total.zip(bytes).map_or(0, |(total, bytes)| columns(bytes / total, width));
    let job = share(memory.job_bytes);
    let used = share(used(memory)).max(job);
    // Used, but nobody knows by whom.
    let by = if memory.job_bytes.is_none() && memory.other_bytes.is_none() { "▓" } else { "▒" };
    let crowded = total.zip(self::used(memory)).is_some_and(|(total, used)| used > total * 0.97);
    vec![
        Span::styled("█".repeat(job), JOB),
        Span::styled(by.repeat(used - job), if crowded { BAD } else { OTHER }),
        Span::styled("░".repeat(width - used), FAINT),
    ]
}

fn used(memory: &Memory) -> Option<f64> {
    let parts = [memory.job_bytes, memory.other_bytes];
    let sum = parts.iter().any(Option::is_some).then(|| parts.iter().flatten().sum());
    memory.used_bytes.or(sum)
}

/// The same in numbers: `34 jobs + 8.1 others of 80 GiB`, `short` without the words; without it where nobody knows whose it is.
pub(super) fn memory(memory: &Memory, short: bool) -> Option<String> {
    let total = memory.total_bytes.map_or_else(String::new, |total| format!(" of {}", gib(total)));
    match (memory.job_bytes, memory.other_bytes, used(memory)) {
        (Some(job), Some(other), _) if short => Some(format!("{}+{}{total} GiB", gib(job), gib(other))),
        (Some(job), Some(other), _) => Some(format!("{} jobs + {} others{total} GiB", gib(job), gib(other))),
        (_, _, Some(used)) => Some(format!("{}{total} GiB", gib(used))),
        _ => memory.total_bytes.map(|total| format!("unknown of {} GiB", gib(total))),
    }
}

/// The last 15 minutes in this many columns, newest at the right; what nobody read is blank.
pub(super) fn spark(points: &[Option<f64>], most: f64, width: usize) -> String {
    const LEVELS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let missing = POINTS.saturating_sub(points.len());
    let column = |at: usize| {
        let (from, to) = (at * POINTS / width, ((at + 1) * POINTS / width).max(at * POINTS / width + 1));
        let part = (from..to).filter_map(|n| *points.get(n.checked_sub(missing)?)?);
        let (sum, count) = part.fold((0.0, 0_u32), |(sum, count), value| (sum + value, count + 1));
        if count == 0 || most <= 0.0 {
            return ' ';
        }
        let level = (sum / f64::from(count) / most * 7.0).round().clamp(0.0, 7.0) as usize;
        LEVELS.get(level).copied().unwrap_or(' ')
    };
    (0..width).map(column).collect()
}

/// Whole columns of a share; something is never nothing.
fn columns(share: f64, width: usize) -> usize {
    let exact = share.clamp(0.0, 1.0) * width as f64;
    if exact > 0.0 && exact < 1.0 { 1.min(width) } else { exact.round() as usize }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_have_the_asked_width_whatever_is_told() {
        let text = |spans: Vec<Span<'_>>| spans.iter().map(|span| span.content.to_string()).collect::<String>();
        for width in 0..20 {
            for percent in [f64::NAN, -5.0, 0.0, 0.1, 50.0, 100.0, 1e9] {
                assert_eq!(text(bar(percent, width, GOOD)).chars().count(), width, "{percent}");
            }
            let odd =
                Memory { total_bytes: Some(10.0), job_bytes: Some(80.0), other_bytes: Some(90.0), used_bytes: None };
            assert_eq!(text(stacked(&odd, width)).chars().count(), width);
            assert_eq!(spark(&[Some(1.0); 7], 100.0, width).chars().count(), width);
        }
        let half = Memory { total_bytes: Some(8.0), job_bytes: Some(4.0), other_bytes: Some(2.0), used_bytes: None };
        assert_eq!(text(stacked(&half, 8)), "████▒▒░░");
        assert_eq!(text(bar(0.1, 4, GOOD)), "█░░░");
    }

    #[test]
    fn a_young_chart_stands_at_the_right_and_gaps_are_blank() {
        let mut points = vec![Some(100.0); 150];
        points.extend([None; 75]);
        points.extend([Some(0.0); 75]);
        assert_eq!(spark(&points, 100.0, 6), "  ██ ▁");
        assert_eq!(spark(&[], 100.0, 3), "   ");
    }

    #[test]
    fn memory_is_told_as_far_as_it_is_known() {
        let of = |total, used, job, other| Memory {
            total_bytes: total,
            used_bytes: used,
            job_bytes: job,
            other_bytes: other,
        };
        let gib = 1_073_741_824.0;
        assert_eq!(
            memory(&of(Some(80.0 * gib), None, Some(gib), Some(gib)), false).as_deref(),
            Some("1.0 jobs + 1.0 others of 80 GiB")
        );
        assert_eq!(memory(&of(Some(80.0 * gib), Some(3.0 * gib), None, None), false).as_deref(), Some("3.0 of 80 GiB"));
        let unknown = of(Some(80.0 * gib), None, None, None);
        assert_eq!(memory(&unknown, false).as_deref(), Some("unknown of 80 GiB"));
        let drawn =
            |memory: &Memory| stacked(memory, 4).iter().map(|span| span.content.to_string()).collect::<String>();
        assert_eq!(drawn(&unknown), "????", "free is what is known to be free");
        assert_eq!(drawn(&of(None, Some(gib), None, None)), "????");
        assert_eq!(drawn(&of(Some(80.0 * gib), Some(0.0), None, None)), "░░░░");
        assert_eq!(drawn(&of(Some(80.0 * gib), Some(40.0 * gib), None, None)), "▓▓░░", "whose it is is not known");
        assert_eq!(memory(&Memory::default(), false), None);
    }
}
