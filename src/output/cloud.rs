//! Buckets of Amazon and its like, of Google and of Azure.
//! In: a bucket and the way to it. Out: the store, its address for people, and the URL of what lies in it.

use super::wire::{Patience, Wire};
use crate::config::{Bucket, Cloud};
use object_store::aws::{AmazonS3Builder, Checksum};
use object_store::azure::MicrosoftAzureBuilder;
use object_store::gcp::GoogleCloudStorageBuilder;
use object_store::{BackoffConfig, ClientOptions, ObjectStore, RetryConfig};
use secrecy::ExposeSecret;
use std::sync::Arc;
use url::Url;

/// Opens the bucket. Nothing is asked of it yet.
///
/// # Errors
/// Credentials that cannot be any. The error may quote them: it is for nobody's eyes.
pub fn open(bucket: &Bucket, wire: Wire, patience: &Patience) -> object_store::Result<Arc<dyn ObjectStore>> {
    let retry = RetryConfig {
        backoff: BackoffConfig { init_backoff: patience.pause, max_backoff: patience.pause * 20, base: 2.0 },
        max_retries: patience.retries,
        retry_timeout: patience.request * 2,
    };
    Ok(match &bucket.cloud {
        Cloud::S3 { endpoint, region, path_style, key_id, secret, token } => {
            let mut builder = AmazonS3Builder::new()
                .with_bucket_name(&bucket.name)
                .with_region(region)
                .with_access_key_id(key_id)
                .with_secret_access_key(secret.expose_secret())
                .with_virtual_hosted_style_request(!path_style)
                // Not every store can delete several objects in one request, and one is all that is ever deleted.
                .with_disable_bulk_delete(true)
                .with_retry(retry)
                .with_http_connector(wire);
            if let Some(token) = token {
                builder = builder.with_token(token.expose_secret());
            }
            builder = match endpoint {
                Some(endpoint) => builder
                    .with_endpoint(hosted(endpoint, &bucket.name, *path_style).ok_or_else(nowhere)?)
                    .with_client_options(ClientOptions::new().with_allow_http(true)),
                // Servers that only speak Amazon's language often refuse these headers; the signature holds the same sum.
                None => builder.with_checksum_algorithm(Checksum::SHA256),
            };
            Arc::new(builder.build()?)
        }
        Cloud::Google { key } => Arc::new(
            GoogleCloudStorageBuilder::new()
                .with_bucket_name(&bucket.name)
                .with_service_account_key(key.expose_secret())
                .with_retry(retry)
                .with_http_connector(wire)
                .build()?,
        ),
        Cloud::Azure { account, key } => Arc::new(
            MicrosoftAzureBuilder::new()
                .with_container_name(&bucket.name)
                .with_account(account)
                .with_access_key(key.expose_secret())
                .with_retry(retry)
                .with_http_connector(wire)
                .build()?,
        ),
    })
}

/// An endpoint with the bucket in front of its host, if it is not to stand in the path; `None` if it cannot stand there.
fn hosted(endpoint: &Url, bucket: &str, path_style: bool) -> Option<String> {
    let mut endpoint = endpoint.clone();
    if !path_style {
        // Before an address of numbers nothing can stand: without the bucket the first part of the key would be taken for it.
        let host = format!("{bucket}.{}", endpoint.domain()?);
        endpoint.set_host(Some(&host)).ok()?;
    }
    Some(String::from(endpoint).trim_end_matches('/').to_owned())
}

fn nowhere() -> object_store::Error {
    object_store::Error::Generic { store: "S3", source: "the bucket cannot stand before this endpoint".into() }
}

/// The address below which the bucket's keys are found, if its owner lets people read them.
pub fn address(bucket: &Bucket) -> Option<Url> {
    let name = &bucket.name;
    let address = match &bucket.cloud {
        Cloud::S3 { endpoint: Some(endpoint), path_style: false, .. } => hosted(endpoint, name, false)?,
        Cloud::S3 { endpoint: Some(endpoint), .. } => format!("{}/{name}", endpoint.as_str().trim_end_matches('/')),
        Cloud::S3 { region, .. } => format!("https://s3.{region}.amazonaws.com/{name}"),
        Cloud::Google { .. } => format!("https://storage.googleapis.com/{name}"),
        Cloud::Azure { account, .. } => format!("https://{account}.blob.core.windows.net/{name}"),
    };
    Url::parse(&address).ok()
}

/// The bucket as it is written in `OUTPUT_STORE`.
pub fn shown(bucket: &Bucket) -> String {
    let scheme = match &bucket.cloud {
        Cloud::S3 { .. } => "s3",
        Cloud::Google { .. } => "gs",
        Cloud::Azure { .. } => "az",
    };
    format!("{scheme}://{}/{}", bucket.name, bucket.prefix).trim_end_matches('/').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_stands_before_a_name_and_never_vanishes_before_an_address() {
        let hosted = |endpoint: &str, bucket: &str| hosted(&Url::parse(endpoint).unwrap(), bucket, false);
        assert_eq!(hosted("http://minio.lan:9000", "pics").as_deref(), Some("http://pics.minio.lan:9000"));
        for endpoint in ["http://10.0.0.1:9000", "http://[::1]:9000", "http://2130706433"] {
            assert_eq!(hosted(endpoint, "pics"), None, "{endpoint}");
        }
        assert_eq!(hosted("http://minio.lan", "a b"), None);
    }
}
