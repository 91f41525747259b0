//! Where outputs lie, what jobs may ask for, and which storages they may not bring.

use super::*;
use connectors::failure::FailureType;

#[tokio::test]
async fn attempts_do_not_overwrite_each_other_unless_a_name_was_asked_for() {
    let server = S3Server::start(&[BUCKET]).await;
    let outputs = outputs_of_jobs(server.address);
    let (first, second) = (Bytes::from_static(b"one"), Bytes::from_static(b"two"));
    for (filename, expected) in [(None, vec!["u/j-1/1/a.txt", "u/j-1/2/a.txt"]), (Some("mine"), vec!["u/mine.txt"])] {
        let ctx = json!({ "storage": storage(server.address), "prefix": "u/", "filename": filename });
        for (attempt, bytes) in [(1, &first), (2, &second)] {
            let job = Job { attempt, ..job(ctx.clone()) };
            let stored = store(&outputs, &job, "a.txt", bytes).await.unwrap();
            assert!(stored.url.starts_with("https://cdn.example.org/u/"), "{}", stored.url);
        }
        for key in &expected {
            assert!(server.keys(BUCKET).iter().any(|there| there == key), "{key}");
        }
    }
    assert_eq!(std::fs::read(server.object(BUCKET, "u/j-1/1/a.txt")).unwrap(), first);
    assert_eq!(std::fs::read(server.object(BUCKET, "u/mine.txt")).unwrap(), second);
}

#[tokio::test]
async fn equal_names_within_an_attempt_are_told_apart() {
    let server = S3Server::start(&[BUCKET]).await;
    let outputs = outputs_of_jobs(server.address);
    let ctx = json!({ "storage": storage(server.address), "filename": "mine.txt" });
    let store = outputs.of(&job(ctx)).unwrap();
    for _ in 0..2 {
        store.create("a.txt", "text", None).await.unwrap().finish().await.unwrap();
    }
    assert_eq!(server.keys(BUCKET), ["mine-2.txt", "mine.txt"]);
}

#[tokio::test]
async fn an_output_that_broke_off_is_begun_anew_under_its_own_name() {
    let (server, folder) = (S3Server::start(&[BUCKET]).await, tempfile::tempdir().unwrap());
    let asked_for = json!({ "storage": storage(server.address), "filename": "mine.txt" });
    let places = [
        (outputs_of_jobs(server.address), asked_for, "mine.txt"),
        (outputs_at(server.address, BUCKET, SECRET), Value::Null, "a.txt"),
        (Outputs::in_folder(folder.path()), Value::Null, "a.txt"),
    ];
    for (outputs, ctx, name) in places {
        let store = outputs.of(&job(ctx)).unwrap();
        let mut broken = store.create("a.txt", "text", None).await.unwrap();
        send(&mut broken, &bytes(6 << 20)).await.unwrap();
        drop(broken);
        let mut writer = store.create("a.txt", "text", None).await.unwrap();
        writer.write(Bytes::from_static(b"whole")).await.unwrap();
        let stored = writer.finish().await.unwrap();
        settled(&outputs).await;
        assert_eq!(stored.name, name);
    }
    assert_eq!((server.leftovers(), server.keys(BUCKET)), (vec![], vec!["base/j-1/1/a.txt".into(), "mine.txt".into()]));
    let there = [
        server.object(BUCKET, "base/j-1/1/a.txt"),
        server.object(BUCKET, "mine.txt"),
        folder.path().join("j-1/1/a.txt"),
    ];
    assert!(there.iter().all(|file| std::fs::read(file).unwrap() == b"whole"));
}

#[tokio::test]
async fn a_bucket_of_the_workers_own_is_lent_without_credentials() {
    let server = S3Server::start(&[BUCKET]).await;
    let outputs = outputs_at(server.address, BUCKET, SECRET);
    // Members on the context itself; the name asked for stays within the job's own folder.
    let ctx = json!({ "bucket": BUCKET, "cdnUrl": "https://cdn.example.org", "prefix": "u", "filename": "x.txt" });
    let stored = store(&outputs, &job(ctx), "a.txt", &Bytes::from_static(b"x")).await.unwrap();
    assert_eq!(stored.url, "https://cdn.example.org/base/u/j-1/1/x.txt");
    assert_eq!(server.keys(BUCKET), ["base/u/j-1/1/x.txt"]);
    let elsewhere = outputs.of(&job(json!({ "bucket": "elsewhere" }))).err().unwrap();
    assert_eq!(elsewhere.kind(), FailureType::ValidationError, "{elsewhere:?}");
}

