//! One kind of hostile job: how it gets into the queue, and what must become of it.

use std::collections::BTreeMap;

/// A row of the table.
pub struct Row {
    pub name: &'static str,
    pub put: Put,
    pub expect: Expect,
}

/// How it is put in.
pub enum Put {
    /// `submit` with a file of these bytes, and more words.
    Submit(Vec<u8>, Vec<&'static str>),
    /// By somebody else's program, which does not ask us.
    Hand(Hand),
}

/// A job written by hand.
pub struct Hand {
    pub id: Vec<u8>,
    /// What the hash holds; `None`: there is no hash.
    pub fields: Option<BTreeMap<String, Vec<u8>>>,
    pub score: &'static str,
    /// Commands sent before the id enters the queue.
    pub before: Vec<Vec<Vec<u8>>>,
}

/// What must become of it.
#[derive(Debug, Clone)]
pub enum Expect {
    /// `submit` ends with this exit code and says so; nothing enters the queue.
    Refused(i32, &'static str),
    /// The job fails with this type and reason, and an error that holds this.
    Failed(&'static str, &'static str, &'static str),
    /// The hostile part says nothing that matters: the job completes.
    Completes,
    /// The id is taken out of the queue, and no hash is made or changed for it.
    Leaves,
    /// Nobody can run it: it waits and disturbs nobody.
    Waits,
}

/// The commonest answer: the job itself cannot be understood.
pub const fn invalid(says: &'static str) -> Expect {
    Expect::Failed("validation_error", "invalid_payload", says)
}

/// The id of a row whose id is not what is hostile about it.
pub fn id_of(name: &str) -> String {
    name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect()
}

impl Hand {
    /// A job as the reference's API writes it, for the simulated engine, gone in a millisecond.
    pub fn job(name: &'static str) -> Self {
        let id = id_of(name);
        let text = |value: &str| value.as_bytes().to_vec();
        let fields = [
            ("id", id.as_str()),
            ("service_required", "simulation"),
            ("priority", "50"),
            ("payload", r#"{"steps":1,"step_ms":1,"outputs":0}"#),
            ("requirements", ""),
            ("customer_id", ""),
            ("created_at", "2026-01-02T03:04:05.678Z"),
            ("status", "pending"),
            ("retry_count", "0"),
            ("max_retries", "1"),
            ("workflow_id", ""),
            ("ctx", ""),
        ];
        let fields = fields.iter().map(|(name, value)| ((*name).to_owned(), text(value))).collect();
        Self { id: id.into_bytes(), fields: Some(fields), score: "49999998232676755", before: Vec::new() }
    }

    /// Sets a field.
    pub fn with(mut self, field: &str, value: impl Into<Vec<u8>>) -> Self {
        self.fields.get_or_insert_default().insert(field.to_owned(), value.into());
        self
    }

    /// Leaves a field out.
    pub fn without(mut self, field: &str) -> Self {
        self.fields.get_or_insert_default().remove(field);
        self
    }

    /// Leaves the hash out: something else, or nothing, stands under the job's key.
    pub fn hashless(mut self) -> Self {
        self.fields = None;
        self
    }

    /// Another id.
    pub fn named(mut self, id: impl Into<Vec<u8>>) -> Self {
        self.id = id.into();
        self
    }

    /// Another score.
    pub fn scored(mut self, score: &'static str) -> Self {
        self.score = score;
        self
    }

    /// A command sent before.
    pub fn after(mut self, words: &[&[u8]]) -> Self {
        self.before.push(words.iter().map(|word| word.to_vec()).collect());
        self
    }
}

/// A row by hand, one field of which is hostile.
pub fn field(name: &'static str, field: &str, value: impl Into<Vec<u8>>, expect: Expect) -> Row {
    Row { name, put: Put::Hand(Hand::job(name).with(field, value)), expect }
}

/// A row by hand.
pub fn hand(name: &'static str, change: impl FnOnce(Hand) -> Hand, expect: Expect) -> Row {
    Row { name, put: Put::Hand(change(Hand::job(name))), expect }
}

/// A row by `submit` that is refused.
pub fn submit(name: &'static str, file: impl Into<Vec<u8>>, words: &[&'static str], says: &'static str) -> Row {
    Row { name, put: Put::Submit(file.into(), words.to_vec()), expect: Expect::Refused(64, says) }
}
