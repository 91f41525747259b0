//! The page about metrics, written from their table.
//! In: the table. Out: the text of docs/metrics.md; a test compares it with the file.

use super::{Kind, TABLE};

const HEAD: &str = "\
# Metrics

<!-- Written from the table of metrics; a test compares. To write it anew: UPDATE_DOCS=1 cargo test --lib metrics_page -->

`GET /metrics` on the dashboard's port (`WORKER_DASHBOARD_PORT`: 1511, or the next free one; the log line `dashboard` has the
URL) answers in the OpenMetrics format, which Prometheus reads as it is:

```yaml
scrape_configs:
  - job_name: gpu-worker
    static_configs: [{targets: ['127.0.0.1:1511']}]
    # authorization: {credentials: WORKER_DASHBOARD_TOKEN}    # if one is set
```

`/healthz` answers 200 while every loop of the agent comes round, 503 with their names if one hangs. `/readyz` answers 200
while Redis answers, an engine is healthy, and the agent is neither paused nor draining; else 503 with `reasons`, each a
`code` (`redis`, `engines`, `outputs`, `paused`, `draining`, `drained`) and a `message`. Neither stands in for the other: an agent without Redis is alive and not ready, and
starting it anew would not help.

From another machine: `WORKER_DASHBOARD_HOST=0.0.0.0` and `WORKER_DASHBOARD_TOKEN`; every request needs it then, these too.
Requests must name this server in `Host`, by address or by a name of `WORKER_DASHBOARD_ALLOWED_HOSTS`.

The number of series is bounded. No label holds a job's id; of services the first 50 names are kept, the rest is `other`, and
`unknown` where a job ended before it was read. A card that does not tell a reading has no series of it. Counters begin at 0
with the process. `type` and `reason` are those of [failures.md](failures.md).

| name | kind | labels | meaning |
|---|---|---|---|
";

/// docs/metrics.md.
pub fn page() -> String {
    let mut page = HEAD.to_owned();
    for row in TABLE {
        let kind = match row.kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram(_) => "histogram",
        };
        let labels: Vec<String> = row.labels.iter().map(|label| format!("`{label}`")).collect();
        page += &format!("| `{}` | {kind} | {} | {} |\n", row.sample(), labels.join(", "), row.help);
    }
    page
}
