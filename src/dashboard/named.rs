//! What a path names, as text.
//! In: the parts of a path. Out: the same decoded; what is no text names nothing here, and is told so like any other refusal.

use super::guard::{Refusal, refusal};
use axum::extract::{FromRequestParts, Path};
use axum::http::StatusCode;
use axum::http::request::Parts;
use serde::de::DeserializeOwned;

/// The named parts of a path.
pub(super) struct Named<T>(pub T);

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for Named<T> {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        match Path::from_request_parts(parts, state).await {
            Ok(Path(named)) => Ok(Self(named)),
            Err(_) => Err(Refusal {
                remedy: Some("take ids and addresses as they are in the lists, percent-encoded"),
                ..refusal(StatusCode::NOT_FOUND, "nothing has such a name here")
            }),
        }
    }
}
