//! A text on its way to its readers, piece by piece.
//! In: a claim and the next pieces. Out: the stream of the session, and what the holder is told.

use super::hold::{Claim, Hold};
use super::script::{Space, lua};
use redis::RedisResult;
use redis::aio::ConnectionLike;

lua!(TOKENS, "tokens.lua");

/// Pieces that follow each other.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pieces {
    /// The session whose stream they go to.
    pub session: String,
    /// The run that writes; another one of the same job begins at index 0 again.
    pub run: String,
    /// Index of the first.
    pub first: u64,
    /// Each as readers get it, in JSON.
    pub texts: Vec<String>,
    /// What the text's last entry is to say beside its state, as a JSON object.
    pub facts: Option<String>,
}

impl Space {
    /// Appends pieces to the stream of a session. The same again changes nothing.
    pub async fn tokens(
        &self,
        con: &mut (impl ConnectionLike + Send),
        claim: &Claim,
        pieces: &Pieces,
    ) -> RedisResult<Hold> {
        let facts = pieces.facts.as_deref().unwrap_or_default();
        let mut call = self.call(&TOKENS).arg(&claim.id).arg(&claim.token).arg(&pieces.session).arg(&pieces.run);
        call = call.arg(facts).arg(pieces.first);
        for text in &pieces.texts {
            call = call.arg(text);
        }
        let reply = call.send(con).await?;
        Hold::of(&reply.text(0), &reply)
    }
}
