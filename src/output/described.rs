//! What a job says of the storage that it brings: `ctx.storage`, or the same members on `ctx` itself.
//! In: the job's context, what the operator allows. Out: a bucket with its credentials, or what is wrong with it.
//!
//! No text of the context is repeated in an error: any of them may be a secret in the wrong place.

use crate::config::{Bucket, Cloud};
use connectors::failure::{Failure, Reason};
use secrecy::SecretString;
use serde_json::{Value, json};
use url::Url;

/// Where a job wants its outputs.
pub struct Described {
    /// The bucket; `None` = the worker's own, to which the job brings no credentials.
    pub bucket: Option<Bucket>,
    /// `cdnUrl`.
    pub cdn: Option<Url>,
}

/// Members that say: the context itself describes a storage.
const TELLING: [&str; 5] = ["bucket", "accountName", "accountKey", "accessKeyId", "serviceAccountKey"];

/// What the context describes; `None` = nothing. `own` is the worker's bucket, `allowed` the endpoints that jobs may name.
///
/// # Errors
/// `validation_error`: a storage that cannot be used as described.
pub fn described(ctx: &Value, own: Option<&Bucket>, allowed: &[String]) -> Result<Option<Described>, Failure> {
    let members = match &ctx["storage"] {
        Value::Null if TELLING.iter().any(|name| !ctx[*name].is_null()) => ctx,
        Value::Null => return Ok(None),
        Value::Object(members) if members.is_empty() => return Ok(None),
        Value::Object(_) => &ctx["storage"],
        _ => return Err(wrong("ctx.storage must be an object")),
    };
    let said = Said(members);
    let name = said.required("bucket")?;
    if !is_bucket(name) {
        return Err(wrong("ctx.storage.bucket is no name of a bucket"));
    }
    let cdn = said.text("cdnUrl")?.map(cdn).transpose()?;
    let provider = said.provider()?;
    if provider.is_none_or(|provider| !said.brings_credentials(provider)) {
        let is_own = own.is_some_and(|own| own.name == name && provider.is_none_or(|word| word == word_of(&own.cloud)));
        if is_own {
            return Ok(Some(Described { bucket: None, cdn }));
        }
    }
    let cloud = match provider {
        Some("azure") => said.azure()?,
        Some("s3") => said.s3(allowed)?,
        Some("gcs") => said.google()?,
        _ => {
            let message = "ctx.storage has no credentials: accountName and accountKey (Azure), accessKeyId and \
                           secretAccessKey (S3) or serviceAccountKey (Google) are needed";
            return Err(Failure::new(Reason::MissingRequiredField, message));
        }
    };
    Ok(Some(Described { bucket: Some(Bucket { name: name.to_owned(), prefix: String::new(), cloud }), cdn }))
}

/// The context without what opens anything: what engines are given.
pub fn without_credentials(ctx: &Value) -> Value {
    let mut ctx = ctx.clone();
    let is_telling = TELLING.iter().any(|name| !ctx[*name].is_null());
    if let Some(members) = ctx.as_object_mut() {
        members.retain(|name, _| !(SECRET.contains(&name.as_str()) || is_telling && name == "endpoint"));
        if let Some(storage) = members.get_mut("storage") {
            match storage.as_object_mut() {
                Some(storage) => storage.retain(|name, _| PLAIN.contains(&name.as_str())),
                None => *storage = Value::Null,
            }
        }
    }
    ctx
}

/// Members of `ctx.storage` that engines may see.
const PLAIN: [&str; 5] = ["provider", "bucket", "cdnUrl", "region", "accountName"];
/// Members of a context that engines may not see.
const SECRET: [&str; 5] = ["accountKey", "accessKeyId", "secretAccessKey", "sessionToken", "serviceAccountKey"];

struct Said<'a>(&'a Value);