#[tokio::test]
async fn a_storage_that_cannot_be_used_is_a_validation_error_that_repeats_nothing() {
    let address: SocketAddr = "127.0.0.1:9".parse().unwrap();
    let with = |changes: Value| {
        let mut storage = storage(address);
        for (name, value) in changes.as_object().unwrap() {
            storage[name] = value.clone();
        }
        json!({ "storage": storage })
    };
    let rows = [
        // Hosts that nobody has allowed, however they are written.
        with(json!({ "endpoint": "http://169.254.169.254" })),
        with(json!({ "endpoint": "http://127.0.0.1:6379" })),
        with(json!({ "endpoint": "http://user:s3cr3t@127.0.0.1:9" })),
        with(json!({ "endpoint": "http://127.0.0.1:9@169.254.169.254" })),
        with(json!({ "endpoint": "http://127.0.0.1:9/s3cr3t" })),
        with(json!({ "endpoint": "file:///etc/s3cr3t" })),
        // What becomes part of a host name.
        with(json!({ "endpoint": null, "region": "x.s3cr3t.example.org/" })),
        with(json!({ "endpoint": null, "region": "us@169.254.169.254#" })),
        json!({ "storage": { "bucket": "b", "accountName": "169.254.169.254/", "accountKey": "s3cr3t" } }),
        json!({ "storage": { "bucket": "b", "accountName": "Abc.s3cr3t", "accountKey": "s3cr3t" } }),
        with(json!({ "bucket": "../s3cr3t" })),
        with(json!({ "bucket": "a/b?s3cr3t" })),
        with(json!({ "bucket": 7 })),
        with(json!({ "bucket": null })),
        // What becomes part of a header or of a result.
        with(json!({ "accessKeyId": "s3cr3t\r\nHost: x" })),
        with(json!({ "accessKeyId": ["s3cr3t"] })),
        with(json!({ "sessionToken": "s3cr3t\n" })),
        with(json!({ "cdnUrl": "https://user:s3cr3t@cdn.example.org" })),
        with(json!({ "cdnUrl": "https://cdn.example.org/?sig=s3cr3t" })),
        with(json!({ "cdnUrl": "javascript:s3cr3t" })),
        with(json!({ "provider": "s3cr3t" })),
        with(json!({ "provider": "azure" })),
        with(json!({ "secretAccessKey": null })),
        json!({ "storage": { "bucket": "b" } }),
        json!({ "storage": { "bucket": "b", "accountName": "abc", "accountKey": "not base64: s3cr3t" } }),
        json!({ "storage": { "bucket": "b", "serviceAccountKey": "{\"client_email\": \"s3cr3t\"}" } }),
        json!({ "storage": { "bucket": "b", "serviceAccountKey": { "client_email": "x", "private_key": "s3cr3t" } } }),
        json!({ "storage": "s3cr3t" }),
        json!({ "storage": ["s3cr3t"] }),
    ];
    let outputs = outputs_of_jobs(address);
    for ctx in rows {
        let Err(failure) = outputs.of(&job(ctx.clone())) else { panic!("{ctx} was taken") };
        assert_eq!((failure.kind(), failure.hosts_fault), (FailureType::ValidationError, false), "{ctx}: {failure:?}");
        assert!(!format!("{failure:?}").contains("s3cr3t"), "{failure:?}");
    }
}

#[tokio::test]
async fn descriptions_in_every_clouds_words_are_understood() {
    let key = "-----BEGIN PRIVATE KEY-----\n-----END PRIVATE KEY-----\n";
    let rows = [
        json!({ "storage": { "provider": "azure", "bucket": "pics", "cdnUrl": "https://c.example.org",
                             "accountName": "acme1", "accountKey": "c2VjcmV0" } }),
        json!({ "bucket": "pics", "accountName": "acme1", "accountKey": "c2VjcmV0", "prefix": "u/" }),
        json!({ "storage": { "bucket": "pics", "region": "eu-central-1", "accessKeyId": "A", "secretAccessKey": "s/+=" } }),
        json!({ "storage": { "provider": "aws", "bucket": "pics", "accessKeyId": "A", "secretAccessKey": "s",
                             "sessionToken": "t" } }),
    ];
    let outputs = outputs_of_jobs("127.0.0.1:9".parse().unwrap());
    for ctx in rows {
        assert!(outputs.of(&job(ctx.clone())).is_ok(), "{ctx}");
    }
    // A key that is none is seen when it is opened; that it may name addresses of its own is of no use.
    let google = json!({ "bucket": "pics", "serviceAccountKey": { "client_email": "a@b", "private_key": key,
                         "gcs_base_url": "http://169.254.169.254", "disable_oauth": true } });
    let failure = outputs.of(&job(google)).err().expect("it has no key in it");
    assert_eq!(failure.kind(), FailureType::ValidationError, "{failure:?}");
}
