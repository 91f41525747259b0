//! What one row of the table of variables says.
//! In: nothing. Out: the row, the kinds of value, and how an alias is turned into its variable's unit.

/// One setting, under the name that the documentation uses.
#[derive(Debug)]
pub struct Variable {
    /// Name in the environment and in the env file.
    pub name: &'static str,
    /// Where it stands in the documentation.
    pub group: Group,
    /// What its text must be.
    pub kind: Kind,
    /// What it is when nobody sets it.
    pub preset: Preset,
    /// How it is shown.
    pub mark: Mark,
    /// Other names for the same setting.
    pub aliases: &'static [Alias],
    /// One line: what it does, with its unit.
    pub doc: &'static str,
}

/// How a variable is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mark {
    /// Nothing special.
    Plain,
    /// Stands at the top of the example.
    Essential,
    /// Never shown.
    Secret,
}

/// Another name for a variable.
#[derive(Debug)]
pub struct Alias {
    /// The name.
    pub name: &'static str,
    /// How its value becomes the variable's.
    pub conversion: Conversion,
}

/// How an alias's value becomes the variable's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Conversion {
    /// As it is.
    Same,
    /// A number of seconds into milliseconds.
    SecondsToMilliseconds,
    /// A number of milliseconds into seconds.
    MillisecondsToSeconds,
    /// `true` (somebody else publishes the machine's status) into `off`; `false` says nothing.
    UnifiedStatus,
    /// `ws://host:port/ws` into `http://host:port`.
    WebSocketUrl,
}

