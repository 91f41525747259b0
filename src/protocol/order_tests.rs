//! What the order promises, on examples and on any input.
//! In: hash texts as producers write them. Out: failures.

use super::*;
use proptest::prelude::*;

const NOW: i64 = 1_760_000_000_000;

fn fields<'a>(priority: &'a str, workflow_priority: &'a str, datetime: &'a str, created: &'a str) -> OrderFields<'a> {
    OrderFields {
        priority: Some(priority),
        workflow_priority: Some(workflow_priority),
        workflow_datetime: Some(datetime),
        created_at: Some(created),
    }
}

#[test]
fn priorities_as_producers_write_them() {
    for (priority, workflow, expected) in [
        ("", "", 50),
        ("75", "", 75),
        ("75", "10", 10),
        ("75", "0", 0),
        ("0", "", 0),
        ("75", "nonsense", 75),
        ("75", "NaN", 75),
        ("nonsense", "", 50),
        ("inf", "", 50),
        ("-3", "", 0),
        ("99.9", "", 99),
        ("5000", "", 1023),
        (" 7 ", "", 7),
    ] {
        let order = order(&fields(priority, workflow, "", ""), NOW);
        assert_eq!(order.priority(), expected, "priority {priority:?}, workflow_priority {workflow:?}");
    }
    assert_eq!(order(&OrderFields::default(), NOW), Order::new(50, NOW as u64));
}

#[test]
fn times_as_producers_write_them() {
    for (datetime, created, expected) in [
        ("1750000000000", "2025-10-09T08:53:20.000Z", 1_750_000_000_000),
        ("", "2025-10-09T08:53:20.123Z", 1_760_000_000_123),
        ("", "2025-10-09T10:53:20.123+02:00", 1_760_000_000_123),
        ("", "2025-10-09T08:53:20.123456", 1_760_000_000_123),
        ("", "1760000000123", 1_760_000_000_123),
        ("", "1760000000.123456", 1_760_000_000_123),
        ("0", "1760000000123", 1_760_000_000_123),
        ("-5", "1760000000123", 1_760_000_000_123),
        ("1.5", "1760000000123", 1_760_000_000_123),
        ("2025-10-09", "1760000000123", 1_760_000_000_123),
        ("", "", NOW as u64),
        ("", "yesterday", NOW as u64),
        ("", "0", NOW as u64),
        ("", "1901-01-01T00:00:00Z", 0),
        ("99999999999999999999", "", TIME_MAX_MS),
    ] {
        let order = order(&fields("", "", datetime, created), NOW);
        assert_eq!(order.time_ms(), expected, "workflow_datetime {datetime:?}, created_at {created:?}");
    }
}

#[test]
fn the_clock_may_be_wrong() {
    assert_eq!(order(&OrderFields::default(), -1).time_ms(), 0);
    assert_eq!(order(&OrderFields::default(), i64::MAX).time_ms(), TIME_MAX_MS);
}

#[test]
fn only_orders_are_read_back() {
    assert_eq!(Order::parse("9007199254740991"), Some(Order::new(0, TIME_MAX_MS)));
    for text in ["", "-1", "1.5", "9007199254740992", "1e3", "x"] {
        assert_eq!(Order::parse(text), None, "{text}");
    }
}

proptest! {
    #[test]
    fn higher_priority_first_then_older(p in 0u64..1024, q in 0u64..1024, s in 0..=TIME_MAX_MS, t in 0..=TIME_MAX_MS) {
        let (a, b) = (Order::new(p, s), Order::new(q, t));
        prop_assert_eq!(a.cmp(&b), q.cmp(&p).then(s.cmp(&t)));
    }

    #[test]
    fn a_double_and_its_text_are_exact(p in 0u64..1024, t in 0..=TIME_MAX_MS) {
        let order = Order::new(p, t);
        prop_assert!(order.value() < 1 << 53);
        prop_assert_eq!((order.priority(), order.time_ms()), (p, t));
        prop_assert_eq!(order.value() as f64 as u64, order.value());
        prop_assert_eq!(format!("{:.0}", order.value() as f64), order.to_string());
        prop_assert_eq!(Order::parse(&order.to_string()), Some(order));
    }

    #[test]
    fn any_text_has_an_order(a in ".{0,20}", b in "[-+0-9.eE]{0,20}", c in "[0-9.:TZ+-]{0,30}", now in any::<i64>()) {
        let fields = fields(&a, &b, &b, &c);
        prop_assert!(order(&fields, now).value() < 1 << 53);
    }
}
