//! Where outputs go: stores that are whole, and what is said of those that are not.
//! In: environments made here. Out: nothing.

use super::{file, load_env};
use crate::config::{Cloud, check_text};
use std::path::Path;

#[test]
fn a_store_is_read_with_the_way_into_it() {
    let env = [
        ("OUTPUT_STORE", "s3://My_Bucket/a/b/"),
        ("AWS_ACCESS_KEY_ID", "me"),
        ("AWS_SECRET_ACCESS_KEY", "secret"),
        ("AWS_DEFAULT_REGION", "eu-west-1"),
        ("CLOUD_CDN_URL", "https://cdn.example.org/x"),
        ("OUTPUT_ENDPOINTS", "MinIO.example.org:9000"),
    ];
    let outputs = load_env(&env).unwrap().config.outputs;
    let bucket = outputs.bucket.unwrap();
    assert_eq!((bucket.name.as_str(), bucket.prefix.as_str()), ("My_Bucket", "a/b"));
    let Cloud::S3 { endpoint: None, region, path_style: true, .. } = bucket.cloud else { panic!("{:?}", bucket.cloud) };
    assert_eq!(region, "eu-west-1");
    assert_eq!(outputs.public_url.unwrap().as_str(), "https://cdn.example.org/x");
    assert_eq!(outputs.endpoints, ["minio.example.org:9000"]);

    let azure = [("OUTPUT_STORE", "az://pics"), ("AZURE_STORAGE_ACCOUNT", "acme"), ("AZURE_STORAGE_KEY", "a2V5")];
    let azure = load_env(&azure).unwrap().config.outputs.bucket.unwrap().cloud;
    assert!(matches!(&azure, Cloud::Azure { account, .. } if account == "acme"), "{azure:?}");

    let (_folder, key) = file("{}");
    let google = [("OUTPUT_STORE", "gs://pics"), ("GOOGLE_APPLICATION_CREDENTIALS", key.to_str().unwrap())];
    let google = load_env(&google).unwrap().config.outputs.bucket.unwrap().cloud;
    assert!(matches!(google, Cloud::Google { .. }), "{google:?}");

    let folder = load_env(&[("OUTPUT_STORE", "file:///data/outputs")]).unwrap().config;
    assert!(folder.outputs.bucket.is_none() && folder.output_dir == Path::new("/data/outputs"));
    // Keys of other programs on the machine are not ours to use.
    assert!(load_env(&[("AWS_ACCESS_KEY_ID", "me")]).unwrap().config.outputs.bucket.is_none());
}

#[test]
fn a_store_without_a_way_into_it_is_told_with_what_is_missing() {
    let rows: &[(&[(&str, &str)], &str)] = &[
        (
            &[("OUTPUT_STORE", "s3://b"), ("AWS_ACCESS_KEY_ID", "me")],
            "needs AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
        ),
        (&[("OUTPUT_STORE", "gs://b")], "needs GOOGLE_APPLICATION_CREDENTIALS"),
        (
            &[("OUTPUT_STORE", "gs://b"), ("GOOGLE_APPLICATION_CREDENTIALS", "/nonexistent")],
            "needs a file that can be read in GOOGLE_APPLICATION_CREDENTIALS",
        ),
        (
            &[("OUTPUT_STORE", "s3://b"), ("AWS_ENDPOINT_URL", "http://[::1]:9000"), ("OUTPUT_PATH_STYLE", "false")],
            "needs OUTPUT_PATH_STYLE=true where AWS_ENDPOINT_URL is an IP address",
        ),
        (&[("OUTPUT_STORE", "az://b")], "needs AZURE_STORAGE_ACCOUNT and AZURE_STORAGE_KEY"),
        (&[("OUTPUT_STORE", "file:///a"), ("OUTPUT_DIR", "/b")], "names a folder, and so does OUTPUT_DIR"),
        (&[("OUTPUT_STORE", "ftp://b")], "must be an address such as s3://bucket/prefix"),
        (&[("OUTPUT_STORE", "s3://")], "must be an address such as s3://bucket/prefix"),
        (&[("OUTPUT_STORE", "bucket")], "must be an address such as s3://bucket/prefix"),
        (&[("OUTPUT_STORE", "file://host/a")], "must be an address such as s3://bucket/prefix"),
        (&[("OUTPUT_PUBLIC_URL", "cdn.example.org")], "must be an address such as https://"),
        (&[("AWS_ENDPOINT_URL", "https://h/?x=1")], "must be an address such as https://"),
    ];
    for (env, expected) in rows {
        let text = check_text(&load_env(env));
        assert!(load_env(env).is_err() && text.contains(expected), "{env:?}: {text}");
    }
}
