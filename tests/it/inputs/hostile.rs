//! The table of hostile URLs: one row for each trick, driven through the real fetcher.
//!
//! Three servers: one that may be asked (`OPEN`, its address is allowed), one on the same port of another address that
//! must never be (`TRAP`), and one on an allowed name. Whatever a row does, the trap must stay unasked.

use super::server::{Answer, Server, Then, bare, to, whole};
use async_trait::async_trait;
use connectors::contract::{Input, InputSource};
use connectors::failure::{Failure, Reason};
use gpu_worker::config::AllowedHost;
use gpu_worker::input::{Inputs, Limits, Resolver};
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

pub const OPEN: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 3));
pub const TRAP: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 1));
pub const PNG: &[u8] = b"\x89PNG\r\n\x1a\nthe rest of a picture";

/// What is expected of a row.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Is {
    /// Not to be fetched, now or ever.
    Refused,
    /// Not even an address.
    Malformed,
    /// Fails in a way that is worth another attempt.
    Fails(Reason),
    /// Harmless after all: the picture of the server that may be asked.
    Harmless,
}
use Is::{Fails, Harmless, Malformed, Refused};

/// Answers by a table, a name's answers in turn and the last for ever; keeps what it was asked.
#[derive(Default)]
pub struct Names {
    answers: Mutex<BTreeMap<&'static str, Vec<Vec<IpAddr>>>>,
    asked: Mutex<Vec<String>>,
}