/// What a variable is when nobody sets it.
#[derive(Debug, Clone, Copy)]
pub enum Preset {
    /// Nothing.
    Unset,
    /// This text.
    Is(&'static str),
    /// Something computed; the text says what.
    Derived(&'static str),
}

/// What a variable's text must be. Ranges include both ends.
#[derive(Debug, Clone, Copy)]
pub enum Kind {
    /// Any text.
    Text,
    /// A worker's id: no `.` and no `:`, which end the id in the names of keys and in status messages.
    WorkerId,
    /// A machine's id: no `:`.
    MachineId,
    /// A path.
    Path,
    /// `true`, `false`, `1`, `0`, `yes`, `no`, `on`, `off`.
    Boolean,
    /// A whole number in this range.
    Whole(u64, u64),
    /// A number in this range, decimals allowed.
    Decimal(f64, f64),
    /// A length of time in this unit and range, decimals allowed.
    Span(Unit, f64, f64),
    /// A number of bytes: `10485760`, `10MB` (10,000,000), `10MiB` (10,485,760).
    Size,
    /// One of these spellings; beside each, what it means.
    Choice(&'static [(&'static str, &'static str)]),
    /// Texts, as a comma list or a JSON array.
    List,
    /// Engine names as a comma list, each `name` or `name:count`.
    Services,
    /// GPU indexes as a comma list.
    Indexes,
    /// `redis://`, `rediss://`, `redis+unix://`, `unix://`; with `+sentinel` or `+cluster` several hosts.
    RedisUrl,
    /// Base URLs as a comma list, `http://` or `https://`.
    EngineUrls,
    /// The same, with a path allowed.
    ApiUrls,
    /// `s3://`, `gs://`, `az://` with bucket and prefix, or `file://` with a folder.
    StoreUrl,
    /// One address, `http://` or `https://`, a path allowed.
    HttpUrl,
    /// Host names, addresses and networks as a comma list.
    Hosts,
}

/// Unit of a length of time.
#[derive(Debug, Clone, Copy)]
pub enum Unit {
    /// Thousandths of a second.
    Milliseconds,
    /// Seconds.
    Seconds,
    /// 60 seconds.
    Minutes,
    /// 3600 seconds.
    Hours,
}

impl Unit {
    /// Seconds in one of this unit.
    pub fn seconds(self) -> f64 {
        match self {
            Unit::Milliseconds => 0.001,
            Unit::Seconds => 1.0,
            Unit::Minutes => 60.0,
            Unit::Hours => 3600.0,
        }
    }

    fn word(self) -> &'static str {
        match self {
            Unit::Milliseconds => "milliseconds",
            Unit::Seconds => "seconds",
            Unit::Minutes => "minutes",
            Unit::Hours => "hours",
        }
    }
}

impl Kind {
    /// What is expected, as it stands in errors ("must be …") and in the documentation.
    pub fn expected(&self) -> String {
        match self {
            Kind::Text => "text".into(),
            Kind::WorkerId => "an id of at most 128 characters without `.`, `:`, `|` or blanks".into(),
            Kind::MachineId => "an id of at most 128 characters without `:` or blanks".into(),
            Kind::Path => "a path".into(),
            Kind::Boolean => "true or false".into(),
            Kind::Whole(min, max) => format!("a whole number from {min} to {max}"),
            Kind::Decimal(min, max) => format!("a number from {min} to {max}"),
            Kind::Span(unit, min, max) => {
                format!("a number of {} from {min} to {max}", unit.word())
            }
            Kind::Size => "a number of bytes from 1KiB to 1GiB, such as 10485760, 10MB or 10MiB".into(),
            Kind::Choice(choices) => {
                let words: Vec<_> =
                    choices.iter().filter(|(text, meaning)| text == meaning).map(|(text, _)| *text).collect();
                format!("one of {}", words.join(", "))
            }
            Kind::List => "a comma list or a JSON array of texts".into(),
            Kind::Services => "a comma list of engines, each `name` or `name:count`".into(),
            Kind::Indexes => "a comma list of GPU indexes, such as 0,1".into(),
            Kind::RedisUrl => {
                "an address such as redis://host:6379, rediss://:password@host:6379/0, redis+unix:///path, \
                 redis+sentinel://host:26379,host2:26379/mymaster or redis+cluster://host:6379,host2:6379"
                    .into()
            }
            Kind::Hosts => {
                "a comma list of host names, addresses and networks, such as store.internal:9000,*.lan,10.0.0.0/8"
                    .into()
            }
            Kind::EngineUrls => "a comma list of addresses such as http://127.0.0.1:8188, without path or query".into(),
            Kind::ApiUrls => {
                "a comma list of addresses such as http://127.0.0.1:8000 or https://api.openai.com/v1, without credentials or query".into()
            }
            Kind::StoreUrl => {
                "an address such as s3://bucket/prefix, gs://bucket/prefix, az://container/prefix or file:///folder, \
                 without credentials in it"
                    .into()
            }
            Kind::HttpUrl => "an address such as https://cdn.example.org/files, without user, password or query".into(),
        }
    }
}

/// Groups of variables, in the order of the documentation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Group {
    /// Redis and the shape of the queue.
    Redis,
    /// Who this worker is.
    Identity,
    /// Which engines, and where.
    Engines,
    /// Times and limits of a job's life.
    Jobs,
    /// Declared hardware.
    Hardware,
    /// Who may use the worker.
    Customers,
    /// What the worker says of itself for matching.
    Capabilities,
    /// Where outputs go.
    Outputs,
    /// Folders, log and dashboard.
    Program,
}

impl Group {
    /// Every group, in order.
    pub const ALL: [Group; 9] = [
        Group::Redis,
        Group::Identity,
        Group::Engines,
        Group::Jobs,
        Group::Hardware,
        Group::Customers,
        Group::Capabilities,
        Group::Outputs,
        Group::Program,
    ];

    /// Heading in the documentation.
    pub fn heading(self) -> &'static str {
        match self {
            Group::Redis => "Redis and the queue",
            Group::Identity => "Who this worker is",
            Group::Engines => "Engines",
            Group::Jobs => "Jobs: times and limits",
            Group::Hardware => "Declared hardware (each overrides what is detected)",
            Group::Customers => "Customers",
            Group::Capabilities => "What the worker tells about itself for matching",
            Group::Outputs => "Outputs",
            Group::Program => "Folders, log and dashboard",
        }
    }
}
