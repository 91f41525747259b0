//! Names to addresses, by the system's resolver.
//! In: a host's name. Out: its addresses, or an error of a type of its own, which the client's own error lacks.

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use std::io;

/// The resolver.
pub(super) struct Names;

/// Nobody knows the name, or nobody could be asked.
#[derive(Debug, thiserror::Error)]
#[error("the name cannot be resolved")]
pub(super) struct UnknownName(#[source] io::Error);

impl Resolve for Names {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move {
            match tokio::net::lookup_host((name.as_str(), 0)).await {
                Ok(found) => Ok(Box::new(found.collect::<Vec<_>>().into_iter()) as Addrs),
                Err(error) => Err(UnknownName(error).into()),
            }
        })
    }
}
