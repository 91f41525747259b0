//! Where outputs go beside the local folder.
//! In: nothing. Out: the structs that `config` fills.

use secrecy::SecretString;
use url::Url;

/// Where outputs go, beside the local folder.
#[derive(Debug, Clone, Default)]
pub struct Outputs {
    /// `OUTPUT_STORE`; `None` = the local folder.
    pub bucket: Option<Bucket>,
    /// `OUTPUT_PUBLIC_URL`.
    pub public_url: Option<Url>,
    /// `OUTPUT_ENDPOINTS`: hosts, with or without port.
    pub endpoints: Vec<String>,
}

/// A bucket (Azure: a container) and the way into it.
#[derive(Debug, Clone)]
pub struct Bucket {
    /// Its name.
    pub name: String,
    /// Where in it outputs go, without slashes at its ends; may be empty.
    pub prefix: String,
    /// Whose it is.
    pub cloud: Cloud,
}

/// Whose bucket it is, and the credentials.
#[derive(Debug, Clone)]
pub enum Cloud {
    /// Amazon, or what speaks its language.
    S3 {
        /// `AWS_ENDPOINT_URL`; `None` = Amazon.
        endpoint: Option<Url>,
        /// `AWS_REGION`.
        region: String,
        /// `OUTPUT_PATH_STYLE`.
        path_style: bool,
        /// `AWS_ACCESS_KEY_ID`.
        key_id: String,
        /// `AWS_SECRET_ACCESS_KEY`.
        secret: SecretString,
        /// `AWS_SESSION_TOKEN`.
        token: Option<SecretString>,
    },
    /// Google.
    Google {
        /// `GOOGLE_APPLICATION_CREDENTIALS`, read: the key of a service account, as JSON.
        key: SecretString,
    },
    /// Azure.
    Azure {
        /// `AZURE_STORAGE_ACCOUNT`.
        account: String,
        /// `AZURE_STORAGE_KEY`.
        key: SecretString,
    },
}
