//! Where outputs go.
//! In: resolved values. Out: `Outputs`, and the folder if one was named; faults for a bucket without a way into it.

use super::reader::Reader;
use super::report::Report;
use super::settings::{Bucket, Cloud, Outputs};
use std::path::PathBuf;
use url::Url;

pub(super) fn outputs(reader: &Reader<'_>, report: &mut Report) -> (Outputs, Option<PathBuf>) {
    let store = reader.urls("OUTPUT_STORE").pop();
    // All are read, whichever is chosen: what is wrong in them is told all the same.
    let clouds = [s3(reader), google(reader), azure(reader)];
    let mut outputs = Outputs {
        bucket: None,
        public_url: reader.urls("OUTPUT_PUBLIC_URL").pop(),
        endpoints: reader.list("OUTPUT_ENDPOINTS").iter().map(|host| host.to_ascii_lowercase()).collect(),
    };
    let Some(store) = store else { return (outputs, None) };
    let [s3, google, azure] = clouds;
    let cloud = match store.scheme() {
        "s3" => s3,
        "gs" => google,
        "az" => azure,
        _ => {
            if reader.stated("OUTPUT_DIR") {
                reader.fault("OUTPUT_STORE", "names a folder, and so does OUTPUT_DIR: set one of them", report);
            }
            return (outputs, store.to_file_path().ok());
        }
    };
    match cloud {
        Ok(cloud) => outputs.bucket = Some(bucket(&store, cloud)),
        Err(missing) => reader.fault("OUTPUT_STORE", format!("needs {missing}"), report),
    }
    (outputs, None)
}

fn bucket(store: &Url, cloud: Cloud) -> Bucket {
    Bucket {
        name: store.host_str().unwrap_or_default().to_owned(),
        prefix: store.path().trim_matches('/').to_owned(),
        cloud,
    }
}

fn s3(reader: &Reader<'_>) -> Result<Cloud, &'static str> {
    let endpoint = reader.urls("AWS_ENDPOINT_URL").pop();
    let region = reader.text("AWS_REGION").unwrap_or_else(|| "us-east-1".to_owned());
    let path_style = reader.boolean("OUTPUT_PATH_STYLE");
    let (key_id, secret) = (reader.text("AWS_ACCESS_KEY_ID"), reader.secret("AWS_SECRET_ACCESS_KEY"));
    let token = reader.secret("AWS_SESSION_TOKEN");
    if !path_style && endpoint.as_ref().is_some_and(|endpoint| endpoint.domain().is_none()) {
        return Err("OUTPUT_PATH_STYLE=true where AWS_ENDPOINT_URL is an IP address: no bucket can stand before one");
    }
    match (key_id, secret) {
        (Some(key_id), Some(secret)) => Ok(Cloud::S3 { endpoint, region, path_style, key_id, secret, token }),
        _ => Err("AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"),
    }
}

fn google(reader: &Reader<'_>) -> Result<Cloud, &'static str> {
    let file = reader.text("GOOGLE_APPLICATION_CREDENTIALS");
    match file.map(std::fs::read_to_string) {
        Some(Ok(key)) => Ok(Cloud::Google { key: key.into() }),
        Some(Err(_)) => Err("a file that can be read in GOOGLE_APPLICATION_CREDENTIALS"),
        None => Err("GOOGLE_APPLICATION_CREDENTIALS"),
    }
}

fn azure(reader: &Reader<'_>) -> Result<Cloud, &'static str> {
    match (reader.text("AZURE_STORAGE_ACCOUNT"), reader.secret("AZURE_STORAGE_KEY")) {
        (Some(account), Some(key)) => Ok(Cloud::Azure { account, key }),
        _ => Err("AZURE_STORAGE_ACCOUNT and AZURE_STORAGE_KEY"),
    }
}
