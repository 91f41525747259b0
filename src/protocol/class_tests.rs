//! Classes: the same demand in any spelling is one class, and what cannot be understood is refused with its name.
//! In: job hashes. Out: failures.

use super::*;
use proptest::prelude::*;
use serde_json::json;

fn class(requirements: &str) -> Result<Class, Unreadable> {
    Class::of(
        |name| match name {
            "service_required" => Some("comfyui"),
            "requirements" => Some(requirements),
            _ => None,
        },
        &BTreeSet::new(),
    )
}

fn definition(requirements: &str) -> String {
    class(requirements).unwrap().definition().to_owned()
}

#[test]
fn the_id_is_the_digest_of_the_definition() {
    let class = class("").unwrap();
    assert_eq!(class.definition(), r#"{"service":"comfyui"}"#);
    let id = class.id().to_string();
    assert_eq!(id.len(), 16);
    assert_eq!(ClassId::parse(&id), Some(class.id()));
    assert_eq!(ClassId::parse("0123456789ABCDEF"), None);
    assert_eq!(ClassId::parse("+123456789abcdef"), None);
    // sha256 of the empty text, so that another language can check its own.
    assert_eq!(ClassId::of_definition("").to_string(), "e3b0c44298fc1c14");
}

#[test]
fn the_same_demand_in_another_spelling_is_the_same_class() {
    for group in [
        vec![
            "",
            " ",
            "{}",
            "[]",
            r#"{"models":"all"}"#,
            r#"{"models":[],"component":"all","workflow":"all"}"#,
            r#"{"hardware":{"gpu_memory_gb":"all","ram_gb":0}}"#,
            r#"{"positive_requirements":{}}"#,
            r#"{"negative_requirements":[]}"#,
            r#"{"service_type":"comfyui"}"#,
            r#"{"customer_isolation":"loose"}"#,
        ],
        vec![
            r#"{"hardware":{"gpu_memory_gb":24}}"#,
            r#"{ "hardware" : {"gpu_memory_gb": 24.0} }"#,
            r#"{"hardware":{"gpu_memory_gb":"24"}}"#,
            r#"{"hardware":{"gpu":{"memory_gb":2.4e1}}}"#,
            r#"{"hardware.gpu.memory_gb":24}"#,
            r#"{"hardware.gpu_memory_gb":24}"#,
            r#"{"positive_requirements":{"hardware":{"gpu_memory_gb":24}}}"#,
            r#"{"hardware":{"gpu_memory_gb":24,"gpu":{"memory_gb":24}}}"#,
        ],
        vec![r#"{"a":1,"b":[2,"x",2]}"#, r#"{"b":["x",2],"a":1}"#],
        vec![r#"{"metadata":{"version":"1"}}"#, r#"{"metadata.version":"1"}"#],
        vec![r#"{"quality_level":"fast"}"#, r#"{"quality_level":["fast"]}"#],
    ] {
        let first = definition(group[0]);
        for text in group {
            assert_eq!(definition(text), first, "{text}");
        }
    }
}

#[test]
fn different_demands_are_different_classes() {
    let definitions: BTreeSet<String> = [
        "{}",
        r#"{"max_batch_size":4}"#,
        r#"{"max_batch_size":"4"}"#,
        r#"{"max_batch_size":[4]}"#,
        r#"{"negative_requirements":{"max_batch_size":4}}"#,
        r#"{"x":true}"#,
        r#"{"x":"true"}"#,
        r#"{"x":null}"#,
        r#"{"x":[]}"#,
        r#"{"models":["a"]}"#,
        r#"{"models":{"comfyui":["a"]}}"#,
    ]
    .iter()
    .map(|text| definition(text))
    .collect();
    assert_eq!(definitions.len(), 11);
}

#[test]
fn what_cannot_be_understood_is_refused_by_name() {
    let deep = |n: usize| format!("{{\"a\":{}1{}}}", "[".repeat(n), "]".repeat(n));
    let long = format!(r#"{{"a":"{}"}}"#, "x".repeat(MAX_REQUIREMENTS_BYTES));
    for (text, field) in [
        ("not json", "requirements"),
        ("{", "requirements"),
        ("{} {}", "requirements"),
        ("null", "requirements"),
        ("5", "requirements"),
        ("true", "requirements"),
        ("\"text\"", "requirements"),
        ("[1]", "requirements"),
        (r#"{"a":1,"a":1}"#, "requirements"),
        (r#"{"a":1e999}"#, "requirements"),
        (r#"{"":1}"#, "requirements"),
        (r#"{".":1}"#, "requirements"),
        (&deep(MAX_DEPTH), "requirements"),
        (&deep(30_000), "requirements"),
        (&long, "requirements"),
        (r#"{"hardware":null}"#, "requirements.hardware"),
        (r#"{"hardware":5}"#, "requirements.hardware"),
        (r#"{"hardware":true}"#, "requirements.hardware"),
        (r#"{"hardware":"big"}"#, "requirements.hardware"),
        (r#"{"hardware":{"ram_gb":null}}"#, "requirements.hardware.ram_gb"),
        (r#"{"hardware":{"ram_gb":"lots"}}"#, "requirements.hardware.ram_gb"),
        (r#"{"hardware":{"ram_gb":""}}"#, "requirements.hardware.ram_gb"),
        (r#"{"hardware":{"cpu_cores":[4]}}"#, "requirements.hardware.cpu_cores"),
        (r#"{"hardware":{"gpu":true}}"#, "requirements.hardware.gpu"),
        (r#"{"hardware":{"gpu_model":7}}"#, "requirements.hardware.gpu_model"),
        (r#"{"hardware":{"gpu_memory_gb":8,"gpu":{"memory_gb":9}}}"#, "requirements.hardware.gpu_memory_gb"),
        (r#"{"models":5}"#, "requirements.models"),
        (r#"{"models":[null]}"#, "requirements.models"),
        (r#"{"models":[["a"]]}"#, "requirements.models"),
        (r#"{"customer_isolation":"very"}"#, "requirements.customer_isolation"),
        (r#"{"customer_isolation":1}"#, "requirements.customer_isolation"),
        (r#"{"timeout_minutes":"soon"}"#, "requirements.timeout_minutes"),
        (r#"{"component":{"a":1}}"#, "requirements.component"),
        (r#"{"positive_requirements":null}"#, "requirements.positive_requirements"),
        (r#"{"negative_requirements":null}"#, "requirements.negative_requirements"),
        (r#"{"negative_requirements":[1]}"#, "requirements.negative_requirements"),
        (r#"{"negative_requirements":{"hardware":"all"}}"#, "requirements.negative_requirements.hardware"),
        (r#"{"positive_requirements":{"x":2},"x":1}"#, "requirements.x"),
        (r#"{"positive_requirements":{"":2}}"#, "requirements.positive_requirements"),
    ] {
        let refused = class(text).expect_err(text);
        assert_eq!(refused.field, field, "{text}: {refused}");
    }
    assert!(class(&deep(MAX_DEPTH - 1)).is_ok());
}

#[test]
fn a_refusal_reads_as_a_sentence() {
    let said = |text: &str| class(text).unwrap_err().to_string();
    assert_eq!(said("null"), "requirements must be a JSON object, not null");
    assert_eq!(said(r#"{"hardware":{"ram_gb":null}}"#), "requirements.hardware.ram_gb must be a number");
    let key = "a\u{1b}\n".repeat(5_000);
    let hostile_texts =
        [json!({ &key: 1, "positive_requirements": { &key: 2 } }).to_string(), format!("{{{0}:1,{0}:2}}", json!(key))];
    for text in hostile_texts {
        let told = said(&text);
        assert!(told.chars().count() < 500 && !told.contains(char::is_control), "{told}");
    }
    assert_eq!(said("{"), "requirements is not JSON: EOF while parsing an object at line 1 column 1");
}

#[test]
fn job_fields_are_part_of_a_class_while_somebody_reads_them() {
    let hash = |name: &str| match name {
        "service_required" => Some("comfyui"),
        "customer_id" => Some("c1"),
        "payload" => Some("never read"),
        _ => None,
    };
    let extra = BTreeSet::from(["customer_id".to_owned(), "workflow_id".to_owned(), "requirements".to_owned()]);
    let class = Class::of(hash, &extra).unwrap();
    assert_eq!(class.definition(), r#"{"fields":{"customer_id":"c1","workflow_id":""},"service":"comfyui"}"#);
    assert_eq!(class.field("customer_id"), Some("c1"));
    assert_eq!(class.field("workflow_id"), Some(""));
    assert_eq!(Class::of(hash, &BTreeSet::new()).unwrap().field("customer_id"), None);

    let long = "x".repeat(MAX_FIELD_BYTES + 1);
    let refused = Class::of(|_| Some(long.as_str()), &BTreeSet::new()).unwrap_err();
    assert_eq!(refused.field, "service_required");
}

#[test]
fn no_service_and_an_empty_service_differ() {
    let none = Class::of(|_| None, &BTreeSet::new()).unwrap();
    let empty = Class::of(|name| (name == "service_required").then_some(""), &BTreeSet::new()).unwrap();
    assert_eq!((none.service(), empty.service()), (None, Some("")));
    assert_ne!(none.id(), empty.id());
}

#[test]
fn a_definition_from_elsewhere_is_checked() {
    for text in [
        "",
        "[]",
        "null",
        r#"{"service":5}"#,
        r#"{"require":[]}"#,
        r#"{"require":{"hardware":5}}"#,
        r#"{"fields":{"customer_id":1}}"#,
        r#"{"prefer":{}}"#,
    ] {
        assert!(Class::parse(text).is_err(), "{text}");
    }
    let foreign = r#"{ "service": "comfyui" }"#;
    assert_eq!(Class::parse(foreign).unwrap().id(), ClassId::of_definition(foreign));
}

fn any_json() -> impl Strategy<Value = Value> {
    let key = prop_oneof![
        Just("hardware".to_owned()),
        Just("gpu_memory_gb".to_owned()),
        Just("gpu".to_owned()),
        Just("gpu_model".to_owned()),
        Just("models".to_owned()),
        Just("positive_requirements".to_owned()),
        Just("negative_requirements".to_owned()),
        Just("customer_isolation".to_owned()),
        Just("quality_level".to_owned()),
        "[a-c.]{0,4}",
    ];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i32>().prop_map(Value::from),
        any::<f32>().prop_map(|n| json!(n)),
        prop_oneof![Just("all"), Just("strict"), Just("16"), Just("fast"), Just("")].prop_map(Value::from),
        ".{0,6}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 40, 5, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::btree_map(key.clone(), inner, 0..5).prop_map(|m| Value::Object(m.into_iter().collect())),
        ]
    })
}

/// The same JSON with every object written backwards.
fn backwards(value: &Value) -> String {
    match value {
        Value::Array(items) => format!("[{}]", items.iter().map(backwards).collect::<Vec<_>>().join(" , ")),
        Value::Object(map) => {
            let entries = map.iter().rev().map(|(key, item)| format!("{} : {}", json!(key), backwards(item)));
            format!("{{{}}}", entries.collect::<Vec<_>>().join(" , "))
        }
        scalar => scalar.to_string(),
    }
}

proptest! {
    #[test]
    fn key_order_and_spaces_change_nothing(value in any_json()) {
        let (one, other) = (class(&value.to_string()), class(&backwards(&value)));
        prop_assert_eq!(one.is_ok(), other.is_ok());
        if let (Ok(one), Ok(other)) = (one, other) {
            prop_assert_eq!(one.definition(), other.definition());
            prop_assert_eq!(one, other);
        }
    }

    #[test]
    fn a_class_survives_its_definition(value in any_json()) {
        if let Ok(class) = class(&value.to_string()) {
            let read = Class::parse(class.definition());
            prop_assert_eq!(read, Ok(class));
        }
    }

    #[test]
    fn no_text_is_a_panic(text in ".{0,200}") {
        let _ = class(&text);
        let _ = Class::parse(&text);
    }
}