impl<'a> Said<'a> {
    fn text(&self, member: &str) -> Result<Option<&'a str>, Failure> {
        match &self.0[member] {
            Value::Null => Ok(None),
            Value::String(text) if text.is_empty() => Ok(None),
            // What stands in an HTTP header must be plain.
            Value::String(text) if text.chars().any(char::is_control) => {
                Err(wrong(&format!("ctx.storage.{member} holds control characters")))
            }
            Value::String(text) => Ok(Some(text)),
            _ => Err(wrong(&format!("ctx.storage.{member} must be a text"))),
        }
    }

    fn required(&self, member: &str) -> Result<&'a str, Failure> {
        let missing = || Failure::new(Reason::MissingRequiredField, format!("ctx.storage.{member} is missing"));
        self.text(member)?.ok_or_else(missing)
    }

    fn ascii(&self, member: &str) -> Result<&'a str, Failure> {
        let text = self.required(member)?;
        let is_plain = text.bytes().all(|byte| byte.is_ascii_graphic());
        is_plain.then_some(text).ok_or_else(|| wrong(&format!("ctx.storage.{member} must be plain ASCII text")))
    }

    fn provider(&self) -> Result<Option<&'static str>, Failure> {
        let named = self.text("provider")?.map(str::to_ascii_lowercase);
        match named.as_deref() {
            Some("azure") => Ok(Some("azure")),
            Some("s3" | "aws") => Ok(Some("s3")),
            Some("gcs" | "gcp" | "google") => Ok(Some("gcs")),
            Some(_) => {
                let message = "ctx.storage.provider must be azure, s3 or gcs";
                Err(Failure::new(Reason::UnsupportedOperation, message))
            }
            None => Ok(["azure", "s3", "gcs"].into_iter().find(|provider| self.brings_credentials(provider))),
        }
    }

    fn brings_credentials(&self, provider: &str) -> bool {
        let members: &[&str] = match provider {
            "azure" => &["accountName", "accountKey"],
            "s3" => &["accessKeyId", "secretAccessKey"],
            _ => &["serviceAccountKey"],
        };
        members.iter().any(|member| !self.0[*member].is_null())
    }

    fn azure(&self) -> Result<Cloud, Failure> {
        let account = self.required("accountName")?;
        // It becomes part of a host name.
        if !(3..=24).contains(&account.len()) || !account.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
        {
            return Err(wrong("ctx.storage.accountName is no name of a storage account"));
        }
        Ok(Cloud::Azure { account: account.to_owned(), key: self.ascii("accountKey")?.into() })
    }

    fn s3(&self, allowed: &[String]) -> Result<Cloud, Failure> {
        let region = self.text("region")?.unwrap_or("us-east-1");
        // It becomes part of a host name.
        if region.len() > 40 || !region.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-') {
            return Err(wrong("ctx.storage.region is no name of a region"));
        }
        let path_style = match &self.0["pathStyle"] {
            Value::Null => true,
            Value::Bool(path_style) => *path_style,
            _ => return Err(wrong("ctx.storage.pathStyle must be true or false")),
        };
        let endpoint = self.text("endpoint")?.map(|endpoint| allowed_endpoint(endpoint, allowed)).transpose()?;
        if !path_style && endpoint.as_ref().is_some_and(|endpoint| endpoint.domain().is_none()) {
            return Err(wrong("ctx.storage.pathStyle must be true where ctx.storage.endpoint is an IP address"));
        }
        let token = self.text("sessionToken")?.is_some().then(|| self.ascii("sessionToken")).transpose()?;
        Ok(Cloud::S3 {
            endpoint,
            region: region.to_owned(),
            path_style,
            key_id: self.ascii("accessKeyId")?.to_owned(),
            secret: self.required("secretAccessKey")?.into(),
            token: token.map(SecretString::from),
        })
    }

    fn google(&self) -> Result<Cloud, Failure> {
        let key: Value = match &self.0["serviceAccountKey"] {
            Value::String(text) => serde_json::from_str(text).unwrap_or_default(),
            other => other.clone(),
        };
        google_key(&key).ok_or_else(|| {
            wrong("ctx.storage.serviceAccountKey must be the JSON key of a service account, with client_email and private_key")
        })
    }
}

/// Of the key's members only these: others name addresses to be asked.
pub fn google_key(key: &Value) -> Option<Cloud> {
    let member = |name: &str| key[name].as_str().filter(|text| !text.is_empty());
    let key = json!({
        "client_email": member("client_email")?, "private_key": member("private_key")?,
        "private_key_id": member("private_key_id").unwrap_or_default(),
    });
    Some(Cloud::Google { key: key.to_string().into() })
}

fn allowed_endpoint(endpoint: &str, allowed: &[String]) -> Result<Url, Failure> {
    let url = Url::parse(endpoint).ok().filter(|url| matches!(url.scheme(), "http" | "https"));
    let url = url.filter(|url| url.username().is_empty() && url.password().is_none() && url.query().is_none());
    let Some(url) = url.filter(|url| matches!(url.path(), "" | "/")) else {
        return Err(wrong("ctx.storage.endpoint must be an http or https address without user, path and query"));
    };
    let host = url.host_str().unwrap_or_default().to_ascii_lowercase();
    let host = url.port().map_or_else(|| host.clone(), |port| format!("{host}:{port}"));
    if !allowed.contains(&host) {
        let message =
            "ctx.storage.endpoint is not among the hosts that this worker's operator allows (OUTPUT_ENDPOINTS)";
        return Err(Failure::new(Reason::UnsupportedOperation, message));
    }
    Ok(url)
}

fn cdn(text: &str) -> Result<Url, Failure> {
    let url = Url::parse(text).ok().filter(|url| matches!(url.scheme(), "http" | "https"));
    // It becomes part of results: no place for a secret.
    let is_plain = |url: &Url| {
        url.username().is_empty() && url.password().is_none() && url.query().is_none() && url.fragment().is_none()
    };
    let wrong = || wrong("ctx.storage.cdnUrl must be an http or https address without user, password and query");
    url.filter(is_plain).ok_or_else(wrong)
}

fn is_bucket(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-$".contains(&byte);
    let is_edged = name.starts_with('.') || name.ends_with('.');
    (1..=222).contains(&name.len()) && !is_edged && !name.contains("..") && name.bytes().all(plain)
}

fn word_of(cloud: &Cloud) -> &'static str {
    match cloud {
        Cloud::S3 { .. } => "s3",
        Cloud::Google { .. } => "gcs",
        Cloud::Azure { .. } => "azure",
    }
}

fn wrong(message: &str) -> Failure {
    Failure::new(Reason::InvalidFormat, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn engines_get_no_secret_of_a_storage_wherever_in_the_context_it_stands() {
        let secrets = json!({ "accountKey": "S", "accessKeyId": "S", "secretAccessKey": "S", "sessionToken": "S",
                              "serviceAccountKey": { "private_key": "S" } });
        for name in secrets.as_object().unwrap().keys() {
            // Alone it describes no storage, and is a secret all the same.
            for ctx in [
                json!({ name: secrets[name], "prefix": "u" }),
                json!({ "storage": { name: secrets[name] }, "prefix": "u" }),
            ] {
                let given = without_credentials(&ctx);
                assert!(!given.to_string().contains('S') && given["prefix"] == "u", "{given}");
            }
        }
        let others = json!({ "endpoint": "an engine's own word", "storage": {} });
        assert_eq!(without_credentials(&others), others);
        assert_eq!(without_credentials(&json!({ "bucket": "b", "endpoint": "http://x" })), json!({ "bucket": "b" }));
        assert_eq!(without_credentials(&json!({ "storage": "S" })), json!({ "storage": null }));
    }
}