impl Names {
    pub fn of(table: &[(&'static str, &[&[&str]])]) -> Arc<Self> {
        let read = |list: &&[&str]| list.iter().map(|text| text.parse().unwrap()).collect();
        let answers = table.iter().map(|(name, answers)| (*name, answers.iter().map(read).collect())).collect();
        Arc::new(Self { answers: Mutex::new(answers), asked: Mutex::default() })
    }

    pub fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

#[async_trait]
impl Resolver for Names {
    async fn resolve(&self, name: &str) -> std::io::Result<Vec<IpAddr>> {
        self.asked.lock().unwrap().push(name.to_owned());
        if name == "hangs.test" {
            std::future::pending::<()>().await;
        }
        let mut answers = self.answers.lock().unwrap();
        let Some(answers) = answers.get_mut(name) else { return Err(std::io::Error::other("no such name")) };
        Ok(if answers.len() > 1 { answers.remove(0) } else { answers[0].clone() })
    }
}

/// Patient, so that a busy machine changes nothing.
pub fn patient() -> Limits {
    let long = Duration::from_secs(60);
    Limits { bytes: 1 << 20, total: long, idle: long, connect: long, redirects: 5 }
}

pub fn inputs(folder: &Path, limits: Limits, allowed: &[&str], names: Arc<Names>) -> Inputs {
    let allowed = allowed.iter().map(|entry| AllowedHost::parse(entry).unwrap()).collect();
    Inputs::new(limits, allowed, &folder.join("inputs"), &folder.join("outputs")).resolving(names)
}

fn names() -> Arc<Names> {
    Names::of(&[
        ("open.test", &[&["127.0.0.3"]]),
        ("xn--pen-red.test", &[&["127.0.0.1"]]),
        ("localhost", &[&["127.0.0.1", "::1"]]),
        ("private.test", &[&["10.0.0.7"]]),
        ("both.test", &[&["127.0.0.3", "127.0.0.1"]]),
        ("mapped.test", &[&["::ffff:127.0.0.1"]]),
        ("metadata.google.internal", &[&["169.254.169.254"]]),
        ("nobody.test", &[&[]]),
        // Some name servers have an address for whatever they are asked.
        ("127.0.0.1.", &[&["127.0.0.3"]]),
        ("2130706433.", &[&["127.0.0.3"]]),
        ("rebinds.test", &[&["127.0.0.3"], &["127.0.0.1"]]),
        ("moves.test", &[&["127.0.0.3"], &["127.0.0.1"]]),
        ("within.open.test", &[&["127.0.0.1"]]),
    ])
}

/// What the server that may be asked says; `port` is that of all three.
fn script(path: &str, port: u16) -> Answer {
    let here = |path: &str| format!("http://127.0.0.3:{port}{path}");
    let trap = format!("http://127.0.0.1:{port}/");
    let text = |text: &str, then| (text.as_bytes().to_vec(), then);
    match path {
        "/to-trap" => to(&trap),
        "/to-decimal" => to(&format!("http://2130706433:{port}/")),
        "/to-relative-host" => to(&format!("//127.0.0.1:{port}/")),
        "/to-file" => to("file:///etc/passwd"),
        "/to-data" => to("data:image/png;base64,iVBORw0KGgo="),
        "/to-output" => to("output:job-1/a.png"),
        "/to-name" => to(&format!("http://localhost:{port}/")),
        "/to-moved" => to("/picture"),
        "/to-odd-port" => to("http://127.0.0.3:22/"),
        "/to-user" => to(&format!("http://127.0.0.3:{port}@127.0.0.1:{port}/")),
        "/loop" => to(&here("/loop")),
        "/to-nowhere" => bare("302 Found", ""),
        "/to-nonsense" => to("http://[::1"),
        "/choices" => bare("300 Multiple Choices", &format!("Location: {trap}\r\n")),
        "/refresh" => whole(&format!("Refresh: 0; url={trap}\r\nLocation: {trap}\r\n"), PNG),
        "/proxy" => bare("305 Use Proxy", &format!("Location: {trap}\r\n")),
        "/alternative" => whole(&format!("Alt-Svc: h2=\"127.0.0.1:{port}\"\r\n"), PNG),
        "/endless" => text("HTTP/1.1 200 OK\r\n\r\n", Then::Endless("all work and no play ")),
        "/endless-chunks" => {
            text("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", Then::Endless("10\r\nmore and more...\r\n"))
        }
        "/claims-too-much" => text("HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n", Then::Silence),
        "/claims-more" => text("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n\x7fhalf", Then::Close),
        "/claims-less" => {
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", PNG.len());
            ([head.as_bytes(), PNG, b"HTTP/1.1 200 OK\r\n\r\nsmuggled"].concat(), Then::Close)
        }
        "/claims-both" => {
            text("HTTP/1.1 200 OK\r\nContent-Length: 4\r\nContent-Length: 9\r\n\r\nabcdefghi", Then::Close)
        }
        "/bad-chunks" => text("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nabc", Then::Close),
        "/huge-chunk" => {
            text("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\nabc", Then::Close)
        }
        "/gzip-bomb" => whole("Content-Encoding: gzip\r\n", GZIPPED),
        "/stacked" => whole("Content-Encoding: gzip, gzip, br\r\n", GZIPPED),
        "/empty" => whole("", b""),
        "/nothing" => bare("204 No Content", ""),
        "/part" => (b"HTTP/1.1 206 Partial Content\r\nContent-Length: 4\r\n\r\nhalf".to_vec(), Then::Close),
        "/endless-head" => text("HTTP/1.1 200 OK\r\n", Then::Endless("X-More: and more of it\r\n")),
        "/endless-line" => text("HTTP/1.1 200 OK\r\nX-Long: ", Then::Endless("longer and longer ")),
        "/many-informed" => text("", Then::Endless("HTTP/1.1 103 Early Hints\r\n\r\n")),
        "/ssh" => text("SSH-2.0-OpenSSH_9.6\r\n", Then::Close),
        "/old" => text("just the bytes, as in HTTP/0.9", Then::Close),
        "/closes" => text("", Then::Close),
        "/switches" => {
            text("HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n", Then::Close)
        }
        "/missing" => bare("404 Not Found", ""),
        "/login" => bare("401 Unauthorized", "WWW-Authenticate: Basic realm=\"x\"\r\n"),
        "/expired" => bare("403 Forbidden", ""),
        "/busy" => bare("503 Service Unavailable", "Retry-After: 7\r\n"),
        "/often" => bare("429 Too Many Requests", "Retry-After: 9\r\n"),
        _ => whole("Content-Type: image/png\r\n", PNG),
    }
}

/// A gzip head; what follows would be unpacked by whoever believes it.
const GZIPPED: &[u8] = b"\x1f\x8b\x08\0\0\0\0\0\0\x03and so on";

/// `PORT` stands for the port of all servers.
const TRICKS: &[(&str, &str, Is)] = &[
    // What else a URL can name than a web server.
    ("a file of this machine", "file:///etc/passwd", Refused),
    ("a protocol that speaks to any server", "gopher://127.0.0.1:PORT/_FLUSHALL", Refused),
    ("an old protocol of files", "ftp://127.0.0.1:PORT/a.png", Refused),
    ("a socket", "http+unix://%2Frun%2Fdocker.sock/info", Refused),
    ("a jar within a URL", "jar:http://127.0.0.1:PORT/!/a", Refused),
    ("a view of a URL", "view-source:http://127.0.0.1:PORT/", Refused),
    ("a path alone", "/etc/passwd", Malformed),
    ("a host without a scheme", "//127.0.0.1:PORT/", Malformed),
    ("nothing", "", Malformed),
    ("no host", "http://", Malformed),
    // Ways to write http://127.0.0.1.
    ("loopback as it is", "http://127.0.0.1:PORT/", Refused),
    ("a scheme in capitals", "HTTP://127.0.0.1:PORT/", Refused),
    ("blanks in front", " \u{1}\t http://127.0.0.1:PORT/", Refused),
    ("a line break in mid-scheme", "ht\ntp://127.0.0.1:PORT/", Refused),
    ("a tab in mid-host", "http://127.0.\t0.1:PORT/", Refused),
    ("no slashes", "http:127.0.0.1:PORT/", Refused),
    ("too many slashes", "http://///127.0.0.1:PORT/", Refused),
    ("backslashes", "http:\\\\127.0.0.1:PORT\\", Refused),
    ("one decimal number", "http://2130706433:PORT/", Refused),
    ("octal parts", "http://0177.0.0.01:PORT/", Refused),
    ("one octal number", "http://017700000001:PORT/", Refused),
    ("hexadecimal parts", "http://0x7f.0.0.0x1:PORT/", Refused),
    ("one hexadecimal number", "http://0x7F000001:PORT/", Refused),
    ("two parts", "http://127.1:PORT/", Refused),
    ("three parts, the last of two bytes", "http://127.0.1:PORT/", Refused),
    ("another address of loopback", "http://127.255.255.254:PORT/", Refused),
    ("zero, which means this machine", "http://0:PORT/", Refused),
    ("a dot at the end", "http://127.0.0.1.:PORT/", Refused),
    ("two dots at the end", "http://127.0.0.1..:PORT/", Refused),
    ("one number with two dots", "http://2130706433..:PORT/", Refused),
    ("three dots at the end", "http://127.0.0.1...:PORT/", Malformed),
    ("letters of full width", "http://１２７.0.0.1:PORT/", Refused),
    ("digits in circles", "http://①②⑦.⓪.⓪.①:PORT/", Refused),
    ("full stops of another script", "http://127。0．0｡1:PORT/", Refused),
    ("percent signs", "http://%31%32%37.0.0.1:PORT/", Refused),
    ("soft hyphens between", "http://127.0\u{ad}.0.1:PORT/", Refused),
    ("a part above 255", "http://127.0.0.256:PORT/", Malformed),
    ("five parts", "http://127.0.0.0.1:PORT/", Malformed),
    ("a number that overflows", "http://4294967297:PORT/", Malformed),
    // The same in IPv6, and what carries IPv4 within.
    ("IPv6 loopback", "http://[::1]:PORT/", Refused),
    ("IPv6 loopback at full length", "http://[0000:0000:0000:0000:0000:0000:0000:0001]:PORT/", Refused),
    ("IPv6 unspecified", "http://[::]:PORT/", Refused),
    ("IPv4-mapped", "http://[::ffff:127.0.0.1]:PORT/", Refused),
    ("IPv4-mapped of an allowed address", "http://[::ffff:7f00:3]:PORT/", Refused),
    ("IPv4-compatible", "http://[::127.0.0.1]:PORT/", Refused),
    ("NAT64", "http://[64:ff9b::7f00:1]:PORT/", Refused),
    ("local NAT64", "http://[64:ff9b:1::7f00:1]:PORT/", Refused),
    ("6to4", "http://[2002:7f00:1::]:PORT/", Refused),
    ("Teredo", "http://[2001:0:7f00:1::80ff:fffe]:PORT/", Refused),
    ("unique local", "http://[fd12:3456::1]:PORT/", Refused),
    ("IPv6 link-local", "http://[fe80::1]:PORT/", Refused),
    ("a zone", "http://[fe80::1%25lo]:PORT/", Malformed),
    ("site-local", "http://[fec0::1]:PORT/", Refused),
    ("IPv6 multicast", "http://[ff02::1]:PORT/", Refused),
    ("discard-only", "http://[100::1]:PORT/", Refused),
    ("IPv6 documentation", "http://[2001:db8::1]:PORT/", Refused),
    ("an open bracket", "http://[::1:PORT/", Malformed),
    // Addresses that are nobody's web server.
    ("private, class A", "http://10.1.2.3:PORT/", Refused),
    ("private, class B", "http://172.31.255.1:PORT/", Refused),
    ("private, class C", "http://192.168.0.1:PORT/", Refused),
    ("carrier-grade NAT", "http://100.64.1.1:PORT/", Refused),
    ("link-local", "http://169.254.7.7:PORT/", Refused),
    ("the metadata of most clouds", "http://169.254.169.254/latest/meta-data/iam/", Refused),
    ("metadata in IPv6", "http://[fd00:ec2::254]/latest/meta-data/", Refused),
    ("metadata in carrier-grade NAT", "http://100.100.100.200/latest/meta-data/", Refused),
    ("metadata at a public address", "http://168.63.129.16/machine/?comp=goalstate", Refused),
    ("credentials of a container", "http://169.254.170.2/v2/credentials", Refused),
    ("multicast", "http://224.0.0.1:PORT/", Refused),
    ("broadcast", "http://255.255.255.255:PORT/", Refused),
    ("reserved", "http://240.0.0.1:PORT/", Refused),
    ("benchmark", "http://198.18.0.1:PORT/", Refused),
    ("documentation", "http://192.0.2.1:PORT/", Refused),
    ("protocol assignments", "http://192.0.0.8:PORT/", Refused),
    // Names that lead to such addresses.
    ("localhost", "http://localhost:PORT/", Refused),
    ("localhost with a dot", "http://LocalHost.:PORT/", Refused),
    ("a public name of a private address", "http://private.test:PORT/", Refused),
    ("a name with a good and a bad address", "http://both.test:PORT/", Refused),
    ("a name of a mapped address", "http://mapped.test:PORT/", Refused),
    ("the name of a metadata service", "http://metadata.google.internal/computeMetadata/v1/", Refused),
    ("a name that means something else a moment later", "http://rebinds.test:PORT/picture", Harmless),
    ("a name below an allowed one", "http://within.open.test:PORT/", Refused),
    ("a look-alike of an allowed name", "http://о\u{70}en.test:PORT/", Refused),
    ("a name without address", "http://nobody.test:PORT/", Fails(Reason::DnsResolution)),
    ("a name that nobody knows", "http://unknown.test:PORT/", Fails(Reason::DnsResolution)),
    ("a name too long for the resolver", "http://LONG.test:PORT/", Malformed),
    // Who is the host?
    ("an allowed host as user name", "http://open.test@127.0.0.1:PORT/", Refused),
    ("an allowed host and port as login", "http://127.0.0.3:PORT@127.0.0.1:PORT/", Refused),
    ("an allowed host behind a fragment", "http://127.0.0.1:PORT#@127.0.0.3:PORT/", Refused),
    ("an allowed host behind a query", "http://127.0.0.1:PORT?@127.0.0.3:PORT/", Refused),
    ("a backslash before the real host", "http://127.0.0.3:PORT\\@127.0.0.1:PORT/", Harmless),
    ("an encoded at sign", "http://127.0.0.3%40127.0.0.1:PORT/", Malformed),
    ("an encoded slash in the host", "http://127.0.0.1%2f.open.test:PORT/", Malformed),
    ("a line break that would add a header", "http://127.0.0.3:PORT/a\r\nHost: 127.0.0.1\r\n", Harmless),
    ("an encoded line break", "http://127.0.0.3:PORT/a%0d%0aHost:%20127.0.0.1%0d%0a", Harmless),
    // Ports.
    ("a shell's port", "http://127.0.0.3:22/", Refused),
    ("a mail server's port", "http://127.0.0.3:25/", Refused),
    ("a port of Redis", "http://open.test:6379/", Refused),
    ("port zero", "http://127.0.0.3:0/", Refused),
    ("a port that overflows to an open one", "http://127.0.0.3:131072/", Malformed),
    // Redirects.
    ("a redirect to loopback", "http://127.0.0.3:PORT/to-trap", Refused),
    ("a redirect to a number", "http://127.0.0.3:PORT/to-decimal", Refused),
    ("a redirect without a scheme", "http://127.0.0.3:PORT/to-relative-host", Refused),
    ("a redirect to a file", "http://127.0.0.3:PORT/to-file", Refused),
    ("a redirect to data", "http://127.0.0.3:PORT/to-data", Refused),
    ("a redirect to another job's output", "http://127.0.0.3:PORT/to-output", Refused),
    ("a redirect to a bad name", "http://127.0.0.3:PORT/to-name", Refused),
    ("a redirect to itself, which has moved meanwhile", "http://moves.test:PORT/to-moved", Refused),
    ("a redirect to an odd port", "http://127.0.0.3:PORT/to-odd-port", Refused),
    ("a redirect with the good host as login", "http://127.0.0.3:PORT/to-user", Refused),
    ("a redirect in a circle", "http://127.0.0.3:PORT/loop", Refused),
    ("a redirect to nowhere", "http://127.0.0.3:PORT/to-nowhere", Refused),
    ("a redirect to nonsense", "http://127.0.0.3:PORT/to-nonsense", Refused),
    ("a choice of places", "http://127.0.0.3:PORT/choices", Refused),
    ("a demand for a proxy", "http://127.0.0.3:PORT/proxy", Refused),
    ("a refresh", "http://127.0.0.3:PORT/refresh", Harmless),
    ("an offer of another service", "http://127.0.0.3:PORT/alternative", Harmless),
    // Bodies.
    ("an endless body", "http://127.0.0.3:PORT/endless", Refused),
    ("an endless body in chunks", "http://127.0.0.3:PORT/endless-chunks", Refused),
    ("a length beyond the limit", "http://127.0.0.3:PORT/claims-too-much", Refused),
    ("a length that is a lie", "http://127.0.0.3:PORT/claims-more", Fails(Reason::ConnectionFailed)),
    ("a second answer behind the first", "http://127.0.0.3:PORT/claims-less", Harmless),
    ("two lengths", "http://127.0.0.3:PORT/claims-both", Fails(Reason::ConnectionFailed)),
    ("chunks of no length", "http://127.0.0.3:PORT/bad-chunks", Fails(Reason::ConnectionFailed)),
    ("a chunk whose length overflows", "http://127.0.0.3:PORT/huge-chunk", Fails(Reason::ConnectionFailed)),
    ("a packed body", "http://127.0.0.3:PORT/gzip-bomb", Refused),
    ("a body packed three times", "http://127.0.0.3:PORT/stacked", Refused),
    ("no bytes", "http://127.0.0.3:PORT/empty", Refused),
    ("no content", "http://127.0.0.3:PORT/nothing", Refused),
    ("a part that nobody asked for", "http://127.0.0.3:PORT/part", Refused),
    // Answers.
    ("endless headers", "http://127.0.0.3:PORT/endless-head", Fails(Reason::ConnectionFailed)),
    ("an endless header", "http://127.0.0.3:PORT/endless-line", Fails(Reason::ConnectionFailed)),
    ("another protocol's greeting", "http://127.0.0.3:PORT/ssh", Fails(Reason::ConnectionFailed)),
    ("an answer without a head", "http://127.0.0.3:PORT/old", Fails(Reason::ConnectionFailed)),
    ("no answer", "http://127.0.0.3:PORT/closes", Fails(Reason::ConnectionFailed)),
    ("a switch of protocols", "http://127.0.0.3:PORT/switches", Refused),
    ("TLS where there is none", "https://127.0.0.3:PORT/", Fails(Reason::SslCertificate)),
    ("a file that is not there", "http://127.0.0.3:PORT/missing", Refused),
    ("a login", "http://127.0.0.3:PORT/login", Refused),
    ("a link that has expired", "http://127.0.0.3:PORT/expired", Refused),
    ("a server that is busy", "http://127.0.0.3:PORT/busy", Fails(Reason::ConnectionFailed)),
    ("a server that is asked too often", "http://127.0.0.3:PORT/often", Fails(Reason::RequestsPerMinute)),
    // What is no address of a server at all.
    ("data that is no base64", "data:image/png;base64,(o_o)", Malformed),
    ("data without a comma", "data:image/png;base64", Malformed),
    ("an output above the folder", "output:../secret", Malformed),
    ("an output in a folder above", "output:job-1/..", Malformed),
    ("an output by its path", "output:job-1/1/a.png", Malformed),
    ("an unfinished output", "output:job-1/.a.png.part", Malformed),
    ("an output with an encoded slash", "output:job-1/%2e%2e%2fsecret", Refused),
    ("an output that is a link", "output:job-1/link.png", Refused),
    ("an output of nobody", "output:job-9/a.png", Refused),
];

pub fn judge(fetched: &Result<Box<dyn Input>, Failure>) -> Result<Is, Failure> {
    match fetched {
        Ok(input) if std::fs::read(input.path()).unwrap() == PNG => Ok(Harmless),
        Ok(input) => panic!("not the picture, but {} bytes of {}", input.bytes(), input.media_type()),
        Err(failure) if failure.hosts_fault => Err(failure.clone()),
        Err(failure) => Ok(match failure.reason {
            Reason::InvalidPayload => Refused,
            Reason::InvalidFormat => Malformed,
            other => Fails(other),
        }),
    }
}

async fn servers() -> (Server, Server) {
    // Both at one port: a check of the port alone would let everything through.
    loop {
        let trap = Server::start(TRAP, 0, |_| whole("", b"secret")).await;
        let port = trap.port();
        if tokio::net::TcpListener::bind((OPEN, port)).await.is_ok() {
            return (trap, Server::start(OPEN, port, move |path| script(path, port)).await);
        }
    }
}

#[tokio::test]
async fn no_trick_gets_past_the_fetcher() {
    let (trap, open) = servers().await;
    let folder = tempfile::tempdir().unwrap();
    let outputs = folder.path().join("outputs/job-1/1");
    std::fs::create_dir_all(&outputs).unwrap();
    std::fs::write(folder.path().join("secret"), "secret").unwrap();
    std::os::unix::fs::symlink(folder.path().join("secret"), outputs.join("link.png")).unwrap();
    let entry = format!("127.0.0.3:{}", open.port());
    let names = names();
    let inputs = inputs(folder.path(), patient(), &[&entry, "open.test", "127.0.0.3"], names.clone());
    let mut wrong = Vec::new();
    for (trick, source, expected) in TRICKS {
        let source = source.replace("PORT", &open.port().to_string()).replace("LONG", &"long.".repeat(60));
        let fetched = tokio::time::timeout(Duration::from_secs(20), inputs.fetch(&source)).await;
        let Ok(fetched) = fetched else {
            wrong.push(format!("{trick}: it hangs"));
            continue;
        };
        match judge(&fetched) {
            Ok(found) if found == *expected => {}
            found => wrong.push(format!("{trick} ({source}): {found:?}, not {expected:?}; {:?}", fetched.err())),
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
    assert_eq!(trap.heads(), [""; 0], "somebody got there");
    let left = std::fs::read_dir(folder.path().join("inputs")).unwrap().count();
    assert_eq!(left, 0, "files are left behind");
    let rebound = names.asked().iter().filter(|name| *name == "rebinds.test").count();
    assert_eq!(rebound, 1, "a name is asked for once");
    // The trap works: it is what the rules keep away, and not that nobody listens there.
    let careless = super::hostile::inputs(folder.path(), patient(), &["127.0.0.1"], names);
    let caught = careless.fetch(&format!("http://127.1:{}/", trap.port())).await.unwrap();
    assert_eq!(std::fs::read(caught.path()).unwrap(), b"secret");
}

#[test]
fn each_trick_stands_in_the_table_once() {
    let mut names: Vec<_> = TRICKS.iter().map(|row| row.0).collect();
    let mut sources: Vec<_> = TRICKS.iter().map(|row| row.1).collect();
    for list in [&mut names, &mut sources] {
        list.sort_unstable();
        let before = list.len();
        list.dedup();
        assert_eq!(list.len(), before);
    }
}
