//! Answers that come whole: vectors and pictures.
//! In: a request, pictures to edit. Out: the outcome.

use super::halves;
use super::http::LARGE;
use super::meter::Meter;
use super::payload::Op;
use super::run::Attempt;
use super::{refusal, result};
use crate::contract::{Outcome, Stage};
use crate::http::{Trouble, whole};
use crate::live::Cut;
use reqwest::Method;
use serde_json::Value;
use tokio::time::{Instant, timeout};

impl Attempt {
    pub(super) async fn embeddings(mut self) -> Result<Outcome, Cut> {
        let began = Instant::now();
        let answer = self.whole_answer(None).await?;
        result::embeddings(&self, answer, began.elapsed()).await
    }

    pub(super) async fn pictures(mut self) -> Result<Outcome, Cut> {
        let began = Instant::now();
        let form = match self.plan.op {
            Op::Edits => Some(result::edit_form(&self).await?),
            _ => None,
        };
        let answer = self.whole_answer(form).await?;
        result::pictures(&self, &answer, began.elapsed()).await
    }

    /// Posts and reads an answer that comes whole.
    async fn whole_answer(&mut self, form: Option<reqwest::multipart::Form>) -> Result<Value, Cut> {
        let sink = self.ctx.progress.clone();
        Meter::new(&*sink, None).say(0.05, "waiting for the answer", Stage::Unseen);
        let limit = self.server.settings.timing.whole;
        let response = match form {
            None => self.post(limit).await?,
            Some(form) => {
                let (tree, path) = self.route();
                let request = self.server.http.request(Method::POST, tree, path, &self.plan.key);
                let request = request.header("x-request-id", &self.id).multipart(form);
                timeout(limit, request.send()).await.map_err(|_| Trouble::Silent)?.map_err(Trouble::from)?
            }
        };
        if !response.status().is_success() {
            let answer = self.refusal(response).await;
            return Err(self
                .with_around(|around| refusal::failure(answer.status, &answer.headers, &answer.body, around))
                .into());
        }
        let answer = timeout(limit, whole(response, LARGE)).await.map_err(|_| Trouble::Silent)??;
        Meter::new(&*sink, None).say(0.9, "storing what came", Stage::Fetching);
        Ok(halves::whole(&answer.body)?)
    }
}
