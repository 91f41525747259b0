//! Whether a job that failed here by this worker's fault is worth handing on, and to whom.
//! In: the failure, what the other live workers list. Out: the failure as it counts, and who need not try the job.

use super::fetch::Fetched;
use super::job::Run;
use crate::capabilities::{Capabilities, Fit, Misfit, fit_job};
use crate::queue::heartbeat::others_serve;
use connectors::failure::{Failure, Reason};
use redis::RedisResult;
use serde_json::Value;

/// How a failed job goes on.
#[derive(Debug)]
pub struct Onward {
    /// The failure; no longer this worker's fault if nobody else could do better.
    pub failure: Failure,
    /// Other workers that need not try it for as long as this one keeps off.
    pub keep_off: Vec<String>,
    /// Somebody who has not refused the job lists what this worker lacks.
    pub is_elsewhere: bool,
}

impl Run<'_> {
    /// What is missing here is worth handing on only if there is somebody to hand it to: else its submitter would wait for
    /// minutes to read what is known now.
    ///
    /// - A model that others list goes to them; nobody who lacks it need look at the job meanwhile.
    /// - One that nobody lists: with `lists_all` only those are asked that tell no models at all; else each other worker once,
    ///   since lists need not be complete.
    /// - One that this worker has refused before was listed then: the job waits for as long as jobs are handed on.
    /// - A node class is in no list: each worker that has not refused the job yet. So is memory, but while there is a worker
    ///   with more of it than this one, those with no more need not try.
    /// - A model that is left out here for a while is no lack: without anybody who lists it the job waits.
    /// - Whom the job cannot fit does not count: it would neither run nor refuse it.
    pub(super) async fn onward(
        &self,
        failure: Failure,
        fetched: &Fetched,
        models: &[String],
        lists_all: bool,
    ) -> Onward {
        let (memory, component) = (failure.is_out_of_memory(), failure.reason == Reason::ComponentError);
        let (lacks, rests) = (failure.reason == Reason::ModelNotFound, failure.model.is_some());
        let as_it_is = |failure| Onward { failure, keep_off: Vec::new(), is_elsewhere: false };
        if !failure.hosts_fault || !(memory || component || lacks || rests) {
            return as_it_is(failure);
        }
        let (link, space) = (&self.shared.link, &self.shared.space);
        let refused = fetched.fields.get("refused_by").map(String::as_str).unwrap_or_default();
        let Ok(customer) = self.customer(fetched).await else {
            return as_it_is(failure);
        };
        let field = |name: &str| match name {
            "customer_id" => customer.as_deref(),
            name => fetched.fields.get(name).map(String::as_str),
        };
        let unfit = |advertised: &Value| cannot_fit(field, advertised);
        let service = &fetched.job.service;
        let Ok(others) = others_serve(link, space, self.worker, service, models, refused, &unfit).await else {
            return as_it_is(failure);
        };
        let unasked = if lists_all && lacks { others.unlisting } else { others.unasked };
        let unlisted = lacks && others.have_models == 0;
        // Somebody had it minutes ago: an engine or an agent that is started anew is waited for, as for any other job.
        let came_back = lacks && refused.split_whitespace().any(|worker| worker == self.worker);
        let hopeless = !rests && others.serve == 0 || (unlisted || memory || component) && unasked == 0;
        let hopeless = hopeless && !came_back;
        if !hopeless {
            let is_elsewhere = (lacks || rests) && others.have_models > 0;
            let keep_off = if is_elsewhere { others.lack_models } else { others.no_larger };
            let keep_off = if is_elsewhere || memory { keep_off } else { Vec::new() };
            // Whoever has it need not wait for us.
            let retry_after = failure.retry_after.filter(|_| !is_elsewhere);
            return Onward { failure: Failure { retry_after, ..failure }, keep_off, is_elsewhere };
        }
        let message = match (memory, others.serve) {
            (true, _) => failure.message.clone(),
            (false, 0) => format!("{}; no other worker that is there now can take such jobs", failure.message),
            (false, _) if component => {
                format!("{}; every other worker that could take it has refused it, too", failure.message)
            }
            (false, _) => format!("{}; no other worker that could take it lists it either", failure.message),
        };
        as_it_is(Failure { hosts_fault: false, message, ..failure })
    }

    /// Whose job it is. The matching of others may read it where this worker's does not; the rest that any reads is here.
    async fn customer(&self, fetched: &Fetched) -> RedisResult<Option<String>> {
        let known = fetched.fields.get("customer_id");
        if known.is_some() {
            return Ok(known.cloned());
        }
        let key = self.shared.space.key("job:") + &fetched.job.id;
        let read = async |con: &mut redis::aio::MultiplexedConnection| {
            redis::cmd("HGET").arg(&key).arg("customer_id").query_async::<Option<Vec<u8>>>(con).await
        };
        let value = self.shared.link.call(read).await?;
        Ok(value.map(|value| String::from_utf8_lossy(&value).into_owned()))
    }
}

/// Whether a worker that advertises this can surely not take the job, and not only for a while.
fn cannot_fit<'a>(field: impl Fn(&str) -> Option<&'a str>, advertised: &Value) -> bool {
    let offer = Capabilities::told(advertised.clone());
    match fit_job(field, &offer) {
        Ok(Fit::Misfit(misfits)) => {
            misfits.iter().any(|misfit| offer.is_sure(misfit) && !matches!(misfit, Misfit::LeftOut { .. }))
        }
        _ => false,
    }
}
